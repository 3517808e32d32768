"""The models of a checkpoint: which there are, and that they are fitted once, whoever fits them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sadstream.scoring.fusion.header import WhisperStatesConfig
from train.corpora.clips import Clip
from train.features.cache import Cache
from train.features.states import SegmentStates
from train.shipped import cross_validation
from train.shipped.audio_part import AudioPartConfig
from train.shipped.config import OpenConfig
from train.shipped.cross_validation import AudioResult, OpenSpeech, every_fit, fitted, ship
from train.training.launch import ProcessShare

QUICK = OpenConfig(folds=3, resamples=10, voice=AudioPartConfig(hidden=4, steps=20, batch=16, learning_rate=0.01))


def heard(n: int = 160) -> SegmentStates:
    """Segments of two corpora with four speakers each, every eighth of a third split; sad ones stand out."""
    rng = np.random.default_rng(0)
    sad = (np.arange(n) // 8) % 2 == 0
    states = rng.normal(0, 1, (n, 2, 6, 8)).astype(np.float16)
    states[sad, 1, :3, 2] += 4.0
    clips = tuple(
        Clip(
            Path(f"{i}"), "one" if i % 2 else "two", f"s{i % 8}", "", "sad" if s else "calm", int(s),
            "dev" if i % 8 > 5 else "train",
        )
        for i, s in enumerate(sad)
    )  # fmt: skip
    return SegmentStates(states, np.full(n, 4), clips, np.zeros(n, np.int64), np.full(n, 2.0))


def speech(cache: Path) -> OpenSpeech:
    found = heard()
    clean: NDArray[np.int64] = np.arange(len(found.clips))
    audio = WhisperStatesConfig(model="tiny.en", identity="0" * 64, layers=(1, 2), pool=10)
    return OpenSpeech(found, clean, None, audio, QUICK, Cache(cache))  # type: ignore[arg-type]


def shipped(cache: Path) -> AudioResult:
    one = speech(cache)
    return ship(one, one.heard)


def test_what_shares_fitted_is_all_that_a_checkpoint_needs_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ships, one a fold, one for each corpus left out; afterwards nothing is fitted any more."""
    alone = shipped(tmp_path / "alone")
    fits = every_fit(speech(tmp_path / "shared"))
    assert len(fits) == 1 + 3 + 2
    for number in range(2):
        one = speech(tmp_path / "shared")
        for rows in ProcessShare.asked(f"{number}/2").of(every_fit(one)):
            fitted(one, rows)
    monkeypatch.setattr(cross_validation, "fit_audio", None)
    after = shipped(tmp_path / "shared")

    assert (after.threshold, after.figures, after.tables) == (alone.threshold, alone.figures, alone.tables)
    weights = alone.part.fusion.state_dict()
    assert all(bool((weights[name] == tensor).all()) for name, tensor in after.part.fusion.state_dict().items())
