"""Figures of a detector: right on cases worked out by hand, and intervals that draw speakers."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from sadstream.base.errors import DataError
from train.metrics import detection as metrics


def test_auc_of_a_case_worked_out_by_hand() -> None:
    """Of four pairs of sad and other, three are in order."""
    assert metrics.auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])) == 0.75


def test_auc_and_brier_are_scikit_learn_s_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 200), rng.integers(0, 9, 200) / 9.0

    assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.brier(labels, scores) == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)


def test_without_both_classes_there_is_no_auc() -> None:
    assert np.isnan(metrics.auc(np.ones(3, np.int64), np.arange(3.0)))


@pytest.mark.parametrize(("n", "allowed"), [(100, 5), (99, 4), (10, 0)])
def test_the_threshold_is_the_smallest_that_keeps_false_positives_within_the_limit(n: int, allowed: int) -> None:
    scores = np.random.default_rng(n).permutation(n).astype(float)
    threshold = metrics.threshold_at(scores, 0.05)

    assert (scores >= threshold).sum() == allowed
    assert (scores >= np.nextafter(threshold, -np.inf)).sum() == allowed + 1


def test_equal_scores_never_pass_the_limit_together() -> None:
    scores = np.r_[np.zeros(90), np.ones(10)]

    assert (scores >= metrics.threshold_at(scores, 0.05)).mean() <= 0.05


def test_true_positives_at_a_false_positive_rate() -> None:
    labels = np.r_[np.zeros(100, np.int64), np.ones(4, np.int64)]
    scores = np.r_[np.arange(100.0), [94.0, 94.5, 95.5, 200.0]]

    assert metrics.true_positives_at(labels, scores) == 0.75


def test_probabilities_that_come_true_have_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    labels = (rng.random(p.size) < p).astype(np.int64)

    assert metrics.calibration_error(labels, p) < 0.02
    assert metrics.calibration_error(labels, p**3) > 0.1


def test_the_error_of_perfect_calibration_shrinks_with_the_number_of_segments() -> None:
    few, many = np.full(30, 0.3), np.full(3000, 0.3)

    assert metrics.perfect_calibration_error(few) > 3 * metrics.perfect_calibration_error(many) > 0


def test_an_interval_draws_whole_speakers() -> None:
    """Speakers who differ give a wider interval than the same segments drawn one by one."""
    rng = np.random.default_rng(1)
    speakers = [f"s{i}" for i in range(10) for _ in range(40)]
    labels = np.tile(np.r_[np.zeros(20, np.int64), np.ones(20, np.int64)], 10)
    scores = labels + np.repeat(rng.normal(0, 2, 10), 40) + rng.normal(0, 0.1, 400)
    whole = metrics.over_groups(metrics.auc, labels, scores, speakers, resamples=200)
    single = metrics.over_groups(metrics.auc, labels, scores, [str(i) for i in range(400)], resamples=200)

    assert whole.low < whole.value < whole.high
    assert whole.high - whole.low > 1.3 * (single.high - single.low)
    assert whole == metrics.over_groups(metrics.auc, labels, scores, speakers, resamples=200)


def test_a_figure_without_both_classes_says_so() -> None:
    with pytest.raises(DataError, match="both classes"):
        metrics.over_groups(metrics.auc, np.zeros(4, np.int64), np.arange(4.0), list("aabb"), resamples=20)


def test_a_statistic_of_rows_is_what_it_is_of_the_drawn_rows_to_the_last_bit() -> None:
    """Groups of 1 to 4 rows, drawn here once more; two columns that only the rows hold together."""
    rng = np.random.default_rng(2)
    groups = [f"s{group}" for group in range(8) for _ in range(1 + group % 4)]
    a, b = rng.standard_normal((2, len(groups)))
    found = metrics.bootstrap(lambda rows: float((a[rows] * b[rows]).sum()), groups, seed=3, resamples=50)

    members = [[row for row, group in enumerate(groups) if group == name] for name in sorted(set(groups))]
    again = np.random.default_rng(3)
    drawn = []
    for _ in range(50):
        rows = [row for group in again.integers(8, size=8) for row in members[group]]
        drawn.append(float((a[rows] * b[rows]).sum()))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found == metrics.Interval(float((a * b).sum()), float(low), float(high), len(groups))
    assert metrics.over_groups(lambda x, y: float((x * y).sum()), a, b, groups, seed=3, resamples=50) == found
