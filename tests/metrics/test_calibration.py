"""Calibration: raw scores become log-likelihood ratios, whatever share of training segments was sad."""

import numpy as np
import pytest

from sadstream.base.errors import DataError
from train.metrics.calibration import PlattScaling, centred, fit_scaling, probability


def gaussians(sad: int, other: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores around +1 (sad) and -1 (other) with deviation 1: the true log-likelihood ratio is twice the score."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.ones(sad, np.int64), np.zeros(other, np.int64)]
    return labels, rng.normal(2.0 * labels - 1.0, 1.0)


@pytest.mark.parametrize(("sad", "other"), [(4000, 4000), (800, 8000)])
def test_the_ratio_is_found_and_the_share_of_sad_segments_does_not_matter(sad: int, other: int) -> None:
    labels, raw = gaussians(sad, other)
    scaling = fit_scaling(labels, raw, np.ones(labels.size), cap=9.0)

    assert scaling.scale == pytest.approx(2.0, abs=0.15)
    assert scaling.shift == pytest.approx(0.0, abs=0.15)


def test_weights_say_which_mixture_the_ratios_hold_for() -> None:
    labels, raw = gaussians(800, 8000)
    balanced = np.where(labels == 1, 0.5 / 800, 0.5 / 8000)

    assert fit_scaling(labels, raw, balanced, cap=9.0).shift == pytest.approx(0.0, abs=0.15)


def test_no_ratio_passes_the_cap() -> None:
    scaling = PlattScaling(scale=2.0, shift=0.5, cap=3.0)

    assert scaling(np.array([-100.0, 0.0, 100.0])).tolist() == [-3.0, 0.5, 3.0]


def test_scores_that_fall_with_sadness_are_refused() -> None:
    labels, raw = gaussians(200, 200)

    with pytest.raises(DataError, match="do not rise"):
        fit_scaling(labels, -raw, np.ones(labels.size), cap=3.0)


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="sad and other"):
        fit_scaling(np.ones(5, np.int64), np.arange(5.0), np.ones(5), cap=3.0)


def test_a_centred_line_is_zero_on_average_even_where_the_cap_bites() -> None:
    raw = np.random.default_rng(0).normal(4.0, 3.0, 500)
    scaling = centred(PlattScaling(scale=1.0, shift=0.0, cap=1.5), raw)

    assert scaling(raw).mean() == pytest.approx(0.0, abs=1e-6)
    assert scaling.scale == 1.0


def test_no_evidence_leaves_the_prior() -> None:
    assert probability(np.zeros(1), 0.1)[0] == pytest.approx(0.1)
