"""The scene that ships with the package: eight acted utterances, pauses, and a noise that is no speech.

python -m train.shipped.scene RAVDESS_DIR sadstream/cli/demo/scene/scene.flac
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sadstream.base.samples import SAMPLE_RATE

# RAVDESS, actors 16 to 18, who are never trained on. The third field of a name is the emotion, the fourth its
# intensity, the fifth the sentence: 01 neutral, 02 calm, 03 happy, 04 sad, 05 angry.
CLIPS = (
    "Actor_17/03-01-01-01-01-01-17",
    "Actor_16/03-01-04-02-02-01-16",
    "Actor_18/03-01-02-02-01-02-18",
    "Actor_17/03-01-04-02-01-02-17",
    "Actor_16/03-01-05-01-01-01-16",
    "Actor_18/03-01-04-02-02-02-18",
    "Actor_17/03-01-03-01-02-01-17",
    "Actor_18/03-01-01-01-01-01-18",
)
SPEECH_DBFS = -23.0  # the whole scene at once: how loud the clips are among themselves stays
ROOM_DBFS = -66.0
FAN_DBFS = -40.0
PAUSE_S = 0.9
FAN_AFTER = 4  # clips
FAN_S = 2.2


def _read(path: Path) -> NDArray[np.float32]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: NDArray[np.float32] = soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE).astype(np.float32)
    loud = np.flatnonzero(np.abs(mono) > 0.02 * np.abs(mono).max())
    trimmed: NDArray[np.float32] = mono[max(0, loud[0] - SAMPLE_RATE // 5) : loud[-1] + SAMPLE_RATE // 5]
    return trimmed


def _pink(n: int, dbfs: float, rng: np.random.Generator) -> NDArray[np.float32]:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[1:] /= np.sqrt(np.arange(1, spectrum.size))
    noise = np.fft.irfft(spectrum, n)
    levelled: NDArray[np.float32] = (noise / np.sqrt(np.mean(noise**2)) * 10 ** (dbfs / 20)).astype(np.float32)
    return levelled


def make_scene(folder: Path) -> NDArray[np.float32]:
    """(n,) float32 at 16 kHz: the clips with pauses, a fan in the middle, a quiet room under all of it."""
    rng = np.random.default_rng(0)
    suffixes = (".flac", ".wav")
    clips = [_read(next(p for s in suffixes if (p := folder / f"{clip}{s}").exists())) for clip in CLIPS]
    level = np.sqrt(np.mean(np.concatenate(clips) ** 2))
    pause = np.zeros(int(PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    parts = [pause]
    for number, clip in enumerate(clips, start=1):
        parts += [clip / level * 10 ** (SPEECH_DBFS / 20), pause]
        if number == FAN_AFTER:
            parts += [_pink(int(FAN_S * SAMPLE_RATE), FAN_DBFS, rng), pause]
    scene = np.concatenate(parts)
    clipped: NDArray[np.float32] = np.clip(scene + _pink(scene.size, ROOM_DBFS, rng), -1.0, 1.0).astype(np.float32)
    return clipped


if __name__ == "__main__":
    soundfile.write(sys.argv[2], make_scene(Path(sys.argv[1])), SAMPLE_RATE, subtype="PCM_16")
