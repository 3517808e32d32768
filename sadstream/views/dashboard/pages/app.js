// The page: events in, and each view shown what it needs, once a frame at most.

import { ask } from "./ask.js";
import { Episodes } from "./episodes.js";
import { showHealth, stateOf } from "./health.js";
import { Heard } from "./heard.js";
import { Heat } from "./heat.js";
import { Live } from "./live.js";
import { Past } from "./past.js";
import { Point } from "./point.js";
import { Privacy } from "./privacy.js";
import { startTheme } from "./theme.js";
import { at, make, say } from "./words.js";

const TYPES = ["score", "status", "episode", "gap", "restart", "stale"];

startTheme();
const live = new Live(), past = new Past(), heat = new Heat(past), episodes = new Episodes(past), point = new Point();
const privacy = new Privacy((known) => {
  say("endpoint", known.endpoint);
  say("version", `sadstream ${known.version}`);
  point.show(known.trade_off);
  draw();
});

let heard = new Heard(), kept = [], chosen = null, connected = false, waiting = false, told = false;

function choose(name) {
  if (chosen === name) return;
  chosen = name;
  past.show(name).then(() => requestAnimationFrame(() => (document.documentElement.dataset.ready = "history")));
  heat.show(name);
  draw();
}

function offer() {
  const names = [...new Set([...heard.streams.keys(), ...kept])].sort();
  at("pick").hidden = names.length < 2;
  say("one", names.length === 1 ? names[0] : "");
  const select = at("stream");
  if (select.options.length !== names.length) {
    select.replaceChildren(...names.map((name) => make("option", name, { value: name })));
    select.value = chosen ?? names[0];
  }
  if (chosen === null && names.length) choose(names[0]);
}

function draw() {
  if (waiting || !told) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    offer();
    const stream = heard.streams.get(chosen);
    showHealth(stream, connected);
    privacy.show(stateOf(stream, connected)[0]);
    if (!stream) return;
    live.show(stream);
    episodes.show(stream);
    point.heard([...stream.episodes.values()].at(-1)?.last);
  });
}

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("hello", () => {
    heard = new Heard(); // the server tells again what it has kept
    connected = true;
    told = false;
  });
  source.addEventListener("now", () => {
    told = true;
    privacy.ask();
    draw();
  });
  source.addEventListener("behind", () => {
    source.close();
    listen();
  });
  for (const type of TYPES) {
    source.addEventListener(type, (message) => {
      if (heard.take(type, JSON.parse(message.data))) draw();
    });
  }
  source.addEventListener("error", () => {
    connected = false;
    draw();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

at("stream").addEventListener("change", () => choose(at("stream").value));
setInterval(() => !document.hidden && privacy.ask(), 15000);
setInterval(() => !document.hidden && heat.load(), 60000);
// Without a daemon the journal can be looked at all the same.
ask("/api/history?points=2").then((answer) => {
  kept = answer.ok ? answer.body.streams : [];
  draw();
});
listen();
