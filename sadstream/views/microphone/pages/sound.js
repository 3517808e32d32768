// The browser's microphone, opened and closed; its frames go to whoever opened it.

// The models were trained and calibrated on sound as it is: what a browser does to a call (echo, noise, gain) changes
// level and timbre, which the score is about.
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, voiceIsolation: false };
const NAMES = { echoCancellation: "echo cancellation", noiseSuppression: "noise suppression", autoGainControl: "automatic gain" };

const ERRORS = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it beside the address, then press Start.",
  NotFoundError: "The browser finds no microphone. Connect one, then press Start.",
  NotReadableError: "Another program holds the microphone, or the system refuses it. Then press Start.",
  SecurityError: "The browser allows no microphone here: its settings or the system's forbid it.",
};

export const said = (error) => ERRORS[error.name] ?? `The microphone does not open: ${error.message || error.name}.`;

export class Sound {
  constructor(onFrame, onEnd) {
    this.onFrame = onFrame;
    this.onEnd = onEnd;
    this.context = null;
    this.stream = null;
    this.awake = null;
    document.addEventListener("visibilitychange", () => this.stayAwake());
  }

  // A phone that locks its screen takes the microphone away; where the browser can, it does not while this is on.
  async stayAwake() {
    if (this.stream === null || document.visibilityState !== "visible" || !navigator.wakeLock) return;
    this.awake = await navigator.wakeLock.request("screen").catch(() => null);
  }

  async open() {
    if (!navigator.mediaDevices || !globalThis.AudioWorkletNode) {
      throw new DOMException("browsers give it to https: pages and to this machine's own alone", "insecure page");
    }
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { ...RAW, channelCount: 1 } });
    const [track] = this.stream.getAudioTracks();
    track.addEventListener("ended", () => this.onEnd("The microphone went away. Connect it, then press Start."));
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("/pages/frames.js");
    const node = new AudioWorkletNode(this.context, "frames");
    node.port.onmessage = ({ data }) => this.onFrame(new Int16Array(data));
    this.context.createMediaStreamSource(this.stream).connect(node).connect(this.context.destination); // it plays nothing
    await this.context.resume();
    await this.stayAwake();
    return this.describe(track);
  }

  describe(track) {
    const settings = track.getSettings();
    const left = Object.keys(NAMES).filter((name) => settings[name] && settings[name] !== "none").map((name) => NAMES[name]);
    const rate = (this.context.sampleRate / 1000).toLocaleString("en-GB");
    const kept = left.length === 0 ? "" : ` This browser does not turn off its ${left.join(" and ")}, so scores may be off.`;
    return `${track.label || "microphone"}, taken at ${rate} kHz.${kept}`;
  }

  // In a pause the device gives silence, and no frame of it is sent.
  mute(muted) {
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
    this.awake?.release();
    this.stream = this.context = this.awake = null;
  }
}
