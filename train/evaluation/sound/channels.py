"""What a mix of channels leaves of the scores of the one that holds speech, beside the plain mean of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sadstream.audio.filters.mixer import Mixer
from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.analyzer.analyzer import Analyzer
from train.corpora.clips import FLOOR, Clip, read_audio
from train.evaluation.gates import share
from train.evaluation.sound.signal import HeardSegment, counterpart, heard
from train.features.noises import loud_dbfs
from train.metrics.markdown import markdown

Samples = NDArray[np.float32]

LEVEL_DB = 20.0  # the other channel is so much louder or quieter at most
DELAY_S = 0.02  # a second microphone seven metres further away
CHANNELS = (3, 6)
WITHIN = (0.02, 0.05)
MANY = "two to five of these"


def others() -> dict[str, Callable[[Samples, Generator], Samples]]:
    """What may be in a channel beside that of the speech, by its name."""

    def white(x: Samples, rng: Generator) -> Samples:
        return rng.standard_normal(x.size).astype(np.float32)

    def pink(x: Samples, rng: Generator) -> Samples:
        spectrum = np.fft.rfft(rng.standard_normal(x.size))
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(spectrum.size))), x.size).astype(np.float32)

    return {
        "white noise": lambda x, rng: _as_loud(white(x, rng), x, _level_db(rng)),
        "pink noise": lambda x, rng: _as_loud(pink(x, rng), x, _level_db(rng)),
        "hum": lambda x, rng: _as_loud(_tones(x.size, float(rng.choice([50.0, 60.0])), 7), x, _level_db(rng)),
        "a chord that is struck": lambda x, rng: _as_loud(_chords(x.size, rng), x, _level_db(rng)),
        "silence": lambda x, _: np.zeros_like(x),
        "inverted copy": lambda x, rng: -x * np.float32(10.0 ** (rng.uniform(-6.0, 6.0) / 20.0)),
        "delayed copy": _later,
        "quieter copy": lambda x, rng: x * np.float32(10.0 ** (rng.uniform(-LEVEL_DB, 0.0) / 20.0)),
        "clipped copy": lambda x, rng: x * np.float32(10.0 ** (rng.uniform(0.0, LEVEL_DB) / 20.0)),
    }


def _level_db(rng: Generator) -> float:
    return float(rng.uniform(-LEVEL_DB, LEVEL_DB))


def _as_loud(other: Samples, speech: Samples, more_db: float) -> Samples:
    """The other sound, its loud frames so much louder than those of the speech."""
    return np.asarray(other * 10.0 ** ((loud_dbfs(speech) + more_db - loud_dbfs(other)) / 20.0), dtype=np.float32)


def _tones(n: int, hz: float, count: int) -> Samples:

    time_s = np.arange(n) / SAMPLE_RATE
    waves = [np.sin(2 * np.pi * k * hz * time_s) / k for k in range(1, count + 1)]
    return np.asarray(np.sum(waves, axis=0), dtype=np.float32)


def _chords(n: int, rng: Generator) -> Samples:
    """Three notes struck twice a second, each dying away: music of a kind, without a voice."""
    beat = SAMPLE_RATE // 2
    decay = np.exp(-np.arange(beat) / (0.15 * SAMPLE_RATE)).astype(np.float32)
    struck = [
        np.sum([_tones(beat, 220.0 * 2.0 ** (int(note) / 12), 5) for note in rng.choice(24, 3)], axis=0) * decay
        for _ in range(-(-n // beat))
    ]
    return np.asarray(np.concatenate(struck)[:n], dtype=np.float32)


def _later(samples: Samples, rng: Generator) -> Samples:

    late = int(rng.integers(1, round(DELAY_S * SAMPLE_RATE)))
    gain = np.float32(10.0 ** (rng.uniform(-LEVEL_DB, 0.0) / 20.0))
    return np.pad(samples, (late, 0))[: samples.size] * gain


def beside(samples: Samples, kinds: Sequence[str], rng: Generator) -> tuple[Samples, int]:
    """(n, channels) and which holds the speech: these are in the others; each has a faint noise, none is over 1."""
    made = others()
    channels = [made[kind](samples, rng) for kind in kinds]
    at = int(rng.integers(len(channels) + 1))
    channels.insert(at, samples)
    stacked = np.stack(channels, axis=1)
    faint = rng.standard_normal(stacked.shape).astype(np.float32) * np.float32(FLOOR)
    return np.asarray((stacked + faint * stacked.any(axis=0)).clip(-1.0, 1.0), dtype=np.float32), at


@dataclass(frozen=True, slots=True)
class KeptShare:
    """What is left of a clip's scores in a mix."""

    within: tuple[bool, ...]  # of WITHIN
    decisions: bool

    @property
    def found(self) -> tuple[bool, ...]:
        """A row's counts."""
        return *self.within, self.decisions


def kept(alone: Sequence[HeardSegment], mixed: Sequence[HeardSegment]) -> KeptShare:
    """All segments of the speech alone are there, none is added, and each score is as near as this."""
    pairs = [(one, counterpart(one, mixed)) for one in alone]
    whole = len(alone) == len(mixed) and all(other is not None for _, other in pairs)
    both = [(one, other) for one, other in pairs if other is not None]
    return KeptShare(
        tuple(whole and all(abs(one.p_sad - other.p_sad) <= by for one, other in both) for by in WITHIN),
        whole and all(one.sad == other.sad for one, other in both),
    )


def channels_table(clips: Sequence[Clip], analyzer: Analyzer, seed: int, tick: Callable[[], None]) -> str:
    """Of how many clips a mix and the plain mean keep the scores and decisions, by what the other channels hold."""
    rng = np.random.default_rng(seed)
    names = list(others())
    found: dict[str, list[tuple[KeptShare, KeptShare]]] = {name: [] for name in [*names, MANY]}
    for number, clip in enumerate(clips):
        name = [*names, MANY][number % (len(names) + 1)]
        many = rng.choice(names, int(rng.integers(CHANNELS[0], CHANNELS[1] + 1)) - 1)
        samples = read_audio(clip.path)
        channels, at = beside(samples, many.tolist() if name == MANY else [name], rng)
        mixer = Mixer(SAMPLE_RATE, channels.shape[1])
        alone, mix, mean = (
            heard(sound, number, analyzer)
            for sound in (channels[:, at], mixer.feed(channels, last=True), channels.mean(axis=1, dtype=np.float32))
        )
        if alone:
            found[name].append((kept(alone, mix), kept(alone, mean)))
        tick()
    rows = [_row(name, some) for name, some in found.items()]
    rows.append(_row("ALL", [pair for some in found.values() for pair in some]))
    columns = [f"{how}, {what}" for how in ("mix", "mean") for what in ("within .02", "within .05", "decisions kept")]
    return markdown(("beside the speech", "n", *columns), rows)


def _row(name: str, pairs: Sequence[tuple[KeptShare, KeptShare]]) -> tuple[str, ...]:
    counts = [sum(column) for which in (0, 1) for column in zip(*(pair[which].found for pair in pairs), strict=True)]
    if name == "ALL":
        return name, str(len(pairs)), *(f"{count}: {share(count, len(pairs))}" for count in counts)
    return name, str(len(pairs)), *map(str, counts or [0] * 6)
