// The page: one button, and in sight what is heard, what is sent, and what the daemon makes of it.

import { LAMPS, REASONS, at, lasting, say } from "./words.js";
import { Sound, said } from "./sound.js";

const QUIET_DB = -60;
const LOUD_DB = -1;
const WAITING_BYTES = 32000; // a second: what waits longer than that for the network is not sent
const AGAIN_MS = [500, 1000, 2000, 5000]; // between tries to find the daemon
const SECOND_BYTES = 32000;
const FINAL = { 4404: "no such stream", 4409: "another one is heard" }; // close codes after which this page does not go on
const wanted = new URLSearchParams(location.search).get("stream");
const light = matchMedia("(prefers-color-scheme: light)");

const page = { link: null, tries: 0, on: false, asking: false, paused: false, sent: 0, lost: 0, peak: 0, scored_s: null, refused: "" };
const sound = new Sound(frame, stop);

function wear() {
  document.documentElement.dataset.theme = light.matches ? "light" : "dark";
}

function tell(text, tone = "") {
  say("sentence", text);
  at("sentence").dataset.tone = tone;
}

function lamp(name, why, colour) {
  say("state-name", name);
  say("state-why", why);
  at("state").dataset.lamp = colour;
}

// --- the daemon

function connect() {
  const address = new URL(`/v1/audio${wanted === null ? "" : `?stream=${encodeURIComponent(wanted)}`}`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const link = new WebSocket(address);
  link.binaryType = "arraybuffer";
  link.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    HEARD[message.type]?.(message);
  };
  link.onclose = closed;
  page.link = link;
}

function closed({ code, reason }) {
  page.link = null;
  lamp("daemon lost", "", "bad");
  if (code in FINAL) {
    page.refused = `Not heard: ${reason || FINAL[code]}.`;
    if (page.on) stop(page.refused);
    else tell(page.refused, "bad");
    if (code === 4404) return;
  } else if (page.on) {
    tell(reason ? `Closed by the daemon: ${reason}. Trying again.` : "The daemon is gone. It is heard again as soon as it is back.", "bad");
  }
  const wait_ms = AGAIN_MS[Math.min(page.tries, AGAIN_MS.length - 1)];
  page.tries += 1;
  setTimeout(connect, wait_ms);
  if (page.tries > 2) ask();
}

// Where the daemon is back but does not know this browser any more, one has to log in again.
async function ask() {
  const answer = await fetch("/pages/frames.js", { method: "HEAD" }).catch(() => null);
  if (answer?.status === 401) location.assign("/pages/login.html");
}

const HEARD = {
  hello(hello) {
    page.tries = 0;
    at("go").disabled = false;
    say("stream", `stream ${hello.stream}`);
    say("where", `to ${location.host}`);
    say("format", `${hello.rate / 1000} kHz, ${hello.bits} bit, one channel, ${hello.frame_ms} ms a frame: 32 kB/s, to ${location.host} alone. Scores: ${hello.endpoint}`);
    if (page.on) tell("Sent as it is heard.");
  },
  status(status) {
    const known = status.state in LAMPS ? status.state : "connecting";
    const why = status.reason.startsWith("device-") ? "no page or program sends" : REASONS[status.reason] ?? status.reason;
    lamp(status.state, why, LAMPS[known]);
    at("state").dataset.session = status.session;
    const paused = status.state === "paused";
    if (paused !== page.paused) {
      page.paused = paused;
      sound.mute(paused);
      if (page.on) tell(paused ? "Paused at the daemon: nothing is sent until it is resumed." : "Sent as it is heard.", paused ? "warn" : "");
    }
  },
  score(score) {
    say("now-p", score.p_sad.toFixed(2));
    at("now-p").dataset.sad = score.sad;
    at("now-p").dataset.seq = score.seq;
    say("now-verdict", score.uncertain ? "too close to call" : score.sad ? "sad" : "not sad");
    say("now-threshold", score.threshold.toFixed(2));
    say("now-mood", score.mood === undefined ? "–" : score.mood.toFixed(2));
    say("now-latency", `${(score.latency_ms.total / 1000).toFixed(1)}\u00a0s`);
    page.scored_s = Date.parse(score.time) / 1000;
    age();
  },
  received(received) {
    const lost = received.lost_seconds + page.lost / SECOND_BYTES;
    say("arrived", lasting(received.seconds));
    say("lost", lasting(lost));
  },
};

function age() {
  if (page.scored_s !== null) say("score-ago", `${lasting(Math.max(0, Date.now() / 1000 - page.scored_s))} ago`);
}

// --- the microphone

async function start() {
  if (page.asking) return;
  page.asking = true; // the button stays as it is, or the keyboard would lose its place
  tell("The browser asks whether this page may use the microphone.");
  try {
    const what = await sound.open();
    Object.assign(page, { on: true, sent: 0, lost: 0, refused: "" });
    sound.mute(page.paused);
    tell(page.paused ? "Paused at the daemon: nothing is sent until it is resumed." : `Sent as it is heard: ${what}`, page.paused ? "warn" : "");
    press("Stop", true);
  } catch (error) {
    sound.close();
    tell(said(error), "bad");
  }
  page.asking = false;
}

function stop(why = "Stopped: nothing is heard and nothing is sent.") {
  sound.close();
  page.on = false;
  if (page.link?.readyState === WebSocket.OPEN) page.link.send(JSON.stringify({ type: "stop" }));
  tell(why, why.startsWith("Stopped") ? "" : "bad");
  show(0, 0, "off");
  say("level-dbfs", "–");
  press("Start", false);
}

function press(name, on) {
  say("go", name);
  at("go").setAttribute("aria-pressed", on);
}

function frame(samples) {
  if (!page.on) return;
  let power = 0;
  let peak = 0;
  for (const sample of samples) {
    power += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  const rms_db = 10 * Math.log10(power / samples.length / 32768 ** 2 + 1e-12);
  page.peak = Math.max(peak, 0.8 * page.peak);
  show(rms_db, 20 * Math.log10(page.peak / 32768 + 1e-6), `${rms_db.toFixed(0)} dBFS`);
  send(samples);
}

function show(rms_db, peak_db, text) {
  const share = (db) => (text === "off" ? 0 : Math.min(1, Math.max(0, 1 - db / QUIET_DB)));
  at("level-rms").style.transform = `scaleX(${share(rms_db)})`;
  at("level-peak").style.left = `${(100 * share(peak_db)).toFixed(1)}%`;
  at("level").dataset.loud = text !== "off" && peak_db > LOUD_DB;
  at("level").setAttribute("aria-valuenow", text === "off" ? QUIET_DB : Math.round(Math.max(QUIET_DB, rms_db)));
  at("level").setAttribute("aria-valuetext", text);
  say("level-dbfs", text);
}

function send(samples) {
  if (page.paused) return;
  if (page.link?.readyState !== WebSocket.OPEN || page.link.bufferedAmount > WAITING_BYTES) page.lost += samples.byteLength;
  else {
    page.link.send(samples);
    page.sent += samples.byteLength;
  }
  say("sent", lasting(page.sent / SECOND_BYTES));
  say("lost", lasting(page.lost / SECOND_BYTES));
}

light.addEventListener("change", wear);
wear();
at("go").addEventListener("click", () => (page.on ? stop() : start()));
setInterval(age, 1000);
connect();
