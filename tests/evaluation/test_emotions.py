"""A head of emotions beside sad: sad stays bit for bit, strangers judge it, its shares stand for a room."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_checkpoint import header

from sadstream.base.errors import DataError
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.checkpoint import Checkpoint
from sadstream.scoring.fusion.header import FusionConfig, Header, WhisperStatesConfig
from sadstream.scoring.fusion.network import Fusion
from train.corpora.classes import NONE
from train.corpora.clips import Clip
from train.evaluation.emotions import (
    CLASSES,
    NAMES,
    EmotionsConfig,
    HeardEmotions,
    MeasuredHead,
    figures_of,
    fit,
    hear,
    room,
    write_with_head,
)
from train.features.states import SegmentStates

SHAPE = FusionConfig(front_end="states", n_frames=15, n_bands=8, n_layers=2, hidden=4, text_dim=8, statistics=True)
AUDIO = WhisperStatesConfig(model="tiny.en", identity="0" * 64, layers=(1, 2), pool=10)


def clip(number: int, emotion: str, corpus: str = "one") -> Clip:
    return Clip(
        Path(f"{corpus}{number}.wav"), corpus, f"{corpus}{number % 5}", "", emotion, int(emotion == "sad"), "train"
    )


def said(fusion: FusionConfig) -> Header:
    changes = {"fusion": fusion.model_dump(), "audio": AUDIO.model_dump()}
    return Header.model_validate(header(FusionConfig(channels=(2, 2), hidden=4, text_dim=8)).model_dump() | changes)


def heard(n: int = 300) -> HeardEmotions:
    """Segments of two corpora whose columns lean towards their emotion."""
    rng = np.random.default_rng(0)
    emotions = rng.integers(0, len(NAMES), n)
    leaning = 1.5 * rng.standard_normal((len(NAMES), 32))[emotions]
    clips = tuple(clip(i, NAMES[e], "one" if i % 3 else "two") for i, e in enumerate(emotions))
    return HeardEmotions((leaning + rng.standard_normal((n, 32))).astype(np.float32), emotions, clips)


def test_sad_is_what_it_was_bit_for_bit_and_the_head_is_the_regression(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = EmotionsConfig(strength=0.1)
    checkpoint.save(tmp_path / "before.safetensors", Fusion(SHAPE), said(SHAPE))
    before = checkpoint.load(tmp_path / "before.safetensors")
    head = fit(heard(), config)
    write_with_head(before, tmp_path / "after.safetensors", MeasuredHead(head, 2.0, config, ()))
    after = checkpoint.load(tmp_path / "after.safetensors")
    states, words = torch.randn(3, 2, 15, 8), torch.randn(3, 8)
    one, other = before.fusion.parts(states, words), after.fusion.parts(states, words)
    expected = hear(after, _states(states, "sad"))

    assert torch.equal(one.logit, other.logit)
    assert other.beside is not None
    shares = np.array([[share for _, share in after.header.heads.shares(row)] for row in other.beside.tolist()])
    equal = np.exp(head(expected) / 2.0)
    weighed = equal * np.array(after.header.heads.prior)
    np.testing.assert_allclose(shares, weighed / weighed.sum(1, keepdims=True), atol=2e-3)  # half precision
    again = checkpoint.load(tmp_path / "after.safetensors")
    assert write_with_head(again, tmp_path / "again.safetensors", MeasuredHead(head, 2.0, config, ())) == after.sha256


def _states(states: torch.Tensor, *emotions: str) -> SegmentStates:
    n = states.shape[0]
    clips = tuple(clip(i, emotions[i % len(emotions)]) for i in range(n))
    frames = np.full(n, states.shape[2])
    return SegmentStates(states.numpy(), frames, clips, np.zeros(n, np.int64), np.full(n, 3.0))  # type: ignore[arg-type]


def test_what_is_none_of_the_emotions_is_left_out_and_calm_is_neutral() -> None:
    known = Checkpoint(Fusion(SHAPE).eval(), said(SHAPE), "0" * 64)
    found = hear(known, _states(torch.randn(4, 2, 15, 8), "calm", "surprise", "disgust", "fear"))

    assert [NAMES[emotion] for emotion in found.emotions] == ["neutral", "disgusted", "fearful"]
    assert found.columns.shape == (3, 32)
    assert NONE not in found.emotions


def test_a_checkpoint_without_statistics_is_refused() -> None:
    plain = SHAPE.model_copy(update={"statistics": False})

    with pytest.raises(DataError, match="reads no mean and deviation over time"):
        hear(Checkpoint(Fusion(plain).eval(), said(plain), "0" * 64), _states(torch.randn(1, 2, 15, 8), "sad"))


def test_corpora_and_emotions_count_the_same_however_many_they_are() -> None:
    all_of_them = heard()
    twice = np.concatenate([np.arange(300), np.flatnonzero(all_of_them.emotions == 0)])
    config = EmotionsConfig(strength=0.1)

    once, again = fit(all_of_them, config), fit(all_of_them.at(twice), config)
    np.testing.assert_allclose(once.weights, again.weights, atol=0.02)


def test_an_emotion_that_nobody_shows_cannot_be_learned() -> None:
    found = heard()

    with pytest.raises(DataError, match="expected some of each of angry, disgusted"):
        fit(found.at(np.flatnonzero(found.emotions != 0)), EmotionsConfig())


def test_a_room_is_neutral_mostly_and_as_sad_as_the_checkpoint_says() -> None:
    shares = dict(zip(NAMES, room(0.1, 0.7), strict=True))

    assert sum(shares.values()) == pytest.approx(1.0)
    assert (shares["sad"], shares["neutral"], shares["angry"]) == pytest.approx((0.1, 0.7, 0.05))
    with pytest.raises(DataError, match="less than 1 together"):
        room(0.3, 0.7)


def test_figures_have_their_protocol_and_those_of_chance_are_chance() -> None:
    found = heard()
    nothing = np.random.default_rng(1).standard_normal((300, len(CLASSES)))
    figures = {one.name: one for one in figures_of(found, nothing, 1.0, "all", "how")}

    assert set(figures) == {f"emotions: all: {name}" for name in ("unweighted recall", "accuracy", "ECE")}
    assert {(one.protocol, one.n) for one in figures.values()} == {("how", 300)}
    assert figures["emotions: all: unweighted recall"].value == pytest.approx(1 / 6, abs=0.07)
    learned = {one.name: one for one in figures_of(found, fit(found, EmotionsConfig())(found), 1.0, "all", "how")}
    assert learned["emotions: all: unweighted recall"].low > 0.5
