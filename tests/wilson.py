"""Successes of trials as a proportion with its 95 % Wilson interval, and the line that the tables quote."""

import math

Z = 1.959964  # 97.5 % of the normal distribution lie below


def interval(successes: int, trials: int) -> tuple[float, float]:
    """Lower and upper limit of the success rate."""
    p = successes / trials
    middle = p + Z * Z / (2 * trials)
    half = Z * math.sqrt(p * (1 - p) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def line(what: str, successes: int, trials: int, *details: str) -> str:
    """`what: 50/50 (92.9 % to 100.0 %), details`."""
    low, high = interval(successes, trials)
    return ", ".join([f"{what}: {successes}/{trials} ({100 * low:.1f} % to {100 * high:.1f} %)", *details])
