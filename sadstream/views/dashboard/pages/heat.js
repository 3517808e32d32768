// A week by the hour, or a day by ten minutes: a grid to walk through with the arrow keys.

import { ask } from "./ask.js";
import { at, clock, count, day, isoDay, make, say, share } from "./words.js";

const STEPS = [0.08, 0.16, 0.26, 0.38, 0.52];
const level = (p) => 1 + STEPS.filter((step) => p >= step).length;

export class Heat {
  constructor(past) {
    this.past = past;
    this.kind = "week";
    this.date = new Date();
    this.where = [0, 0];
    at("heat-week").addEventListener("click", () => this.turn("week", this.date));
    at("heat-earlier").addEventListener("click", () => this.step(-1));
    at("heat-later").addEventListener("click", () => this.step(1));
    at("heat").addEventListener("keydown", (event) => this.key(event));
  }

  show(stream) {
    this.stream = stream;
    return this.load();
  }

  turn(kind, date) {
    this.kind = kind;
    this.date = date;
    return this.load();
  }

  step(direction) {
    const days = direction * (this.kind === "week" ? 7 : 1);
    return this.turn(this.kind, new Date(this.date.getFullYear(), this.date.getMonth(), this.date.getDate() + days));
  }

  async load() {
    if (this.stream === null) return;
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const wanted = new URLSearchParams({ stream: this.stream, kind: this.kind, day: isoDay(this.date), zone });
    const answer = await ask(`/api/heat?${wanted}`);
    if (answer.ok) this.draw(answer.body);
    else say("heat-cell", answer.body);
  }

  draw(heat) {
    const week = heat.kind === "week";
    const first = new Date(`${heat.first}T12:00`).getTime() / 1000;
    say("heat-title", week ? "Week" : "Day");
    const empty = heat.rows.every((cells) => cells.every((cell) => !cell.n));
    const when = week ? `${day(first)} to ${day(first + 6 * 86400)}` : day(first);
    say("heat-when", empty ? `${when}: no scores; ← goes back` : when);
    at("heat-week").hidden = week;
    const head = make("tr");
    head.append(make("th", week ? "day" : "minute", { scope: "col" }));
    for (let hour = 0; hour < 24; hour++) head.append(make("th", String(hour), { scope: "col", "aria-label": `${hour} h` }));
    at("heat").tHead.replaceChildren(head);
    at("heat").tBodies[0].replaceChildren(...heat.rows.map((cells, row) => this.row(heat, cells, row, first)));
    this.cells = heat.rows;
    at("heat").dataset.first = heat.first;
    this.focus(Math.min(this.where[0], heat.rows.length - 1), this.where[1], false);
  }

  row(heat, cells, row, first) {
    const line = make("tr");
    const name = heat.kind === "week" ? day(first + 86400 * row) : `:${row}0`;
    const head = make("th", heat.kind === "week" ? "" : name, { scope: "row" });
    if (heat.kind === "week") {
      const button = make("button", innerWidth < 560 ? name.slice(0, 3) : name.replace(/ \w+$/, ""), { type: "button", "aria-label": `${name} in ten minutes` });
      button.addEventListener("click", () => this.turn("day", new Date(1000 * (first + 86400 * row))));
      head.append(button);
    }
    line.append(head);
    cells.forEach((cell, column) => {
      const found = make("td", cell.n ? String(Math.round(100 * cell.p_mean)) : "", {
        tabindex: "-1", role: "gridcell", "aria-label": describe(cell),
      });
      if (cell.n) found.className = `h${level(cell.p_mean)}`;
      found.addEventListener("click", () => this.open(cell));
      found.addEventListener("mouseenter", () => say("heat-cell", describe(cell)));
      found.addEventListener("focus", () => {
        this.where = [row, column];
        say("heat-cell", describe(cell));
      });
      line.append(found);
    });
    return line;
  }

  open(cell) {
    this.past.reach(cell.until_s - cell.since_s, cell.until_s);
    at("history").scrollIntoView({ block: "nearest" });
  }

  key(event) {
    const [row, column] = this.where;
    const to = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      Home: [row, 0], End: [row, 23],
    }[event.key];
    if (event.target.tagName !== "TD") return;
    if (event.key === "Enter" || event.key === " ") this.open(this.cells[row][column]);
    else if (to) this.focus(...to, true);
    else return;
    event.preventDefault();
  }

  // One cell is in the tab order; the arrows move it.
  focus(row, column, really) {
    const cell = at("heat").tBodies[0].rows[row]?.cells[column + 1];
    if (!cell || column < 0) return;
    for (const other of at("heat").querySelectorAll('td[tabindex="0"]')) other.tabIndex = -1;
    cell.tabIndex = 0;
    this.where = [row, column];
    if (really) cell.focus();
  }
}

function describe(cell) {
  const when = `${day(cell.since_s)} ${clock(cell.since_s, false)}`;
  if (!cell.n) return `${when}: nobody spoke`;
  return `${when}: mean score ${cell.p_mean.toFixed(2)}, ${count(cell.n)} segments, ${share(cell.sad / cell.n)} sad`;
}
