"""What episodes are worth on simulated days: false alarms an hour, episodes caught, delay, along a threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadstream.scoring.mood.episodes import HYSTERESIS, EpisodeFilter, ScoredSegment, stretch_llr
from train.evaluation.days import Day
from train.metrics.detection import Interval

LONG_S = 60.0  # an episode that must not be missed
SPLITS = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """One day's alarms against its truth."""

    speaker: str
    false_alarms: int  # that start outside of every sad episode
    calm_h: float  # of the day outside of the episodes
    long: int  # episodes of LONG_S and more
    caught: int  # of these, with an alarm that starts inside
    short: int
    short_caught: int
    delays_s: tuple[float, ...]


Starts = Callable[[Sequence[ScoredSegment], float], list[float]]  # scores, threshold -> when alarms start


def hmm_starts(heard: Sequence[ScoredSegment], threshold: float) -> list[float]:
    """The daemon's own filter."""
    episodes = EpisodeFilter(threshold)
    return [update.t_end for one in heard for update in episodes.feed(one) if update.phase == "start"]


def cusum_starts(heard: Sequence[ScoredSegment], threshold: float) -> list[float]:
    """Cumulative sum of the same evidence, never below zero and not far above the threshold."""
    total, ringing, starts = 0.0, False, []
    for one in heard:
        total = min(threshold + HYSTERESIS, max(0.0, total + stretch_llr(one.llr)))
        if not ringing and total >= threshold:
            starts.append(one.t_end)
        ringing = total >= threshold or (ringing and total > threshold - HYSTERESIS and total > 0.0)
    return starts


def single_starts(heard: Sequence[ScoredSegment], threshold: float) -> list[float]:
    """An alarm at the first of each run of segments above the threshold: no filter at all."""
    starts, above = [], False
    for one in heard:
        if one.llr >= threshold and not above:
            starts.append(one.t_end)
        above = one.llr >= threshold
    return starts


METHODS: dict[str, Starts] = {
    "hidden Markov model": hmm_starts,
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
    return Outcome(
        speaker=day.speaker,
        false_alarms=len(starts) - sum(len(hits) for hits in inside),
        calm_h=(day.seconds - sum(lengths)) / 3600.0,
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
    false_alarms_h: Interval
    caught: Interval
    delay_s: float  # median


def point(outcomes: Sequence[Outcome], threshold: float, seed: int = 0) -> AlarmCurvePoint:
    """The outcomes of all days at one threshold; a bootstrap draws whole speakers."""
    speakers = sorted({one.speaker for one in outcomes})
    table = np.array(
        [
            [
                sum(float(getattr(o, name)) for o in outcomes if o.speaker == s)
                for name in ("false_alarms", "calm_h", "caught", "long")
            ]
            for s in speakers
        ]
    )
    rng = np.random.default_rng(seed)
    drawn = [table[rng.integers(len(speakers), size=len(speakers))].sum(0) for _ in range(SPLITS)]
    delays = [delay for o in outcomes for delay in o.delays_s]
    return AlarmCurvePoint(
        threshold=threshold,
        false_alarms_h=_ratio(table.sum(0), drawn, 0, 1, len(speakers)),
        caught=_ratio(table.sum(0), drawn, 2, 3, int(table[:, 3].sum())),
        delay_s=float(np.median(delays)) if delays else float("nan"),
    )


def curve(
    made: Sequence[Day], scores: Callable[[Day], Sequence[ScoredSegment]], starts: Starts, thresholds: Sequence[float]
) -> list[AlarmCurvePoint]:
    """The trade-off of one method over all days."""
    heard = [scores(day) for day in made]
    return [
        point([outcome(day, starts(one, threshold)) for day, one in zip(made, heard, strict=True)], threshold)
        for threshold in thresholds
    ]


def at_rate(points: Sequence[AlarmCurvePoint], false_alarms_h: float) -> AlarmCurvePoint | None:
    """The point with the most episodes caught at this rate of false alarms or less."""
    kept = [p for p in points if p.false_alarms_h.value <= false_alarms_h]
    return max(kept, key=lambda p: p.caught.value, default=None)


def _ratio(
    total: NDArray[np.float64], drawn: Sequence[NDArray[np.float64]], above: int, below: int, n: int
) -> Interval:

    rates = [one[above] / one[below] for one in drawn if one[below] > 0.0]
    low, high = np.percentile(rates, [2.5, 97.5])
    return Interval(float(total[above] / total[below]), float(low), float(high), n)
