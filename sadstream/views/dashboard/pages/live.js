// The last minutes: a bar a segment, as wide as it lasted and as high as its score; below it what voice and words gave.

import { axes, box, chart, even, hatch, logit } from "./chart.js";
import { showFelt } from "./felt.js";
import { colour } from "./theme.js";
import { NO_WORDS, at, lasting, say, signed } from "./words.js";

const WIDE_S = 300, NARROW_S = 150;
const DEAF = new Set(["no-device", "paused", "stopping", "starting"]);

export class Live {
  constructor() {
    this.stream = null;
    const x = { time: true, auto: false, range: () => this.window() };
    const cursor = { drag: { x: false, y: false }, points: { show: false }, sync: { key: "live" } };
    const unseen = { show: true, paths: () => null, points: { show: false } };
    this.score = chart(at("live-score"), 220, {
      scales: { x, y: { range: [0, 1] } }, axes: axes((v) => v.toFixed(2), [0, 0.25, 0.5, 0.75, 1]), cursor,
      series: [
        {}, unseen,
        { stroke: () => colour("mood"), width: 2, points: { show: false } },
        { stroke: () => colour("threshold"), width: 1.5, dash: [6, 5], points: { show: false } },
      ],
      hooks: { drawAxes: [(u) => this.ground(u), (u) => this.bars(u)] },
    }, [[0], [null], [null], [null]]);
    this.parts = chart(at("live-parts"), 128, {
      scales: { x, y: { range: () => [-this.most, this.most] } }, axes: axes(logit, () => even(this.most)), cursor,
      series: [{}, unseen],
      hooks: { drawAxes: [(u) => this.ground(u), (u) => this.logits(u)] },
    }, [[0], [null]]);
    this.most = 4;
    setInterval(() => this.tick(), 1000);
  }

  window() {
    const now_s = Date.now() / 1000;
    return [now_s - (innerWidth < 560 ? NARROW_S : WIDE_S), now_s];
  }

  show(stream) {
    this.stream = stream;
    const [since_s] = this.window();
    const seen = stream.scores.filter((score) => score.end_s > since_s - 10);
    this.most = Math.max(3, ...seen.map((s) => Math.max(Math.abs(s.audio_logit ?? 0), Math.abs(s.text_logit ?? 0)))) * 1.05;
    const x = [], moods = [], thresholds = [], session = [];
    for (const score of seen) {
      // A line that went on over a restart would join two daemons.
      if (session.length && session.at(-1) !== score.session) x.push(score.begin_s), moods.push(null), thresholds.push(null);
      session.push(score.session);
      x.push(score.end_s), moods.push(score.mood ?? null), thresholds.push(score.threshold);
    }
    this.score.setData([x, x.map(() => null), moods, thresholds], false);
    this.parts.setData([x, x.map(() => null)], false);
    this.tick();
    this.read(stream, seen);
  }

  tick() {
    const [min, max] = this.window();
    for (const plot of [this.score, this.parts]) plot.setScale("x", { min, max });
    if (this.stream?.scores.length) {
      const ago_s = Date.now() / 1000 - this.stream.scores.at(-1).end_s;
      say("now-ago", ago_s < 1.5 ? "now" : `${lasting(ago_s)} ago`);
    }
  }

  read(stream, seen) {
    const last = stream.scores.at(-1);
    if (!last) return;
    const p = at("now-p");
    say("now-p", last.p_sad.toFixed(2));
    p.dataset.sad = last.sad;
    p.dataset.session = last.session;
    p.dataset.seq = last.seq;
    say("now-verdict", last.uncertain ? "too close to call" : last.sad ? "sad" : "not sad");
    say("now-threshold", last.threshold.toFixed(2));
    say("now-mood", last.mood === undefined ? "–" : last.mood.toFixed(2));
    say("now-audio", last.audio_logit === null ? "–" : signed(last.audio_logit));
    say("now-text", last.text_used ? (last.text_logit === null ? "–" : signed(last.text_logit)) : NO_WORDS[last.text_reason] || "–");
    showFelt(stream);
    at("now-words").hidden = last.text === undefined;
    say("now-words", last.text ?? "");
    const sad = seen.filter((score) => score.sad).length;
    at("live-score").setAttribute("aria-label",
      `Scores of the last ${lasting(innerWidth < 560 ? NARROW_S : WIDE_S)}: ${seen.length} segments, ${sad} sad; the last ${last.p_sad.toFixed(2)} with threshold ${last.threshold.toFixed(2)}`);
    at("live-parts").setAttribute("aria-label",
      `What voice and words add to the score, in log-odds: last ${signed(last.audio_logit ?? 0)} and ${signed(last.text_logit ?? 0)}`);
  }

  // Behind everything: when nothing could be heard, and episodes.
  ground(u) {
    if (!this.stream) return;
    const { ctx } = u, { top, height } = u.bbox;
    for (const spell of this.stream.spells) {
      if (!DEAF.has(spell.state)) continue;
      const [x, , width] = box(u, spell.since_s, Math.min(spell.until_s, u.scales.x.max), 0, 0);
      if (width > 0) {
        ctx.fillStyle = colour("deaf");
        ctx.fillRect(x, top, width, height);
        hatch(ctx, x, top, width, height, colour("edge"));
      }
    }
    for (const episode of this.stream.episodes.values()) {
      const [x, , width] = box(u, episode.since_s, episode.until_s, 0, 0);
      if (width > 0) {
        ctx.fillStyle = colour("episode");
        ctx.fillRect(x, top, width, height);
        ctx.fillStyle = colour("sad");
        ctx.fillRect(x, top, width, 2 * devicePixelRatio);
      }
    }
  }

  bars(u) {
    const { ctx } = u;
    for (const score of this.seen(u)) {
      const [x, y, width, height] = box(u, score.begin_s, score.end_s, 0, score.p_sad);
      if (width <= 0) continue;
      const thin = Math.max(1, width - devicePixelRatio);
      const ink = colour(score.sad ? "sad" : "score");
      if (score.uncertain) {
        ctx.strokeStyle = ink;
        ctx.lineWidth = 1.25 * devicePixelRatio;
        ctx.strokeRect(x + 0.5, y, thin - 1, height);
      } else {
        ctx.fillStyle = ink;
        ctx.fillRect(x, y, thin, height);
      }
    }
  }

  logits(u) {
    const { ctx } = u;
    for (const score of this.seen(u)) {
      const middle_s = (score.begin_s + score.end_s) / 2;
      for (const [part, from_s, until_s] of [["audio", score.begin_s, middle_s], ["text", middle_s, score.end_s]]) {
        const logit = score[`${part}_logit`];
        if (logit === null || (part === "text" && !score.text_used)) continue;
        const [x, y, width, height] = box(u, from_s, until_s, Math.min(0, logit), Math.max(0, logit));
        if (width <= 0) continue;
        ctx.fillStyle = colour(part);
        ctx.fillRect(x, y, Math.max(1, width - 0.5 * devicePixelRatio), height);
      }
    }
    const [x, y] = box(u, u.scales.x.min, u.scales.x.max, 0, 0);
    ctx.fillStyle = colour("edge");
    ctx.fillRect(x, y, u.bbox.width, devicePixelRatio);
  }

  seen(u) {
    return this.stream ? this.stream.scores.filter((score) => score.end_s > u.scales.x.min) : [];
  }
}
