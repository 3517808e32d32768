"""Simulated days: segments of one speaker at a time strung into hours of talk, with the truth beside them.

Scores are out of fold: whoever speaks was never heard by the model that scores. Acted clips, so a first approximation
to a day: the mixture, the pauses and the lengths are stated, not observed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from sadstream.scoring.fusion.header import Record
from sadstream.scoring.mood.episodes import ScoredSegment
from sadstream.scoring.mood.offset import RunningOffset
from train.corpora.clips import CALM, Clip
from train.shipped.scorecard import ScoredClips


class DaysConfig(Record):
    """What a day is like."""

    seed: int = Field(default=0, ge=0)
    hours: int = Field(default=12, ge=1)  # for each speaker; in an hour no clip twice
    calm_share: float = Field(default=0.85, ge=0.0, le=1.0)  # of the speech outside of episodes, and of the rest inside
    sad_share: float = Field(default=0.6, gt=0.0, le=1.0)  # of an episode's clips
    episode_s: tuple[float, float] = (20.0, 180.0)
    between_s: tuple[float, float] = (60.0, 300.0)  # shortened to a quarter of the talk that a speaker has
    pause_s: float = Field(default=0.8, gt=0.0)  # median between two clips
    rest_share: float = Field(default=0.04, ge=0.0, lt=1.0)  # of the pauses are long ones
    rest_s: tuple[float, float] = (5.0, 30.0)
    sad_first: bool = False  # the day begins with an episode
    calibration_s: float = Field(default=60.0, gt=0.0)  # of neutral or calm speech, at most a third of what there is


@dataclass(frozen=True, slots=True, eq=False)
class ScoredClip:
    """One clip as the daemon scores it."""

    clip: Clip
    uncapped: NDArray[np.float64]  # (segments,)
    llrs: NDArray[np.float64]  # (segments,) the same as the daemon caps them
    seconds: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SadSpan:
    """A sad episode, in seconds of the day."""

    t_start: float
    t_end: float


@dataclass(frozen=True, slots=True)
class DaySegment:
    """One segment of a day: when it is heard, which clip it comes from, its ratio before and after the cap."""

    t_start: float
    t_end: float
    clip: Clip
    uncapped: float
    llr: float


@dataclass(frozen=True, slots=True)
class Day:
    """An hour of one speaker: what is heard, and the truth."""

    speaker: str
    heard: tuple[DaySegment, ...]
    truth: tuple[SadSpan, ...]
    seconds: float
    calibration: tuple[DaySegment, ...]  # of the clips that were kept for it and are not in the day

    def as_it_comes(self) -> tuple[ScoredSegment, ...]:
        """What a belief hears that learns nothing."""
        return self._moved(lambda one: one.llr)

    def running(self, reference: float) -> tuple[ScoredSegment, ...]:
        """The same with the causal running offset."""
        offset = RunningOffset(reference)
        return self._moved(lambda one: one.llr + offset.feed(one.llr, one.t_end - one.t_start))

    def learnt(self) -> tuple[ScoredSegment, ...]:
        """What a belief hears that learns the voice itself."""
        return self._moved(lambda one: one.uncapped)

    @property
    def typical(self) -> float:
        """The mean ratio of the voice's calibration, before any cap."""
        return float(np.mean([one.uncapped for one in self.calibration])) if self.calibration else 0.0

    def _moved(self, ratio: Callable[[DaySegment], float]) -> tuple[ScoredSegment, ...]:
        return tuple(ScoredSegment(h.t_start, h.t_end, n, False, ratio(h)) for n, h in enumerate(self.heard))


def spoken_clips(scored: ScoredClips, seconds: NDArray[np.float64]) -> dict[str, list[ScoredClip]]:
    """The clips of each speaker with the scores of their segments."""
    rows: dict[Clip, list[int]] = {}
    for row, clip in enumerate(scored.clips):
        rows.setdefault(clip, []).append(row)
    speakers: dict[str, list[ScoredClip]] = {}
    for clip, at in rows.items():
        picked = np.array(at, dtype=np.int64)
        spoken = ScoredClip(clip, scored.uncapped[picked], scored.llrs[picked], seconds[picked])
        speakers.setdefault(clip.speaker, []).append(spoken)
    return dict(sorted(speakers.items()))


def reference_of(speakers: dict[str, list[ScoredClip]]) -> float:
    """The mean audio part of neutral and calm speech, each speaker counting the same."""
    means = [
        np.concatenate([spoken.llrs for spoken in clips if spoken.clip.emotion in CALM]).mean()
        for clips in speakers.values()
    ]
    return float(np.mean(means))


