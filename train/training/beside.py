"""Emotions and dimensions beside sad: what a batch's outputs cost, and how they are calibrated on validation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from sadstream.scoring.fusion.header import FusionConfig, Heads
from train.corpora.classes import NONE
from train.features.inputs import Inputs
from train.metrics.targets import Targets
from train.presets import RunConfig

TEMPERATURES = (0.05, 20.0)
STEEPEST = 10.0  # by which a dimension that hardly moves is stretched to its ratings' spread


class BesideLoss:
    """The loss of what is said beside sad: of rows drawn for training each emotion counts the same, and each dimension.

    Cross-entropy with weights inverse to a class's number, and squared error over the ratings' variance, each a mean
    over the rows that have one.
    """

    def __init__(self, inputs: Inputs, drawn: NDArray[np.int64], device: str) -> None:
        config, index = inputs.fusion, torch.from_numpy(drawn)
        self.emotions = config.emotions
        emotions, ratings = inputs.emotions[index], inputs.ratings[index]
        counts = torch.bincount(emotions[emotions != NONE], minlength=config.emotions).float()
        there = counts > 0
        share = drawn.size / max(1, int(there.sum()))
        self.weights = torch.where(there, share / counts.clamp(min=1), torch.zeros_like(counts)).to(device)
        rated = ~torch.isnan(ratings)
        known = torch.where(rated, ratings, torch.zeros_like(ratings))
        number = rated.sum(0).clamp(min=1)
        mean = known.sum(0) / number
        variance = (torch.where(rated, (ratings - mean) ** 2, torch.zeros_like(ratings))).sum(0) / number
        # A mean over all rows and dimensions of these is a mean over what was rated.
        self.scale = (drawn.size / number / variance.clamp(min=1e-4)).to(device)

    def __call__(self, raw: Tensor, emotions: Tensor, ratings: Tensor) -> Tensor:
        """A number; raw: (batch, emotions + dimensions), emotions: (batch,), ratings: (batch, dimensions)."""
        loss = raw.new_zeros(())
        if self.emotions:
            entropy = cross_entropy(
                raw[:, : self.emotions], emotions, weight=self.weights, ignore_index=NONE, reduction="sum"
            )
            loss = loss + entropy / raw.shape[0]
        if ratings.shape[1]:
            apart = torch.where(torch.isnan(ratings), torch.zeros_like(ratings), raw[:, self.emotions :] - ratings)
            loss = loss + (apart**2 * self.scale).mean()
        return loss


def calibrated(config: RunConfig, validation: Targets) -> Heads:
    """What is said beside sad, calibrated on raw outputs for validation: `shares` holds logits, `said` raw values.

    One temperature for all emotions, each counting the same (Guo, Pleiss, Sun and Weinberger, "On calibration of modern
    neural networks", ICML 2017); each dimension with the mean and the spread of its ratings, which is where the
    concordance of a given correlation is highest.
    """
    emotions = tuple(one.name for one in config.classes)
    lines = [_line(validation.rated[:, at], validation.said[:, at]) for at in range(len(validation.dimensions))]
    return Heads(
        emotions=emotions,
        temperature=temperature(validation) if emotions else 1.0,
        prior=(1.0 / len(emotions),) * len(emotions) if emotions else (),
        dimensions=config.dimensions,
        slopes=tuple(slope for slope, _ in lines),
        shifts=tuple(shift for _, shift in lines),
    )


def temperature(found: Targets) -> float:
    """By which logits (in `shares`) are divided, so that their softmax is as sure as it is right; 1 without any."""
    kept = found.true != NONE
    if not kept.any():
        return 1.0
    logits, true = found.shares[kept], found.true[kept]
    counts = np.bincount(true, minlength=logits.shape[1])
    weights = 1.0 / counts[true]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(1, keepdims=True)
        likelihood = scaled[np.arange(true.size), true] - np.log(np.exp(scaled).sum(1))
        return float(-(weights * likelihood).sum())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def _line(rated: NDArray[np.float64], said: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and shift; of what does not rise with the ratings as it is."""
    kept = ~np.isnan(rated)
    rated, said = rated[kept], said[kept]
    if rated.size < 2 or said.std() < 1e-6 or np.corrcoef(rated, said)[0, 1] <= 0:
        return 1.0, 0.0
    slope = min(STEEPEST, float(rated.std() / said.std()))
    return slope, float(rated.mean() - slope * said.mean())


def told(heads: Heads, raw: Targets) -> Targets:
    """The same utterances with probabilities and calibrated values in place of raw outputs."""
    both = [[*logits, *values] for logits, values in zip(raw.shares.tolist(), raw.said.tolist(), strict=True)]
    shares = [[share for _, share in heads.shares(row)] for row in both]
    said = [[heads.level(dimension, row) for dimension in heads.dimensions] for row in both]
    n = len(both)
    return Targets(
        raw.names, raw.speakers, raw.emotions, raw.true, np.array(shares, dtype=np.float64).reshape(n, -1),
        raw.dimensions, raw.rated, np.array(said, dtype=np.float64).reshape(n, -1),
    )  # fmt: skip


def raw_targets(inputs: Inputs, config: RunConfig, rows: NDArray[np.int64], outputs: NDArray[np.float64]) -> Targets:
    """What a network gives for these rows of the inputs, not calibrated; outputs: (rows, emotions + dimensions)."""
    first = first_pieces(inputs, rows)
    shape: FusionConfig = inputs.fusion
    return Targets(
        names=tuple(inputs.rows[i].utterance for i in rows),
        speakers=tuple(inputs.rows[i].speaker for i in rows),
        emotions=tuple(one.name for one in config.classes),
        true=inputs.emotions[first].numpy(),
        shares=outputs[:, : shape.emotions],
        dimensions=config.dimensions,
        rated=inputs.ratings[first].double().numpy(),
        said=outputs[:, shape.emotions :],
    )


def first_pieces(inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
    """The first piece of each of these rows."""
    return torch.searchsorted(inputs.owner, torch.as_tensor(np.asarray(rows)))
