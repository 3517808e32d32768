"""Sounds without speech: recordings, and what can be made."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.files import table_text
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, SILENCE_DBFS
from train.corpora.clips import Clip, read_audio

Samples = NDArray[np.float32]

MADE_S = 20
BABBLE_S = 6
BABBLE_VOICES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """A sound and what it is."""

    kind: str
    human_voice: bool
    samples: Samples


def recorded(folder: Path) -> list[Noise]:
    """The sounds of a folder with a manifest.csv."""
    rows = list(csv.DictReader(table_text(folder / "manifest.csv")))
    return [Noise(row["class"], row["human_voice"] == "1", read_audio(folder / row["path"])) for row in rows]


def made(seed: int) -> list[Noise]:
    """Digital silence, white and pink noise, hum of 50 Hz and clicks."""
    rng = np.random.default_rng(seed)
    n = MADE_S * SAMPLE_RATE
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.sqrt(np.maximum(1, np.arange(n // 2 + 1)))
    time_s = np.arange(n) / SAMPLE_RATE
    sounds = {
        "made: silence": np.zeros(n),
        "made: white": rng.standard_normal(n),
        "made: pink": np.fft.irfft(spectrum, n),
        "made: hum": sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in range(1, 8)),
        "made: clicks": (rng.random(n) < 0.0005) * rng.standard_normal(n),
    }
    return [Noise(kind, False, np.asarray(samples, dtype=np.float32)) for kind, samples in sounds.items()]


def mixed(noises: Sequence[Noise], count: int, seed: int) -> list[Noise]:
    """Two sounds without a voice at once, equally loud."""
    rng = np.random.default_rng(seed)
    quiet = [noise for noise in noises if not noise.human_voice]
    pairs = [rng.choice(len(quiet), 2, replace=False) for _ in range(count)]
    return [Noise("mixture", False, _sum([quiet[i].samples for i in pair])) for pair in pairs]


def reversed_babble(clips: Sequence[Clip], count: int, seed: int) -> list[Noise]:
    """Five voices at once, backwards: all that a voice has but words."""
    rng = np.random.default_rng(seed)
    made_of = [rng.choice(len(clips), BABBLE_VOICES, replace=False) for _ in range(count)]
    length = BABBLE_S * SAMPLE_RATE
    return [
        Noise("reversed babble", True, _sum([np.resize(read_audio(clips[i].path)[::-1], length) for i in picked]))
        for picked in made_of
    ]


def _sum(parts: Sequence[Samples]) -> Samples:

    length = max(part.size for part in parts)
    total: Samples = np.sum([at_mean_level(np.resize(part, length), -30.0) for part in parts], axis=0)
    return total


def at_mean_level(samples: Samples, level_dbfs: float) -> Samples:
    """The samples with this root mean square level, clipped at full scale; silence stays silence."""
    power = float(np.square(samples, dtype=np.float64).mean())
    if power == 0.0:
        return samples
    scaled = samples * 10.0 ** ((level_dbfs - 10.0 * np.log10(power)) / 20.0)
    return np.asarray(np.clip(scaled, -1.0, 1.0), dtype=np.float32)


def frame_powers(samples: Samples) -> NDArray[np.float64]:
    """(n,) mean power of each whole 30 ms frame."""
    whole = samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    powers: NDArray[np.float64] = np.square(whole, dtype=np.float64).mean(axis=1)
    return powers


def loud_dbfs(samples: Samples) -> float:
    """Level of the loud 30 ms frames: the 90th percentile of those heard."""
    power = frame_powers(samples)
    heard = power[power > 0.0]
    return 10.0 * float(np.log10(np.percentile(heard, 90.0))) if heard.size else SILENCE_DBFS
