// What is heard, sent and kept, always in sight; and the switch that closes the microphone.

import { ask } from "./ask.js";
import { at, say } from "./words.js";

function lamp(id, text, tone) {
  const cell = at(`privacy-${id}`);
  cell.dataset.tone = tone;
  const value = cell.querySelector("dd");
  if (value.textContent !== text) value.textContent = text;
}

export class Privacy {
  constructor(changed) {
    this.known = null;
    this.changed = changed;
    this.busy = false;
    at("pause").addEventListener("click", () => this.press());
  }

  async ask() {
    const answer = await ask("/api/state");
    if (answer.ok) this.take(answer.body);
  }

  take(known) {
    this.known = known;
    this.changed(known);
  }

  show(state) {
    if (!this.known) return;
    const closed = { "paused": "closed", "no-device": "none", "stopping": "closed", "silent": "unknown", "page lost": "unknown", "connecting": "unknown" }[state];
    lamp("microphone", closed ?? "open", state === "paused" ? "warn" : closed ? "" : "good");
    const words = this.known.words_sent;
    if (words) lamp("words", this.known.words_shown ? "sent, shown" : "sent, hidden", "bad");
    else lamp("words", words === false ? "not sent" : "unknown", words === false ? "good" : "");
    lamp("disk", this.known.journal ? "scores only" : "no journal", this.known.journal ? "" : "good");
    lamp("page", this.known.page_is_local ? "this machine" : "network, TLS", this.known.page_is_local ? "good" : "warn");
    this.paused = state === "paused";
    const button = at("pause");
    button.disabled = this.busy || !this.known.can_pause;
    button.dataset.paused = String(this.paused);
    button.textContent = this.paused ? "Resume" : "Pause";
    button.setAttribute("aria-label", this.paused ? "Resume: let the daemon listen again" : "Pause: close the microphone");
    say("pause-why", this.failed || (this.known.can_pause ? "" : `No pause: ${this.known.why_not}`));
  }

  async press() {
    this.busy = true;
    const word = this.paused ? "resume" : "pause";
    const headers = { "X-Sadstream-Csrf": this.known.csrf };
    const answer = await ask(`/api/${word}`, { method: "POST", headers });
    this.busy = false;
    this.failed = answer.ok ? "" : `It could not be told to ${word}.`;
    if (answer.ok) this.take(answer.body);
    else await this.ask();
  }
}
