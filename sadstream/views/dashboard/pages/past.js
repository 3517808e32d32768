// The journal with zoom: the server gives as many points as there is room for, with each bucket's least and greatest.

import { ask } from "./ask.js";
import { axes, chart, even, logit } from "./chart.js";
import { colour } from "./theme.js";
import { at, clock, count, day, lasting, say, signed } from "./words.js";

const WEEK_S = 604800, LEAST_S = 20;
const moment = (time_s) => `${day(time_s)} ${clock(time_s, false)}`;

export class Past {
  constructor() {
    this.stream = null;
    this.number = 0;
    this.follow = true; // the right edge is now
    this.span_s = WEEK_S;
    this.until_s = Date.now() / 1000;
    this.most = 3;
    const cursor = {
      drag: { x: true, y: false, setScale: false }, points: { show: false }, sync: { key: "past", setSeries: false },
    };
    const scale = { time: true, auto: false, range: () => [this.until_s - this.span_s, this.until_s] };
    const line = (name, width = 1.5, more = {}) => ({ stroke: () => colour(name), width, points: { show: false }, ...more });
    const hooks = { setSelect: [(u) => this.select(u)], setCursor: [(u) => this.point(u)] };
    this.score = chart(at("past-score"), 190, {
      scales: { x: scale, y: { range: [0, 1] } }, axes: axes((v) => v.toFixed(2), [0, 0.25, 0.5, 0.75, 1]), cursor, hooks,
      bands: [{ series: [1, 2], fill: () => colour("band") }],
      series: [
        {}, line("band", 0), line("band", 0), line("score", 1.75), line("mood", 1),
        line("threshold", 1.5, { dash: [6, 5] }),
      ],
    }, [[0], [null], [null], [null], [null], [null]]);
    this.parts = chart(at("past-parts"), 110, {
      scales: { x: scale, y: { range: () => [-this.most, this.most] } }, axes: axes(logit, () => even(this.most)),
      cursor, hooks, series: [{}, line("audio"), line("text")],
    }, [[0], [null], [null]]);
    for (const u of [this.score, this.parts]) u.over.addEventListener("dblclick", () => this.reach(WEEK_S, null));
    for (const button of document.querySelectorAll("[data-span]")) {
      button.addEventListener("click", () => this.reach(Number(button.dataset.span), null));
    }
    for (const button of document.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => this.move(button.dataset.move));
    }
    at("history").addEventListener("keydown", (event) => this.key(event));
    setInterval(() => this.follow && !document.hidden && this.load(), 15000);
  }

  show(stream) {
    this.stream = stream;
    return this.load();
  }

  // So many seconds up to a moment; without one, up to now and going on.
  reach(span_s, until_s) {
    this.span_s = Math.min(Math.max(span_s, LEAST_S), 10 * 366 * 86400);
    this.follow = until_s === null || until_s >= Date.now() / 1000;
    if (!this.follow) this.until_s = until_s;
    return this.load();
  }

  move(how) {
    const end_s = this.until_s, half = this.span_s / 2;
    if (how === "earlier") return this.reach(this.span_s, end_s - half);
    if (how === "later") return this.reach(this.span_s, end_s + half);
    if (how === "in") return this.reach(half, end_s - half / 2);
    return this.reach(2 * this.span_s, end_s + half);
  }

  key(event) {
    const moves = { ArrowLeft: "earlier", ArrowRight: "later", "+": "in", "=": "in", "-": "out" };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.move(moves[event.key]);
    else if (event.key === "0") this.reach(WEEK_S, null);
    else return;
    event.preventDefault();
  }

  select(u) {
    if (u.select.width < 4) return;
    const since_s = u.posToVal(u.select.left, "x"), until_s = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.reach(until_s - since_s, until_s);
  }

  async load() {
    if (this.stream === null) return;
    if (this.follow) this.until_s = Date.now() / 1000;
    const number = ++this.number;
    const wanted = new URLSearchParams({
      stream: this.stream, since: this.until_s - this.span_s, until: this.until_s,
      points: Math.max(100, Math.floor(at("past-score").clientWidth - 48)),
    });
    const answer = await ask(`/api/history?${wanted}`);
    if (number !== this.number) return;
    for (const button of document.querySelectorAll("[data-span]")) {
      button.setAttribute("aria-pressed", String(this.follow && Number(button.dataset.span) === this.span_s));
    }
    if (!answer.ok) {
      this.rest = answer.body;
      say("past-sentence", this.rest);
      return;
    }
    this.draw(answer.body);
  }

  draw(span) {
    const x = span.time_s;
    const largest = [...span.audio, ...span.text].reduce((most, v) => (v === null ? most : Math.max(most, Math.abs(v))), 0);
    this.most = Math.max(1, 1.1 * largest);
    // Single scores that are far apart are not joined: nobody spoke between them.
    const columns = [span.p_high, span.p_low, span.p_mean, span.mood, span.threshold, span.audio, span.text];
    const [high, low, mean, mood, threshold, audio, text] = span.width_s === null ? apart(x, columns) : columns;
    const times = span.width_s === null ? apart(x, [x])[0].map((t, i, all) => t ?? (all[i - 1] + all[i + 1]) / 2) : x;
    this.span = span;
    this.score.setData([times, high, low, mean, mood, threshold], false);
    this.parts.setData([times, audio, text], false);
    for (const plot of [this.score, this.parts]) plot.setScale("x", { min: span.since_s, max: span.until_s });
    const each = span.width_s === null ? "each score" : `each point ${lasting(span.width_s)}: mean, least and greatest`;
    this.rest = span.scores
      ? `${moment(span.since_s)} to ${moment(span.until_s)}: ${count(span.scores)} scores, ${each}. Drag to zoom.`
      : `${moment(span.since_s)} to ${moment(span.until_s)}: no scores in the journal.`;
    say("past-sentence", this.rest);
    at("history").dataset.scores = span.scores;
    at("history").dataset.drawn = this.number;
  }

  point(u) {
    const index = u.cursor.idx, span = this.span;
    const when = span && index !== null && index !== undefined ? u.data[0][index] : null;
    if (when === null || u.cursor.left < 0) return say("past-sentence", this.rest ?? "");
    const mean = this.score.data[3][index];
    if (mean === null || mean === undefined) return say("past-sentence", `${moment(when)}: nobody spoke.`);
    const [low, high] = [this.score.data[2][index], this.score.data[1][index]];
    const [voice, words] = [this.parts.data[1][index], this.parts.data[2][index]];
    const range = low === high ? "" : ` (${low.toFixed(2)} to ${high.toFixed(2)})`;
    say("past-sentence", `${day(when)} ${clock(when)}: score ${mean.toFixed(2)}${range}, voice ${voice === null ? "–" : signed(voice)}, words ${words === null ? "–" : signed(words)}`);
    return undefined;
  }
}

const FAR_S = 60;

function apart(x, columns) {
  return columns.map((column) => {
    const found = [];
    column.forEach((value, at) => {
      if (at && x[at] - x[at - 1] > FAR_S) found.push(null);
      found.push(value);
    });
    return found;
  });
}
