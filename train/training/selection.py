"""What is chosen after training, by protocol: the epoch, the calibration, the threshold.

`strict` chooses all three on validation. `thesis` chooses epoch and threshold on the test set, as the thesis does,
which makes its numbers optimistic.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from sadstream.base.errors import DataError
from sadstream.scoring.fusion.header import Heads, Record
from train.corpora.guards import FitRecord, Protocol
from train.metrics.calibration import PlattScaling, fit_scaling, probability

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]

THRESHOLDS = tuple(step / 100 for step in range(1, 100))  # the thesis's grid
CAP = 20.0  # of the calibrated logit: e^20 is certainty enough


class Selection(Record):
    """The choices of one protocol, and on which utterances each was made."""

    protocol: Protocol
    epoch: int
    threshold: float
    calibration: PlattScaling | None  # None: the sigmoid of the raw logit
    prior: float  # share of sad utterances in validation, which the calibrated probability stands for
    text_mean: float  # mean raw text part over train
    heads: Heads = Heads()  # what is said beside sad; calibrated under strict alone
    fitted: tuple[FitRecord, ...]

    def probability(self, logits: Scores) -> Scores:
        """(n,) probabilities of (n,) raw logits."""
        if self.calibration is None:
            sigmoid: Scores = 1.0 / (1.0 + np.exp(-logits))
            return sigmoid
        return probability(self.calibration(logits), self.prior)


def macro_f1(labels: Labels, logits: Scores) -> float:
    """Macro F1 of the decisions at 0.5: what chooses the epoch."""
    return float(f1_score(labels, (logits >= 0.0).astype(int), average="macro", zero_division=0))


def best_threshold(labels: Labels, probabilities: Scores) -> float:
    """The threshold of the grid with the best F1 of the sad class; the lowest of equals."""
    scores = []
    for threshold in THRESHOLDS:
        said = probabilities >= threshold
        hits = int(np.sum(said & (labels == 1)))
        scores.append(2 * hits / max(1, int(said.sum()) + int(labels.sum())))
    return THRESHOLDS[int(np.argmax(scores))]


def calibration_of(labels: Labels, logits: Scores) -> PlattScaling | None:
    """The logistic calibration of raw logits; None where they do not rise with sadness.

    Platt's targets, (n + 1) / (n + 2) instead of 1: a validation set that happens to be separable stays finite. Platt,
    "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers (1999); Lin, Lin and Weng,
    "A note on Platt's probabilistic outputs for support vector machines", Machine Learning 68 (2007).
    """
    sad, other = int(labels.sum()), int((1 - labels).sum())
    doubt = np.where(labels == 1, 1.0 / (sad + 2), 1.0 / (other + 2))
    try:
        twice = np.concatenate([labels, 1 - labels]), np.concatenate([logits, logits])
        return fit_scaling(*twice, np.concatenate([1.0 - doubt, doubt]), CAP)
    except DataError:
        return None
