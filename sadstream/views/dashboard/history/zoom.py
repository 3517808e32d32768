"""A stretch of the past in as many points as a screen has: single scores, or buckets that lose no peak; pure."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadstream.views.dashboard.history.table import ScoreTable

Points = list[float | None]

LEAST_S, MOST_POINTS = 1.0, 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSeries:
    """Columns of equal length, by time; with `width_s` a point is a bucket, without it a score."""

    since_s: float
    until_s: float
    width_s: float | None
    scores: int
    time_s: list[float]  # a bucket's middle
    n: list[int]
    p_low: Points
    p_mean: Points
    p_high: Points
    mood: Points  # mean
    audio: Points
    text: Points  # mean of those with words
    threshold: Points


def zoom(table: ScoreTable, since_s: float, until_s: float, points: int) -> ScoreSeries:
    """The scores between two moments in at most so many points: minimum, mean and maximum of each bucket."""
    points = max(2, min(points, MOST_POINTS))
    until_s = max(until_s, since_s + LEAST_S)
    part = table.between(since_s, until_s)
    count = len(part.time_s)
    if count <= points:
        edges = np.arange(count)
        time_s: NDArray[Any] = part.time_s
        width_s = None
    else:
        width_s = (until_s - since_s) / points
        edges = np.searchsorted(part.time_s, since_s + width_s * np.arange(points))
        time_s = since_s + width_s * (np.arange(points) + 0.5)
    n = np.diff(np.append(edges, count))
    p = part.column("p_sad")
    spoken = np.where(part.column("text_used") > 0, part.column("text_logit"), np.nan)
    return ScoreSeries(
        since_s=since_s,
        until_s=until_s,
        width_s=width_s,
        scores=count,
        time_s=[round(float(t), 3) for t in time_s],
        n=[int(k) for k in n],
        p_low=_listed(_reduced(np.minimum, p, edges, n)),
        p_mean=_listed(mean(p, edges, n)),
        p_high=_listed(_reduced(np.maximum, p, edges, n)),
        mood=_listed(mean(part.column("mood"), edges, n)),
        audio=_listed(mean(part.column("audio_logit"), edges, n)),
        text=_listed(mean(spoken, edges, n)),
        threshold=_listed(mean(part.column("threshold"), edges, n)),
    )


def mean(values: NDArray[np.float32], edges: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of each bucket over what is not NaN; NaN where nothing is."""
    there = ~np.isnan(values)
    counts = _sum(there.astype(np.float64), edges, n)
    sums = _sum(np.where(there, values, 0.0).astype(np.float64), edges, n)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(n), np.nan), where=counts > 0)
    return means


def _sum(values: NDArray[np.float64], edges: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = np.concatenate(([0.0], np.cumsum(values)))
    found: NDArray[np.float64] = sums[edges + n] - sums[edges]
    return found


def _reduced(
    function: np.ufunc, values: NDArray[np.float32], edges: NDArray[np.int64], n: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The least or the greatest of each bucket; NaN for an empty one, which `reduceat` would misread."""
    found = np.full(len(n), np.nan)
    filled = n > 0
    if filled.any():
        found[filled] = function.reduceat(values, edges[filled])
    return found


def _listed(values: NDArray[np.float64]) -> Points:
    return [None if math.isnan(value) else round(value, 4) for value in values.tolist()]
