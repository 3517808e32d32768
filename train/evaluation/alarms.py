"""What episodes are worth on simulated days: false alarms an hour, episodes caught, delay, along a threshold."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadstream.scoring.mood.belief import REST, Belief, VoiceBelief, stretch_llr
from sadstream.scoring.mood.episodes import HYSTERESIS, EpisodeFilter, ScoredSegment
from train.evaluation.days import Day
from train.metrics.detection import Interval

LONG_S = 60.0  # an episode that must not be missed
EARLY_S = 180.0  # of a day: a voice that nobody knows yet
SPLITS = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """One day's alarms against its truth."""

    speaker: str
    false_alarms: int  # that start outside of every sad episode
    calm_h: float  # of the day outside of the episodes
    early_alarms: int  # false ones in a voice's first EARLY_S
    early_h: float
    long: int  # episodes of LONG_S and more
    caught: int  # of these, with an alarm that starts inside
    short: int
    short_caught: int
    delays_s: tuple[float, ...]


Starts = Callable[[Sequence[ScoredSegment], float], list[float]]  # scores, threshold -> when alarms start


class _Recorded:
    """A belief that writes down what it comes to after each call, which no threshold changes."""

    def __init__(self, belief: Belief) -> None:
        self._belief = belief
        self.log: list[float] = []

    @property
    def evidence(self) -> float:
        return self._belief.evidence

    def elapse(self, seconds: float) -> None:
        self._belief.elapse(seconds)
        self.log.append(self._belief.evidence)

    def hear(self, audio: float, words: float) -> None:
        self._belief.hear(audio, words)
        self.log.append(self._belief.evidence)


class _Replayed:
    """What a belief came to, once more."""

    def __init__(self, log: Sequence[float]) -> None:
        self._log = iter(log)
        self.evidence = REST

    def elapse(self, seconds: float) -> None:
        self.evidence = next(self._log)

    def hear(self, audio: float, words: float) -> None:
        self.evidence = next(self._log)


@dataclass(frozen=True, slots=True)
class Heard:
    """A day's scores and all that the daemon's belief makes of them."""

    scores: tuple[ScoredSegment, ...]
    log: tuple[float, ...]
    llrs: tuple[float, ...]  # of each segment, once the talk before it is known; none of a belief that learns nothing

    @classmethod
    def by(cls, belief: Belief, scores: Sequence[ScoredSegment]) -> "Heard":
        """As this belief hears them."""
        recorded, llrs = _Recorded(belief), []
        episodes = EpisodeFilter(math.inf, recorded)
        for one in scores:
            episodes.elapse(one.t_start)
            if isinstance(belief, VoiceBelief) and one.audio is not None:
                llrs.append(belief.llr(one.audio))
            episodes.feed(one)
        return cls(tuple(scores), tuple(recorded.log), tuple(llrs))

    def starts(self, threshold: float) -> list[float]:
        """When the daemon's own filter says that an episode starts."""
        episodes = EpisodeFilter(threshold, _Replayed(self.log))
        return [update.t_end for one in self.scores for update in episodes.feed(one) if update.phase == "start"]


def cusum_starts(heard: Sequence[ScoredSegment], threshold: float) -> list[float]:
    """Cumulative sum of the same evidence, never below zero and not far above the threshold."""
    total, ringing, starts = 0.0, False, []
    for one in heard:
        total = min(threshold + HYSTERESIS, max(0.0, total + stretch_llr(one.audio or 0.0)))
        if not ringing and total >= threshold:
            starts.append(one.t_end)
        ringing = total >= threshold or (ringing and total > threshold - HYSTERESIS and total > 0.0)
    return starts


def single_starts(heard: Sequence[ScoredSegment], threshold: float) -> list[float]:
    """An alarm at the first of each run of segments above the threshold: no filter at all."""
    starts, above = [], False
    for one in heard:
        if (one.audio or 0.0) >= threshold and not above:
            starts.append(one.t_end)
        above = (one.audio or 0.0) >= threshold
    return starts


OTHERS: dict[str, Starts] = {
    "CUSUM": cusum_starts,
    "single segments": single_starts,
}


