"""Folds that keep speakers apart, and weights that make corpora and classes count the same."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError
from train.corpora.clips import CALM, Clip


def grouped_folds(clips: Sequence[Clip], folds: int, seed: int) -> list[frozenset[str]]:
    """The test speakers of each fold: every speaker once, every corpus spread evenly; DataError if too few."""
    corpora = sorted({clip.corpus for clip in clips})
    groups: list[set[str]] = [set() for _ in range(folds)]
    rng = np.random.default_rng(seed)
    for corpus in corpora:
        names = sorted({clip.speaker for clip in clips if clip.corpus == corpus})
        if len(names) < folds:
            raise DataError(f"{corpus}: {len(names)} speakers: expected at least one for each of {folds} folds")
        for at, name in enumerate(rng.permutation(names)):
            groups[at % folds].add(str(name))
    return [frozenset(group) for group in groups]


def apart(train: Sequence[Clip], test: Sequence[Clip]) -> None:
    """DataError if a speaker stands on both sides."""
    both = {clip.speaker for clip in train} & {clip.speaker for clip in test}
    if both:
        raise DataError(f"speaker {sorted(both)[0]} in training and test: a figure from this would be worth nothing")


def balanced(clips: Sequence[Clip], calm_share: float) -> NDArray[np.float64]:
    """(n,) weights, sum 1: each corpus the same, half of it sad, `calm_share` of the rest neutral or calm.

    Without it the model learns which corpus has more sad clips, and that shouting is not sad; a room is neutral.
    """
    kinds = ["sad" if clip.sad else "calm" if clip.emotion in CALM else "other" for clip in clips]
    shares = {"sad": 0.5, "calm": 0.5 * calm_share, "other": 0.5 * (1.0 - calm_share)}
    cells: dict[tuple[str, str], list[int]] = {}
    for i, (clip, kind) in enumerate(zip(clips, kinds, strict=True)):
        cells.setdefault((clip.corpus, kind), []).append(i)
    weights = np.zeros(len(clips))
    for (_, kind), rows in cells.items():
        weights[rows] = shares[kind] / len(rows)
    if weights.sum() == 0.0:
        raise DataError("no clips to weigh: expected sad and other recordings")
    return np.asarray(weights / weights.sum())
