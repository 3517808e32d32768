// Stretches of sad talk, newest first, each with how its evidence went and the scores that are it.

import { likeliest } from "./felt.js";
import { at, clock, lasting, make, say, signed } from "./words.js";

const SHOWN = 12;
const SVG = "http://www.w3.org/2000/svg";

export class Episodes {
  constructor(past) {
    this.past = past;
    this.drawn = new Map();
  }

  show(stream) {
    const newest = [...stream.episodes.values()].sort((a, b) => b.since_s - a.since_s).slice(0, SHOWN);
    at("episodes-none").hidden = newest.length > 0;
    const total = stream.episodes.size;
    say("episodes-count", total ? `${total} remembered` : "");
    const list = at("episodes");
    const kept = new Map();
    for (const episode of newest) {
      const mark = `${stream.name} ${episode.key} ${episode.said.length} ${episode.open}`;
      const old = this.drawn.get(episode.key);
      const fresh = old?.mark === mark ? old : { mark, element: this.entry(stream, episode, old?.element.open ?? false) };
      kept.set(episode.key, fresh);
    }
    this.drawn = kept;
    const wanted = [...kept.values()].map((entry) => entry.element);
    if (wanted.length !== list.children.length || wanted.some((element, index) => list.children[index] !== element)) {
      list.replaceChildren(...wanted);
    }
  }

  entry(stream, episode, open) {
    const { last } = episode;
    const details = make("details", "", { "data-open": String(episode.open) });
    const summary = make("summary");
    const text = `${lasting(last.t_end - last.t_start)}, ${last.sad_segments} of ${last.segments} segments sad, mood ${last.mood.toFixed(2)}, evidence ${signed(last.evidence, 1)}`;
    summary.append(make("b", `${clock(episode.since_s)} to ${clock(episode.until_s)}`), spark(episode.said), make("span", text, { class: "aside" }));
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(...this.inside(stream, episode));
    });
    details.open = open;
    return details;
  }

  inside(stream, episode) {
    const { last } = episode;
    const scores = stream.scores.filter(
      (s) => s.session === last.session && s.seq >= last.first_score_seq && s.seq <= last.last_score_seq,
    );
    const button = make("button", "Show in the history", { type: "button" });
    const around_s = Math.max(60, 1.5 * (episode.until_s - episode.since_s));
    button.addEventListener("click", () => {
      this.past.reach(around_s, (episode.since_s + episode.until_s) / 2 + around_s / 2);
      at("history").scrollIntoView({ block: "nearest" });
      at("history").focus();
    });
    const note = `Started at ${last.false_alarms_h} false alarm${last.false_alarms_h === 1 ? "" : "s"} an hour. Its evidence, scores ${last.first_score_seq} to ${last.last_score_seq}${scores.length < last.segments ? `, of which ${scores.length} are still known here` : ""}:`;
    const scores_of = make("div", "", { class: "evidence", tabindex: "0", role: "region", "aria-label": "Scores of this episode" });
    scores_of.append(table(scores));
    return [make("p", note, { class: "note" }), scores_of, button];
  }
}

function table(scores) {
  const made = make("table");
  made.append(make("caption", "Scores of the episode", { class: "hidden" }));
  const head = make("tr");
  const felt = scores.some((score) => score.emotions);
  for (const name of ["at", "score", "voice", "words", ...(felt ? ["likeliest"] : [])]) head.append(make("th", name, { scope: "col" }));
  made.createTHead().append(head);
  const body = made.createTBody();
  for (const score of scores) {
    const line = make("tr", "", { "data-sad": String(score.sad) });
    const logit = (value) => (value === null ? "–" : signed(value));
    line.append(make("td", clock(score.end_s)), make("td", score.p_sad.toFixed(2)), make("td", logit(score.audio_logit)), make("td", score.text_used ? logit(score.text_logit) : "–"));
    if (felt) line.append(make("td", likeliest(score)));
    body.append(line);
  }
  return made;
}

function spark(said) {
  const svg = document.createElementNS(SVG, "svg");
  const most = Math.max(1, ...said.map((e) => e.evidence)), least = Math.min(0, ...said.map((e) => e.evidence));
  const span_s = Math.max(1, said.at(-1).t_end - said[0].t_end);
  const y = (value) => 34 - (32 * (value - least)) / (most - least);
  const points = said.map((e) => `${(100 * (e.t_end - said[0].t_end)) / span_s},${y(e.evidence).toFixed(1)}`);
  svg.setAttribute("viewBox", "0 0 100 36");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Evidence from ${signed(said[0].evidence, 1)} to ${signed(said.at(-1).evidence, 1)}, at most ${signed(most, 1)}`);
  const zero = document.createElementNS(SVG, "path");
  zero.setAttribute("class", "spark-0");
  zero.setAttribute("d", `M0 ${y(0)}H100`);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("class", "spark");
  line.setAttribute("points", points.length > 1 ? points.join(" ") : `0,${y(said[0].evidence)} 100,${y(said[0].evidence)}`);
  svg.append(zero, line);
  return svg;
}
