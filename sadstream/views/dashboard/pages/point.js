// The trade-off curve: what share of sad episodes is caught at so many false alarms an hour, and where we stand.

import { axes, chart } from "./chart.js";
import { colour } from "./theme.js";
import { at, lasting, make, say, share } from "./words.js";

const NAMES = { off: "as voices come", running: "running offset", auto: "learning the voice", calibrated: "calibrated" };
const INKS = ["score", "audio", "text"];

export class Point {
  constructor() {
    this.rate_h = null;
    this.plot = null;
  }

  // What the card says; once.
  show(card) {
    if (this.plot || !card) {
      if (!card) say("point-sentence", "No card lies beside the checkpoint, so nothing is known of its false alarms.");
      return;
    }
    this.card = card;
    this.rate_h ??= card.rate_h;
    const rates = [...new Set(card.curves.flatMap((curve) => curve.best.map((choice) => choice.rate_h)))].sort((a, b) => a - b);
    const most = 1.05 * rates.at(-1);
    const x = [...rates, most];
    const lines = card.curves.map((curve) => x.map((rate) => curve.best.findLast((choice) => choice.rate_h <= rate)?.caught ?? null));
    const stepped = uPlot.paths.stepped({ align: 1 });
    this.plot = chart(at("curve"), 190, {
      scales: { x: { time: false, range: [0, most] }, y: { range: [0, 1] } },
      axes: axes((v) => `${Math.round(100 * v)} %`, [0, 0.25, 0.5, 0.75, 1], (_, splits) => splits.map((v) => `${v}/h`)),
      cursor: { show: false },
      series: [{}, ...INKS.map((ink) => ({ stroke: () => colour(ink), width: 2, paths: stepped, points: { show: false } }))],
      hooks: { draw: [(u) => this.mark(u)] },
    }, [x, ...lines]);
    const rows = [];
    card.curves.forEach((curve, index) => {
      const item = make("li");
      item.append(make("i", "", { class: `key c${index}` }), make("span", NAMES[curve.offset]));
      at("curve-names").append(item);
      for (const choice of curve.best) {
        const row = make("tr");
        const delay = choice.delay_s === null ? "–" : lasting(choice.delay_s);
        row.append(make("td", NAMES[curve.offset]), make("td", choice.rate_h.toFixed(2)), make("td", share(choice.caught)), make("td", delay));
        rows.push(row);
      }
    });
    at("curve-numbers").tBodies[0].append(...rows);
    say("point-model", card.model);
    say("point-protocol", `Measured on ${card.hours.toFixed(1)} h of simulated days, ${card.speakers} acted voices; ${card.protocol}. A rate is the count plus one, over those hours.`);
    this.tell();
  }

  // A daemon's episode says which rate is in force.
  heard(episode) {
    if (episode && episode.false_alarms_h !== this.rate_h) {
      this.rate_h = episode.false_alarms_h;
      this.tell();
      this.plot?.redraw();
    }
  }

  tell() {
    if (!this.card) return;
    const found = this.card.curves.map((curve) => [curve.offset, curve.best.findLast((choice) => choice.rate_h <= this.rate_h)]);
    const told = found.map(([offset, choice]) => `${NAMES[offset]}: ${choice ? `${share(choice.caught)} after ${choice.delay_s === null ? "–" : lasting(choice.delay_s)}` : "none"}`);
    const rate = `${this.rate_h} false alarm${this.rate_h === 1 ? "" : "s"} an hour`;
    say("point-sentence", `At ${rate} this checkpoint catches, of sad stretches of a minute and more: ${told.join("; ")}.`);
    at("curve").setAttribute("aria-label", `Trade-off of false alarms and episodes caught. At ${rate}: ${told.join("; ")}`);
  }

  mark(u) {
    const x = Math.round(u.valToPos(this.rate_h, "x", true));
    const { ctx } = u, { top, height } = u.bbox;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("sad");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.font = `${12 * devicePixelRatio}px Inter, system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.fillText("in force", x + 5 * devicePixelRatio, top + 12 * devicePixelRatio);
    ctx.restore();
  }
}
