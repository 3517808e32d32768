"""Figures of the sad class with intervals over speakers, and paired tests between systems."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from train.metrics.detection import Interval, auc, average_precision, brier, calibration_error
from train.metrics.predictions import Predictions

Floats = NDArray[np.float64]

RESAMPLES = 1000
SWAPS = 10_000
DECIDED = ("accuracy", "unweighted recall", "precision", "recall", "F1", "macro F1")
RANKED = {"ROC AUC": auc, "average precision": average_precision, "ECE": calibration_error, "Brier": brier}


@dataclass(frozen=True, slots=True)
class ConfusionCounts:
    """A confusion matrix."""

    tn: int
    fp: int
    fn: int
    tp: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two systems on the same utterances; p values before and after Holm's correction."""

    first: str
    second: str
    f1_difference: Interval  # bootstrap over speakers
    p_f1: float  # whole dialogues swapped between the two
    p_decisions: float  # McNemar's exact test
    p_f1_holm: float = 1.0
    p_decisions_holm: float = 1.0


def confusion(found: Predictions) -> ConfusionCounts:
    """The confusion matrix of the decisions."""
    tn, fp, fn, tp = _cells(found.labels, found.predicted).sum(0)
    return ConfusionCounts(int(tn), int(fp), int(fn), int(tp))


def _cells(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 4) which cell of the confusion matrix each utterance is in: TN, FP, FN, TP."""
    cells: NDArray[np.int64] = np.eye(4, dtype=np.int64)[2 * labels + predicted]
    return cells


def _from_cells(cells: Floats) -> dict[str, Floats]:
    """The figures of (..., 4) confusion matrices; 0 where a class was never said."""
    tn, fp, fn, tp = np.moveaxis(np.asarray(cells, dtype=np.float64), -1, 0)

    def share(part: Floats, whole: Floats) -> Floats:
        return part / np.maximum(whole, 1e-12)

    f1, other = share(2 * tp, 2 * tp + fp + fn), share(2 * tn, 2 * tn + fp + fn)
    return {
        "accuracy": share(tp + tn, tn + fp + fn + tp),
        "unweighted recall": (share(tp, tp + fn) + share(tn, tn + fp)) / 2,
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "F1": f1,
        "macro F1": (f1 + other) / 2,
    }


def _by_group(cells: NDArray[np.int64], groups: Sequence[str]) -> Floats:
    """(groups, 4) confusion matrices of each group."""
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((inverse.max() + 1, 4))
    np.add.at(sums, inverse, cells)
    return sums


def _draws(groups: int, seed: int = 0) -> NDArray[np.int64]:
    """(RESAMPLES, groups) how often each group is drawn."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1.0 / groups), size=RESAMPLES)


@lru_cache(maxsize=256)  # a report asks for the same figures in several tables
def sad_figures(found: Predictions) -> dict[str, Interval]:
    """Every figure with its 95 percent interval from a bootstrap over speakers."""
    n, (speakers, inverse) = found.labels.size, np.unique(np.asarray(found.speakers), return_inverse=True)
    cells = _by_group(_cells(found.labels, found.predicted), found.speakers)
    draws = _draws(speakers.size)
    point, drawn = _from_cells(cells.sum(0)), _from_cells(draws @ cells)
    figures = {name: _interval(float(point[name]), drawn[name], n) for name in DECIDED}
    different, times = np.unique(draws, axis=0, return_counts=True)  # two speakers have three different draws
    parts = [_drawn_ranks(found, draw[inverse]) for draw in different]
    for name, figure in RANKED.items():
        values = np.repeat([part[name] for part in parts], times)
        figures[name] = _interval(figure(found.labels, found.probabilities), values, n)
    return figures


def _drawn_ranks(found: Predictions, times: NDArray[np.int64]) -> dict[str, float]:
    """The figures of RANKED with each utterance counted so many times.

    scikit-learn's functions give the same, checks included, in 4 ms a draw; a thousand draws of fourteen rows wait.
    """
    rows = np.repeat(np.arange(times.size), times)
    labels, p = found.labels[rows], found.probabilities[rows]
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    levels, level = np.unique(p, return_inverse=True)
    sad, other = np.bincount(level, labels, levels.size), np.bincount(level, 1 - labels, levels.size)
    above = positives - np.cumsum(sad)  # sad ones with a higher probability
    said = labels.size - np.cumsum(sad + other) + sad + other  # at this probability or higher
    nothing = float("nan")
    return {
        "ROC AUC": float((other * (above + sad / 2)).sum() / (positives * negatives))
        if positives and negatives
        else nothing,
        "average precision": float((sad / positives * (above + sad) / said).sum()) if positives else nothing,
        "ECE": calibration_error(labels, p),
        "Brier": float(np.square(p - labels).mean()),
    }


def _interval(value: float, drawn: Floats, n: int) -> Interval:

    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if not np.isnan(drawn).all() else (np.nan, np.nan)
    return Interval(value, float(low), float(high), n)


def paired(first: Predictions, second: Predictions, names: tuple[str, str], seed: int = 0) -> PairedTest:
    """Both tests of one pair; the two must hold the same utterances in the same order.

    Decisions: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), the exact test.
    """
    assert first.names == second.names, "paired tests need the same utterances"
    a, b = _cells(first.labels, first.predicted), _cells(second.labels, second.predicted)
    by_speaker = [_by_group(cells, first.speakers) for cells in (a, b)]
    draws = _draws(by_speaker[0].shape[0], seed)
    drawn = _from_cells(draws @ by_speaker[0])["F1"] - _from_cells(draws @ by_speaker[1])["F1"]
    value = float(_from_cells(a.sum(0))["F1"] - _from_cells(b.sum(0))["F1"])
    groups = [dialogue or speaker for dialogue, speaker in zip(first.dialogues, first.speakers, strict=True)]
    ga, gb = _by_group(a, groups), _by_group(b, groups)
    swapped = np.random.default_rng(seed).integers(0, 2, (SWAPS, ga.shape[0]))
    one, other = swapped @ ga + (1 - swapped) @ gb, swapped @ gb + (1 - swapped) @ ga
    gaps = np.abs(_from_cells(one)["F1"] - _from_cells(other)["F1"])
    p_f1 = (1 + int((gaps >= abs(value) - 1e-12).sum())) / (SWAPS + 1)
    right = [found.predicted == found.labels for found in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    p_decisions = float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)
    return PairedTest(*names, _interval(value, drawn, first.labels.size), p_f1, p_decisions)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the share of wrong rejections among all tests stays at the level.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    return [float(value) for value in multipletests(p, method="holm")[1]] if p else []


def against(name: str, systems: dict[str, Predictions]) -> list[PairedTest]:
    """One system against each other one, corrected over all these tests."""
    tests = [paired(systems[name], other, (name, title)) for title, other in systems.items() if title != name]
    corrected = zip(holm([t.p_f1 for t in tests]), holm([t.p_decisions for t in tests]), strict=True)
    return [replace(t, p_f1_holm=f1, p_decisions_holm=d) for t, (f1, d) in zip(tests, corrected, strict=True)]


def never_sad(found: Predictions) -> Predictions:
    """The answer "not sad" to everything."""
    nothing = np.zeros(found.labels.size)
    return replace(found, logits=nothing, probabilities=nothing, predicted=nothing.astype(np.int64))
