"""What is known of voices in general, from out-of-fold ratios: how they differ, and how a voice's ratios lie."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.isotonic import IsotonicRegression

from sadstream.base.errors import DataError
from sadstream.scoring.fusion.header import Record
from sadstream.scoring.fusion.voices import STEP, Voices
from train.corpora.clips import CALM, Clip

FIRST = -8.0  # of the densities' grid, which ends as far above 0
PLACES = 1 + round(-2.0 * FIRST / STEP)

Floats = NDArray[np.float64]


class VoicesConfig(Record):
    """How the densities are smoothed, and how cautiously a voice is learnt."""

    wide: float = Field(default=1.3, ge=1.0)  # the prior's deviation, of that between the training speakers
    kernel: float = Field(default=0.3, gt=0.0)  # deviation of the normal that smooths the densities
    floor: float = Field(default=1e-3, gt=0.0)  # density of what nobody has said yet
    calm_share: float = Field(default=0.85, ge=0.0, le=1.0)  # of the talk that is not sad, as on the simulated days
    most: float = Field(default=3.0, gt=0.0)  # a segment's ratio within a voice is no greater
    tempered: float = Field(default=1.0, gt=0.0, le=1.0)
    stays_s: float = Field(default=3600.0, ge=0.0)


def fit_voices(clips: Sequence[Clip], ratios: Floats, config: VoicesConfig) -> Voices:
    """The voices of segments with their uncapped ratios, each speaker the same; DataError for one without calm talk."""
    speaker = np.array([clip.speaker for clip in clips])
    calm = np.array([clip.emotion in CALM and not clip.sad for clip in clips])
    sad = np.array([clip.sad == 1 for clip in clips])
    names = sorted(set(speaker.tolist()))
    if any(not calm[speaker == name].any() for name in names):
        raise DataError("voices: a speaker without neutral or calm speech: expected some of everybody")
    means = {name: float(ratios[(speaker == name) & calm].mean()) for name in names}
    beyond = ratios - np.array([means[name] for name in speaker])
    other = config.calm_share * _shares(clips, calm) + (1.0 - config.calm_share) * _shares(clips, ~calm & ~sad)
    talk = _density(beyond, other, config)
    # Isotonic: a higher ratio of a voice is never less sad, however few segments lie there.
    logs = np.log(_density(beyond, _shares(clips, sad), config) / talk)
    rising = IsotonicRegression().fit_transform(np.arange(PLACES), logs, sample_weight=talk)
    found = talk * np.exp(np.clip(rising, -config.most, config.most))
    within = np.mean([ratios[(speaker == name) & calm].var() for name in names])
    return Voices(
        mean=round(float(np.mean(list(means.values()))), 4),
        deviation=round(float(np.std(list(means.values())) * config.wide), 4),
        within=round(float(np.sqrt(within)), 4),
        first=FIRST,
        talk=tuple(float(f"{d:.5g}") for d in talk),
        sad=tuple(float(f"{d:.5g}") for d in found),
        tempered=config.tempered,
        stays_s=config.stays_s,
    )


def _shares(clips: Sequence[Clip], wanted: NDArray[np.bool_]) -> Floats:
    """(n,) weights, sum 1: each speaker who has wanted segments counts the same."""
    counts: dict[str, int] = {}
    for clip, chosen in zip(clips, wanted, strict=True):
        counts[clip.speaker] = counts.get(clip.speaker, 0) + bool(chosen)
    weights = np.array([chosen / max(1, counts[clip.speaker]) for clip, chosen in zip(clips, wanted, strict=True)])
    shares: Floats = weights / max(1e-9, weights.sum())
    return shares


def _density(values: Floats, weights: Floats, config: VoicesConfig) -> Floats:
    """(PLACES,) a weighted histogram, smoothed by a normal, and a floor."""
    places = FIRST + STEP * np.arange(PLACES)
    cells = np.clip(np.rint((values - FIRST) / STEP), 0, PLACES - 1).astype(int)
    counted = np.bincount(cells, weights, minlength=PLACES)
    spread = np.exp(-0.5 * ((places[:, None] - places) / config.kernel) ** 2)
    density: Floats = (spread / (spread.sum(0) * STEP)) @ counted + config.floor
    return density
