"""Log-odds: the scale on which evidence adds up."""

import math


def logit(p: float) -> float:
    """The log-odds of a probability between 0 and 1, both excluded."""
    return math.log(p / (1.0 - p))


def sigmoid(log_odds: float) -> float:
    """The probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-log_odds))
