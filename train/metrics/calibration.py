"""Raw parts turned into log-likelihood ratios: one scale and one shift, the training prior taken out."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from sadstream.base.errors import DataError
from sadstream.base.odds import logit
from sadstream.scoring.fusion.header import Record

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]


class PlattScaling(Record):
    """Log-likelihood ratio = clip(scale * raw + shift, -cap, cap).

    Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers (1999).
    """

    scale: float
    shift: float
    cap: float

    def __call__(self, raw: Scores) -> Scores:
        """(n,) log-likelihood ratios of (n,) raw parts."""
        llrs: Scores = np.clip(self.uncapped(raw), -self.cap, self.cap)
        return llrs

    def uncapped(self, raw: Scores) -> Scores:
        """(n,) log-likelihood ratios before the cap, by which voices are learnt."""
        return self.scale * raw + self.shift


def fit_scaling(labels: Labels, raw: Scores, weights: Scores, cap: float) -> PlattScaling:
    """The logistic regression of labels on raw scores, less the logit of the weighted share of sad segments.

    The weights say which mixture of segments the ratios shall hold for; without them it would be the corpora's.
    """
    if labels.all() or not labels.any():
        raise DataError("calibration: expected sad and other segments")
    scale = float(raw.std()) or 1.0
    model = LogisticRegression(C=1e6).fit((raw / scale)[:, None], labels, sample_weight=weights)
    prior = float(weights[labels == 1].sum() / weights.sum())
    slope = float(model.coef_[0, 0]) / scale
    if slope <= 0.0:
        raise DataError(f"calibration: slope {slope:.3f}: these scores do not rise with sadness")
    return PlattScaling(scale=slope, shift=float(model.intercept_[0]) - logit(prior), cap=cap)


def probability(llrs: Scores, prior: float) -> Scores:
    """(n,) posterior probabilities at this share of sad segments."""
    posterior: Scores = 1.0 / (1.0 + np.exp(-(llrs + logit(prior))))
    return posterior


def centred(scaling: PlattScaling, raw: Scores) -> PlattScaling:
    """The same scaling moved so that these raw scores have a mean part of 0 after the cap."""

    def mean_part(shift: float) -> float:
        return float(scaling.model_copy(update={"shift": shift})(raw).mean())

    reach = scaling.cap + abs(scaling.scale) * float(abs(raw).max())
    return scaling.model_copy(update={"shift": float(brentq(mean_part, -reach, reach))})