def days(speakers: dict[str, list[ScoredClip]], config: DaysConfig) -> list[Day]:
    """Every speaker's hours; the same seed gives the same days."""
    made = []
    for number, (speaker, clips) in enumerate(speakers.items()):
        for hour in range(config.hours):
            rng = np.random.default_rng([config.seed, number, hour])
            made.append(_Hour(clips, config, rng).day(speaker))
    return made


class _Hour:
    """One hour as it is strung together; clips are drawn without replacement until the other talk is used up."""

    def __init__(self, clips: Sequence[ScoredClip], config: DaysConfig, rng: Generator) -> None:
        self._config = config
        self._rng = rng
        calm = self._shuffled([c for c in clips if c.clip.emotion in CALM])
        self._calibration, self._calm = self._split(calm)
        self._sad = self._shuffled([c for c in clips if c.clip.sad])
        other = self._shuffled([c for c in clips if not c.clip.sad and c.clip.emotion not in CALM])
        self._other = other[: round(len(self._calm) * (1.0 - config.calm_share) / max(config.calm_share, 1e-9))]
        self._t = 0.0
        self._heard: list[DaySegment] = []
        self._truth: list[SadSpan] = []

    def day(self, speaker: str) -> Day:
        """Talk and episodes in turn, for an hour at most."""
        config = self._config
        talk_s = sum(float(spoken.seconds.sum()) for spoken in self._calm + self._other)
        scale = min(1.0, talk_s / 4.0 / config.between_s[0])
        if config.sad_first and self._calm and self._sad:
            self._episode(_log_uniform(self._rng, config.episode_s))
        while self._calm and self._t < 3600.0:
            self._talk(scale * self._rng.uniform(*config.between_s))
            if self._calm and self._sad:
                self._episode(_log_uniform(self._rng, config.episode_s))
        return Day(
            speaker=speaker,
            heard=tuple(self._heard),
            truth=tuple(self._truth),
            seconds=self._t,
            calibration=tuple(one for spoken in self._calibration for one in _segments(spoken, 0.0)),
        )

    def _talk(self, seconds: float) -> None:
        until = self._t + seconds
        while self._t < until and self._calm:
            self._say(self._not_sad())

    def _episode(self, seconds: float) -> None:
        start = self._t
        while self._t - start < seconds and self._sad and self._calm:
            sad = self._rng.random() < self._config.sad_share
            self._say(self._sad.pop() if sad else self._not_sad())
        self._truth.append(SadSpan(start, self._t))
        self._pause()

    def _not_sad(self) -> ScoredClip:
        left = len(self._calm) + len(self._other)
        calm = not self._other or self._rng.random() < len(self._calm) / left
        return (self._calm if calm else self._other).pop()

    def _say(self, spoken: ScoredClip) -> None:
        if self._heard and self._t > self._heard[-1].t_end - 1e-9:
            self._pause()
        self._heard += _segments(spoken, self._t)
        self._t = self._heard[-1].t_end

    def _pause(self) -> None:
        config = self._config
        long = self._rng.random() < config.rest_share
        self._t += self._rng.uniform(*config.rest_s) if long else self._rng.lognormal(0.0, 0.5) * config.pause_s

    def _split(self, calm: list[ScoredClip]) -> tuple[list[ScoredClip], list[ScoredClip]]:
        """Clips for the calibration, and the rest."""
        heard_s, count = 0.0, 0
        while count < len(calm) // 3 and heard_s < self._config.calibration_s:
            heard_s += float(calm[count].seconds.sum())
            count += 1
        return calm[:count], calm[count:]

    def _shuffled(self, clips: list[ScoredClip]) -> list[ScoredClip]:
        return [clips[i] for i in self._rng.permutation(len(clips))]


def _segments(spoken: ScoredClip, t: float) -> list[DaySegment]:
    """The segments of a clip that is said from this second on."""
    ends = t + np.cumsum(spoken.seconds)
    return [
        DaySegment(float(end - seconds), float(end), spoken.clip, float(uncapped), float(llr))
        for end, seconds, uncapped, llr in zip(ends, spoken.seconds, spoken.uncapped, spoken.llrs, strict=True)
    ]


def _log_uniform(rng: Generator, limits: tuple[float, float]) -> float:

    low, high = np.log(limits[0]), np.log(limits[1])
    return float(np.exp(rng.uniform(low, high)))
