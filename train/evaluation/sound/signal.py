"""What a constant offset and the mains' hum leave of the scores, and what taking them out costs clean recordings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sadstream.audio.segmenter import Segmenter
from sadstream.base.samples import SAMPLE_RATE, AudioFrame
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.analyzer.analyzer import Analyzer
from train.corpora.clips import TRAIL_S, Clip, daemon_segments, read_audio
from train.evaluation.gates import share
from train.metrics.detection import RESAMPLES, Interval, auc, over_groups
from train.metrics.markdown import markdown

Samples = NDArray[np.float32]

HUM_DB = -10.0  # below the clip's mean power
HARMONICS = 7  # of a hum that is no pure tone, the k-th 1 / k as strong
OFF_HZ = 0.1  # mains stray by so much at most, mostly
BEFORE_S = 1.0  # a microphone hums before anybody speaks
MOVED = 0.02  # a score that moved by more is counted


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that is no sound of the room: added from so many seconds before the clip until the end."""

    name: str
    add: Callable[[Samples, int, Generator], Samples]  # clip, samples of the disturbance, chance
    before_s: float = 0.0


def disturbances() -> tuple[Disturbance, ...]:
    """The rows of the table; the first is none."""

    def offset(share_of_full: float) -> Disturbance:
        return Disturbance(f"offset {100 * share_of_full:g} %", lambda _, n, __: _constant(share_of_full, n))

    def mains(hz: float, harmonics: int, before_s: float = 0.0) -> Disturbance:
        name = f"hum {hz:g} Hz{', with harmonics' if harmonics > 1 else ''}{', from 1 s before' if before_s else ''}"
        return Disturbance(name, lambda x, n, rng: hum(x, n, hz, harmonics, rng), before_s)

    return (
        Disturbance("as recorded", lambda _, n, __: _constant(0.0, n)),
        *(offset(part) for part in (0.01, 0.05, 0.10)),
        *(mains(hz, harmonics) for hz in (50.0, 60.0) for harmonics in (1, HARMONICS)),
        *(mains(hz, HARMONICS, BEFORE_S) for hz in (50.0, 60.0)),
    )


def _constant(value: float, n: int) -> Samples:

    return np.full(n, value, np.float32)


def hum(samples: Samples, n: int, hz: float, harmonics: int, rng: Generator) -> Samples:
    """(n,) of a mains hum HUM_DB below these samples: off by a little, in any phase."""
    time_s = np.arange(n) / SAMPLE_RATE
    true_hz, phases = hz + rng.uniform(-OFF_HZ, OFF_HZ), rng.uniform(0.0, 2.0 * np.pi, harmonics)
    wave = sum(np.sin(2 * np.pi * k * true_hz * time_s + phases[k - 1]) / k for k in range(1, harmonics + 1))
    power = 0.5 * sum(k**-2 for k in range(1, harmonics + 1))
    level = np.sqrt(float(np.square(samples, dtype=np.float64).mean()) / power) * 10.0 ** (HUM_DB / 20.0)
    return np.asarray(level * wave, dtype=np.float32)


def disturbed(samples: Samples, disturbance: Disturbance, rng: Generator) -> Samples:
    """The clip and the pause behind it with the disturbance over all of it, clipped at full scale."""
    stream = np.pad(samples, (round(disturbance.before_s * SAMPLE_RATE), round(TRAIL_S * SAMPLE_RATE)))
    return np.asarray((stream + disturbance.add(samples, stream.size, rng)).clip(-1.0, 1.0), dtype=np.float32)


@dataclass(slots=True, eq=False)
class AudioParts:
    """The audio parts of one row's segments."""

    labels: NDArray[np.int64]
    parts: NDArray[np.float64]
    speakers: NDArray[np.str_]


def signal_table(clips: Sequence[Clip], analyzer: Analyzer, seed: int, tick: Callable[[], None]) -> str:
    """AUC of the audio part under each disturbance, and how far it is from that as recorded, of the same speakers."""
    rows, recorded = [], None
    for disturbance in disturbances():
        found = _parts(clips, disturbance, analyzer, seed, tick)
        recorded = recorded or found
        moved = "" if found is recorded else difference(recorded, found).signed()
        ranking = over_groups(auc, found.labels, found.parts, found.speakers.tolist())
        rows.append((disturbance.name, str(ranking), moved, f"{found.labels.size:,}"))
    return markdown(("sound", "AUC, sad against neutral and calm", "moved by", "n"), rows)


def _parts(
    clips: Sequence[Clip], disturbance: Disturbance, analyzer: Analyzer, seed: int, tick: Callable[[], None]
) -> AudioParts:

    rng = np.random.default_rng(seed)
    found: list[tuple[int, float, str]] = []
    for number, clip in enumerate(clips):
        for segment in daemon_segments(disturbed(read_audio(clip.path), disturbance, rng), number):
            analysis = analyzer(segment)
            if isinstance(analysis, Analysis):
                found.append((clip.sad, analysis.audio_logit, clip.speaker))
        tick()
    labels, parts, speakers = zip(*found, strict=True)
    return AudioParts(np.array(labels), np.array(parts), np.array(speakers))


