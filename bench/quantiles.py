"""A quantile of what was measured, and how sure it is."""

from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def interval(values: Sequence[float], share: float) -> tuple[float, float]:
    """95 % interval of a quantile: the order statistics 1.96 standard errors of a binomial count around it."""
    ordered, n = sorted(values), len(values)
    spread = 1.96 * (n * share * (1 - share)) ** 0.5
    low, high = (min(n - 1, max(0, round(n * share + side * spread - 0.5))) for side in (-1, 1))
    return ordered[low], ordered[high]
