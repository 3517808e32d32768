"""Voices, and a capture process that gives them as badly as asked: `python capturing.py hang`.

It imports little: a capture that takes 2 s to start counts as stalled, and a busy machine is slow to start programs.
"""

import os
import sys
import time

import numpy as np
from numpy.typing import NDArray

from sadstream.base.samples import SAMPLE_RATE, to_pcm


def voice(seconds: float, dbfs: float = -20.0) -> NDArray[np.float32]:
    """Something that WebRTC's detector takes for speech: 24 harmonics whose pitch and loudness wander."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 3 * t)) / SAMPLE_RATE
    x = sum(np.sin(k * phase) / k for k in range(1, 25)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    return np.asarray(x / np.sqrt(np.mean(x**2)) * 10 ** (dbfs / 20), dtype=np.float32)


def quiet(seconds: float) -> NDArray[np.float32]:
    """A room: noise at -70 dBFS, which no detector takes for speech and nobody takes for a muted microphone."""
    noise = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE))
    return np.asarray(noise * 10 ** (-70 / 20), dtype=np.float32)


def talk(turns: int, seconds: float = 2.0, pause_s: float = 1.0) -> NDArray[np.float32]:
    """Turns of voice with pauses between: as many segments, where a turn is shorter than 3 s."""
    return np.concatenate([np.concatenate([quiet(pause_s), voice(seconds)]) for _ in range(turns)] + [quiet(pause_s)])


def capture_main(behaviour: str) -> None:
    """A capture process that behaves as named: it opens, gives voice in real time, then does what it is asked."""

    def open_() -> None:
        print("capture: open 'fake' at 16000 Hz, 1 channel(s)", file=sys.stderr, flush=True)

    def give(seconds: float, speed: float = 1.0, content: bytes | None = None) -> None:
        start, block = time.monotonic(), 480
        for n in range(int(seconds * SAMPLE_RATE / block)):
            time.sleep(max(0.0, start + n * block / SAMPLE_RATE / speed - time.monotonic()))
            os.write(1, sound[n * 2 * block % len(sound) :][: 2 * block] if content is None else content)

    sound = to_pcm(voice(3.0))
    match behaviour.split(":"):
        case ["absent"]:
            print("capture: no capture device", file=sys.stderr)
            sys.exit(69)
        case ["waits"]:
            for line in ("absent: no capture device", "absent: no capture device", "lost: it is another's"):
                print(line, file=sys.stderr, flush=True)
                time.sleep(2.5)  # longer than a device that is there may be silent
            open_()
            give(3600)
        case ["crash"]:
            open_()
            give(0.5)
            raise RuntimeError("read failed")
        case ["hang"]:
            open_()
            give(0.5)
            time.sleep(3600)
        case ["mute-start"]:
            time.sleep(3600)
        case ["noisy"]:
            open_()
            for _ in range(100):
                os.write(2, b"ALSA lib pcm.c:8570:(snd_pcm_recover) underrun occurred\n" * 100)
            give(3600)
        case ["speed", factor]:
            open_()
            give(3600, float(factor))
        case ["level", value]:
            open_()
            give(3600, content=int(value).to_bytes(2, "little", signed=True) * 480)
        case ["backlog"]:
            open_()
            give(1.0)
            time.sleep(1.2)  # shorter than the stall limit
            os.write(1, bytes(64) * 600)
            give(3600)
        case _:
            open_()
            give(3600)


if __name__ == "__main__":
    capture_main(sys.argv[1])
