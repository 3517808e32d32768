// How numbers and moments are written, and the few ways to touch the page.

export const at = (id) => document.getElementById(id);

export function say(id, text) {
  const element = at(id);
  if (element.textContent !== text) element.textContent = text;
}

export function make(name, text = "", attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const pad = (number) => String(number).padStart(2, "0");

export function clock(time_s, seconds = true) {
  const when = new Date(1000 * time_s);
  return `${pad(when.getHours())}:${pad(when.getMinutes())}${seconds ? `:${pad(when.getSeconds())}` : ""}`;
}

export function day(time_s) {
  return new Date(1000 * time_s).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });
}

export const isoDay = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;

export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)}\u00a0s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}\u00a0min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1).replace(".0", "")}\u00a0h`;
  return `${(seconds / 86400).toFixed(1).replace(".0", "")}\u00a0days`;
}

export const signed = (value, digits = 2) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
export const share = (value) => `${Math.round(100 * value)}\u00a0%`;
export const count = (number) => number.toLocaleString("en-GB");

// Reasons and states of the wire as people say them.
export const REASONS = {
  "none": "", "device-lost": "the device went away", "device-absent": "no such device", "stalled": "no audio comes",
  "muted": "muted", "constant": "one value only", "clipped": "too loud", "rate": "wrong sample rate",
  "slow": "slower than speech", "gpu-memory": "out of GPU memory", "user": "by you", "signal": "told to stop",
};
export const LAMPS = {
  "listening": "good", "starting": "warn", "paused": "warn", "degraded": "warn", "overloaded": "warn",
  "no-device": "bad", "stopping": "bad", "silent": "bad", "connecting": "off", "page lost": "bad",
};
export const NO_WORDS = {
  "none": "", "silence": "none said", "language": "language", "loop": "looping", "low-confidence": "unsure", "off": "off",
};
