from math import exp, log

import pytest

from sadstream.base.odds import logit, sigmoid


def test_even_odds_are_zero() -> None:
    assert sigmoid(0.0) == 0.5
    assert logit(0.5) == 0.0


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.3, 0.5, 0.9, 1.0 - 1e-6])
def test_each_undoes_the_other(p: float) -> None:
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("total", [-700.0, -8.25, -0.3, 0.7, 8.0, 700.0])
def test_a_probability_is_the_last_bit_of_its_formula(total: float) -> None:
    assert sigmoid(total) == 1.0 / (1.0 + exp(-total))


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.62])
def test_evidence_of_a_probability_is_the_last_bit_of_its_formula(p: float) -> None:
    assert logit(p) == log(p / (1.0 - p))
