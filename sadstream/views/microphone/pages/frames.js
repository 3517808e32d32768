// In the audio thread: whatever the browser's rate, 16 kHz, 16 bit, one channel, in frames of 100 ms.
// A sinc under Kaiser's window: flat to 7.2 kHz, 90 dB down from 8 kHz on, so that nothing folds back.

const RATE = 16000;
const FRAME = 1600;
const ZEROS = 64; // of the sinc, on each side
const STEPS = 512; // of its table, between two zeros
const BETA = 9;
const EDGE = 0.955; // of half the lower rate

function bessel(x) {
  let sum = 1;
  for (let n = 1, term = 1; term > 1e-12 * sum; n += 1) {
    term *= (x / 2 / n) ** 2;
    sum += term;
  }
  return sum;
}

// From its middle to its end, one value more than there are steps.
const TABLE = Float64Array.from({ length: ZEROS * STEPS + 2 }, (_, n) => {
  const x = n / STEPS;
  if (x >= ZEROS) return 0;
  const sinc = n === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  return (sinc * bessel(BETA * Math.sqrt(1 - (x / ZEROS) ** 2))) / bessel(BETA);
});

class Resampler {
  constructor(rate) {
    this.step = rate / RATE; // samples that come in for one that goes out
    this.scale = EDGE * Math.min(1, 1 / this.step); // zeros of the sinc a sample that comes in
    this.half = Math.ceil(ZEROS / this.scale);
    this.kept = new Float32Array(4 * this.half + 8192);
    this.end = this.half; // silence before the first sample
    this.at = this.half; // where the next sample that goes out lies
  }

  feed(samples, out) {
    if (this.step === 1) return samples.forEach(out);
    this.kept.set(samples, this.end);
    this.end += samples.length;
    for (; this.at + this.half < this.end; this.at += this.step) out(this.value());
    const old = Math.floor(this.at) - this.half;
    if (old > 4096) {
      this.kept.copyWithin(0, old, this.end);
      this.at -= old;
      this.end -= old;
    }
  }

  value() {
    let sum = 0;
    const first = Math.ceil(this.at - this.half);
    const last = Math.floor(this.at + this.half);
    for (let n = first; n <= last; n += 1) {
      const place = Math.abs(n - this.at) * this.scale * STEPS;
      const low = Math.floor(place);
      if (low > ZEROS * STEPS) continue;
      sum += this.kept[n] * (TABLE[low] + (place - low) * (TABLE[low + 1] - TABLE[low]));
    }
    return sum * this.scale;
  }
}

class Frames extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.put = this.put.bind(this);
  }

  process([channels]) {
    if (channels.length === 0) return true; // the device gives nothing: nothing is sent for it
    const mono = channels[0].slice();
    for (const other of channels.slice(1)) for (let n = 0; n < mono.length; n += 1) mono[n] += other[n];
    if (channels.length > 1) for (let n = 0; n < mono.length; n += 1) mono[n] /= channels.length;
    this.resampler.feed(mono, this.put);
    return true;
  }

  put(value) {
    this.frame[this.filled] = Math.min(32767, Math.max(-32768, Math.round(32768 * value)));
    this.filled += 1;
    if (this.filled < FRAME) return;
    this.port.postMessage(this.frame.buffer, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
  }
}

registerProcessor("frames", Frames);
