"""The audio part: learns what is there to learn, the same way each time, and is what the daemon computes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sadstream.base.errors import DataError
from train.corpora.clips import Clip
from train.features.states import SegmentStates
from train.metrics.detection import auc
from train.shipped.audio_part import AudioPartConfig, fit_attention, fit_audio, probe, score_audio

QUICK = AudioPartConfig(hidden=4, steps=60, batch=16, dropout=0.0, learning_rate=0.01)


def planted(n: int = 160, seed: int = 0) -> SegmentStates:
    """Segments of 6 frames, 2 layers, 8 numbers; one number is higher where the segment is sad."""
    rng = np.random.default_rng(seed)
    sad = np.arange(n) % 4 == 0
    states = rng.normal(0, 1, (n, 2, 6, 8)).astype(np.float32)
    states[sad, 1, :3, 2] += 4.0  # within the frames that hold audio
    states[:, :, 4:] = 50.0  # what fills a segment up must not matter
    clips = tuple(
        Clip(Path(f"{i}"), "one" if i % 2 else "two", f"s{i % 8}", "", "sad" if s else "calm", int(s), "train")
        for i, s in enumerate(sad)
    )
    return SegmentStates(states.astype(np.float16), np.full(n, 4), clips, np.zeros(n, np.int64), np.full(n, 2.0))


def sad_of(heard: SegmentStates) -> np.ndarray:
    return np.array([clip.sad for clip in heard.clips])


def test_a_planted_difference_is_found_in_segments_not_trained_on() -> None:
    heard, other = planted(), planted(seed=1)
    fusion = fit_audio(heard, np.arange(160), QUICK, seed=0)

    assert auc(sad_of(other), score_audio(fusion, other, np.arange(160))) > 0.9


def test_it_is_what_attention_gives_and_what_a_regression_on_mean_and_deviation_gives_in_their_shares() -> None:
    heard, rows = planted(), np.arange(160)
    whole = fit_audio(heard, rows, QUICK, seed=0)
    attention = score_audio(fit_attention(heard, rows, QUICK, 0), heard, rows)
    plain = fit_audio(heard, rows, QUICK.model_copy(update={"statistics": 0.999999}), seed=0)
    both = 0.3 * attention / attention.std() + 0.7 * score_audio(plain, heard, rows)

    assert whole.config.statistics
    assert np.abs(score_audio(whole, heard, rows) - both).max() < 1e-3


def test_without_a_share_it_is_attention_alone() -> None:
    alone = fit_audio(planted(), np.arange(160), QUICK.model_copy(update={"statistics": 0.0}), seed=0)

    assert not alone.config.statistics


def test_the_plain_probe_finds_what_is_planted_too() -> None:
    heard, other = planted(), planted(seed=1)
    found = score_audio(probe(heard, np.arange(160), QUICK), other, np.arange(160))

    assert auc(sad_of(other), found) > 0.8


def test_labels_of_chance_are_not_learned() -> None:
    """The same states with labels that have nothing to do with them rank new segments at chance."""
    heard, other = planted(), planted(seed=1)
    for some, seed in ((heard, 5), (other, 6)):
        some.states[:, 1, :3, 2] = np.random.default_rng(seed).normal(0, 1, (160, 3))
    fusion = fit_audio(heard, np.arange(160), QUICK, seed=0)

    assert 0.25 < auc(sad_of(other), score_audio(fusion, other, np.arange(160))) < 0.75


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (fit_audio(planted(), np.arange(160), QUICK, seed=3).state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_fills_a_segment_up_does_not_reach_its_score() -> None:
    heard = planted()
    fusion = fit_audio(heard, np.arange(160), QUICK, seed=0)
    before = score_audio(fusion, heard, np.arange(4))
    heard.states[:, :, 4:] = 0.0
    after = score_audio(fusion, heard, np.arange(4))

    # The backward half of the LSTM starts in the padding; that is all that may be left of it.
    assert np.abs(before - after).max() < np.abs(before).max()


def test_one_class_is_refused() -> None:
    heard = planted()

    with pytest.raises(DataError, match="one of the two"):
        fit_audio(heard, np.flatnonzero(sad_of(heard) == 0), QUICK, seed=0)