@dataclass(frozen=True, slots=True)
class AucDifference:
    """How far a figure moved, with the interval of a bootstrap over speakers."""

    interval: Interval

    def signed(self) -> str:
        """As the table prints it."""
        return f"{self.interval.value:+.4f} [{self.interval.low:+.4f}, {self.interval.high:+.4f}]"


def difference(first: AudioParts, second: AudioParts, seed: int = 0, resamples: int = RESAMPLES) -> AucDifference:
    """AUC of the second minus that of the first, paired: the same speakers are drawn for both."""
    names = np.unique(first.speakers)
    members = [[np.flatnonzero(some.speakers == name) for name in names] for some in (first, second)]

    def moved(drawn: NDArray[np.int64]) -> float:
        rows = [np.concatenate([some[i] for i in drawn]) for some in members]
        figures = [auc(some.labels[at], some.parts[at]) for some, at in zip((first, second), rows, strict=True)]
        return figures[1] - figures[0]

    rng = np.random.default_rng(seed)
    drawn = [moved(rng.integers(names.size, size=names.size)) for _ in range(resamples)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return AucDifference(Interval(moved(np.arange(names.size)), float(low), float(high), int(second.labels.size)))


class IdentityStage:
    """A stage that hands on what it is given."""

    def feed(self, frame: AudioFrame) -> AudioFrame:
        """The same frame."""
        return frame


def without_stages() -> Segmenter:
    """The daemon's segmenter with neither the high-pass nor the subtraction of hum before it."""
    segmenter = Segmenter(VadConfig(), SegmentConfig())
    for stage in ("_high_pass", "_hum"):
        assert hasattr(segmenter, stage)
        setattr(segmenter, stage, IdentityStage())
    return segmenter


@dataclass(frozen=True, slots=True)
class HeardSegment:
    """What of a segment can move."""

    t_start: float
    t_end: float
    p_sad: float
    sad: bool
    words: str


def heard(samples: Samples, seed: int, analyzer: Analyzer, segmenter: Segmenter | None = None) -> list[HeardSegment]:
    """The scored segments of a clip."""
    found = ((segment, analyzer(segment)) for segment in daemon_segments(samples, seed, segmenter))
    return [
        HeardSegment(s.t_start, s.t_end, a.p_sad, a.sad, a.transcript.text if a.transcript.kept else "")
        for s, a in found
        if isinstance(a, Analysis)
    ]


def counterpart(one: HeardSegment, others: Sequence[HeardSegment]) -> HeardSegment | None:
    """That of the others which shares most time with it, and at least half of it."""
    shared = [(min(one.t_end, other.t_end) - max(one.t_start, other.t_start), other) for other in others]
    most, other = max(shared, key=lambda each: each[0], default=(0.0, None))
    return other if most >= (one.t_end - one.t_start) / 2 else None


def clean_table(clips: Sequence[Clip], analyzer: Analyzer, tick: Callable[[], None]) -> str:
    """How far scores of recordings as they are lie from those that they would have without the two stages."""
    pairs: list[tuple[HeardSegment, HeardSegment]] = []
    lost = added = 0
    for number, clip in enumerate(clips):
        samples = read_audio(clip.path)
        before, after = heard(samples, number, analyzer, without_stages()), heard(samples, number, analyzer)
        found = [(one, counterpart(one, after)) for one in before]
        pairs += [(one, other) for one, other in found if other is not None]
        lost += sum(other is None for _, other in found)
        added += sum(counterpart(one, before) is None for one in after)
        tick()
    moved = np.array([abs(one.p_sad - other.p_sad) for one, other in pairs])
    far = [pair for pair, by in zip(pairs, moved, strict=True) if by > MOVED]
    words = sum(one.words != other.words for one, other in far)
    cut = sum((one.t_start, one.t_end) != (other.t_start, other.t_end) for one, other in far)
    flipped = sum(one.sad != other.sad for one, other in pairs)
    rows = [
        ("clips, speakers", f"{len(clips)}, {len({clip.speaker for clip in clips})}"),
        ("segments, more, fewer", f"{len(pairs)}, {added}, {lost}"),
        ("median, 95 % and 99 % quantile", ", ".join(f"{np.quantile(moved, q):.4f}" for q in (0.5, 0.95, 0.99))),
        ("largest", f"{moved.max():.4f}"),
        (f"moved by more than {MOVED:g}", f"{len(far)}: {share(len(far), len(pairs))}"),
        ("of those with other words, with another cut", f"{words}, {cut}"),
        ("decisions moved", f"{flipped}: {share(flipped, len(pairs))}"),
    ]
    return markdown(("score with the two stages against without", "found"), rows)
