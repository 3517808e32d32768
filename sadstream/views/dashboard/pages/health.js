// How the daemon is: state and why, what was lost, how long a segment takes and where the time goes.

import { unix } from "./heard.js";
import { LAMPS, REASONS, at, clock, count, lasting, make, say } from "./words.js";

const STAGES = ["queue", "vad", "whisper", "text", "fusion", "publish"];
const RECENT = 200;

export function stateOf(stream, connected) {
  if (!connected) return ["page lost", "its server does not answer; trying again"];
  if (!stream?.status) return stream?.silent ? ["silent", "nothing comes from there"] : ["connecting", "no daemon heard yet"];
  if (stream.silent) return ["silent", stream.status.state === "stopping" ? "it ended" : "dead, or out of reach"];
  return [stream.status.state, REASONS[stream.status.reason] ?? stream.status.reason];
}

export function showHealth(stream, connected) {
  const [state, why] = stateOf(stream, connected);
  at("state").dataset.lamp = LAMPS[state] ?? "warn";
  say("state-name", state);
  say("state-why", why);
  say("health-sentence", sentence(state, why, stream));
  if (!stream) return;
  const { status } = stream;
  if (status && at("state").dataset.session !== status.session) {
    at("state").dataset.since = unix(status);
    at("state").dataset.session = status.session;
  }
  say("rtf", status ? status.rtf.toFixed(2) : "–");
  at("rtf").dataset.tone = status && status.rtf > 0.9 ? "warn" : "";
  for (const [id, number] of [["dropped", status?.dropped ?? 0], ["missed", stream.missed], ["restarts", stream.restarts]]) {
    say(id, count(number));
    at(id).dataset.tone = number && id !== "restarts" ? "warn" : "";
  }
  showLatency(stream.scores.slice(-RECENT));
  showLog(stream.log);
}

function sentence(state, why, stream) {
  const said = {
    "listening": "Audio flows and is scored.", "paused": "The microphone is closed until somebody resumes.",
    "no-device": "Nothing is heard; it tries again by itself.", "starting": "Models load, or the device opens.",
    "degraded": "It goes on, with less than it should have.", "overloaded": "Analysis is slower than speech; the oldest is dropped.",
    "stopping": "The daemon ends.", "silent": "No sign of life: its last numbers are shown.",
    "connecting": "Waiting for the daemon.", "page lost": "What is shown is old.",
  }[state] ?? state;
  return why && stream ? `${said} Reason: ${why}.` : said;
}

function showLatency(scores) {
  const last = scores.at(-1);
  if (!last) return;
  say("latency-total", `last ${Math.round(last.latency_ms.total)} ms`);
  const sum = STAGES.reduce((all, stage) => all + last.latency_ms[stage], 0) || 1;
  const bar = at("stages");
  if (!bar.children.length) {
    STAGES.forEach((stage, index) => {
      bar.append(make("i", "", { class: `s${index}` }));
      const item = make("li", "");
      item.append(make("i", "", { class: `key s${index}` }), make("span", stage));
      at("stage-names").append(item);
    });
  }
  STAGES.forEach((stage, index) => {
    bar.children[index].style.width = `${(100 * last.latency_ms[stage]) / sum}%`;
    const text = `${stage} ${last.latency_ms[stage] < 10 ? last.latency_ms[stage].toFixed(1) : Math.round(last.latency_ms[stage])}`;
    at("stage-names").children[index].lastChild.textContent = text;
  });
  bar.setAttribute("aria-label", `Latency by stage in ms: ${STAGES.map((stage) => `${stage} ${last.latency_ms[stage].toFixed(1)}`).join(", ")}`);
  const totals = scores.map((score) => score.latency_ms.total).sort((a, b) => a - b);
  const at_share = (share) => `${Math.round(totals[Math.min(totals.length - 1, Math.floor(share * totals.length))])} ms`;
  say("latency-p50", at_share(0.5));
  say("latency-p95", at_share(0.95));
  say("latency-max", at_share(1));
  say("latency-n", String(totals.length));
}

function showLog(log) {
  const lines = log.slice(-6).reverse().map(({ when_s, what, about }) => {
    const [tone, text] = told(what, about);
    const line = make("li", "", { "data-tone": tone });
    line.append(make("time", clock(when_s)), make("span", text));
    return line;
  });
  at("log").replaceChildren(...lines);
}

function told(what, about) {
  if (what === "gap") return ["warn", `${about.missed} ${about.event_type} event${about.missed === 1 ? "" : "s"} lost`];
  if (what === "restart") return ["warn", "a new daemon: numbers begin again"];
  if (what === "stale") return ["bad", `silent for ${lasting(about.silent_s)}`];
  const why = REASONS[about.reason] ?? about.reason;
  return [LAMPS[what] ?? "", why ? `${what}: ${why}` : what];
}