def outcome(day: Day, starts: Sequence[float]) -> Outcome:
    """A day's alarms counted; one that starts after an episode has ended is false, however soon."""
    inside = [[t for t in starts if span.t_start <= t <= span.t_end] for span in day.truth]
    lengths = [span.t_end - span.t_start for span in day.truth]
    long = [hits for hits, length in zip(inside, lengths, strict=True) if length >= LONG_S]
    short = [hits for hits, length in zip(inside, lengths, strict=True) if length < LONG_S]
    delays = [
        hits[0] - span.t_start
        for hits, span, length in zip(inside, day.truth, lengths, strict=True)
        if hits and length >= LONG_S
    ]
    false = [t for t in starts if not any(span.t_start <= t <= span.t_end for span in day.truth)]
    early_s = min(EARLY_S, day.seconds)
    early_s -= sum(max(0.0, min(EARLY_S, span.t_end) - span.t_start) for span in day.truth)
    return Outcome(
        speaker=day.speaker,
        false_alarms=len(false),
        calm_h=(day.seconds - sum(lengths)) / 3600.0,
        early_alarms=sum(t <= EARLY_S for t in false),
        early_h=early_s / 3600.0,
        long=len(long),
        caught=sum(bool(hits) for hits in long),
        short=len(short),
        short_caught=sum(bool(hits) for hits in short),
        delays_s=tuple(delays),
    )


@dataclass(frozen=True, slots=True)
class AlarmCurvePoint:
    """One threshold of a trade-off curve, with intervals over speakers."""

    threshold: float
    alarms: int  # false ones
    false_alarms_h: Interval
    early_h: Interval  # false alarms an hour in a voice's first EARLY_S
    caught: Interval
    delay_s: float  # median


def point(outcomes: Sequence[Outcome], threshold: float, seed: int = 0) -> AlarmCurvePoint:
    """The outcomes of all days at one threshold; a bootstrap draws whole speakers."""
    speakers = sorted({one.speaker for one in outcomes})
    table = np.array(
        [
            [
                sum(float(getattr(o, name)) for o in outcomes if o.speaker == s)
                for name in ("false_alarms", "calm_h", "caught", "long", "early_alarms", "early_h")
            ]
            for s in speakers
        ]
    )
    rng = np.random.default_rng(seed)
    drawn = [table[rng.integers(len(speakers), size=len(speakers))].sum(0) for _ in range(SPLITS)]
    delays = [delay for o in outcomes for delay in o.delays_s]
    return AlarmCurvePoint(
        threshold=threshold,
        alarms=int(table[:, 0].sum()),
        false_alarms_h=_ratio(table.sum(0), drawn, 0, 1, len(speakers)),
        early_h=_ratio(table.sum(0), drawn, 4, 5, len(speakers)),
        caught=_ratio(table.sum(0), drawn, 2, 3, int(table[:, 3].sum())),
        delay_s=float(np.median(delays)) if delays else float("nan"),
    )


def curve(
    made: Sequence[Day], starts: Callable[[int, float], list[float]], thresholds: Sequence[float]
) -> list[AlarmCurvePoint]:
    """The trade-off over all days; `starts`: when alarms start, of a day by its number and a threshold."""
    return [
        point([outcome(day, starts(number, threshold)) for number, day in enumerate(made)], threshold)
        for threshold in thresholds
    ]


def promised(points: Sequence[AlarmCurvePoint], false_alarms_h: float, hours: float) -> AlarmCurvePoint | None:
    """The point that the daemon takes for a rate: the most caught among those that keep it with one alarm more."""
    kept = [p for p in points if (p.alarms + 1) / hours <= false_alarms_h]
    return max(kept, key=lambda p: p.caught.value, default=None)


def _ratio(
    total: NDArray[np.float64], drawn: Sequence[NDArray[np.float64]], above: int, below: int, n: int
) -> Interval:

    rates = [one[above] / one[below] for one in drawn if one[below] > 0.0]
    if not rates:
        return Interval(float("nan"), float("nan"), float("nan"), n)
    low, high = np.percentile(rates, [2.5, 97.5])
    return Interval(float(total[above] / total[below]), float(low), float(high), n)
