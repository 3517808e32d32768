"""Systems whose sound and words meet before the last layer; those that attend to segments, or ask whose voice it is."""

import pytest
import torch
from pydantic import ValidationError

from sadstream.scoring.fusion.header import FusionConfig
from sadstream.scoring.fusion.joint import GatedUnit
from sadstream.scoring.fusion.network import Fusion

SHAPE = {"n_frames": 32, "n_bands": 16, "channels": (2, 4), "hidden": 4}
CROSSED = FusionConfig(joint="cross-modal", text_dim=6, text_tokens=5, **SHAPE)
GATED = FusionConfig(joint="gate", text_dim=6, modality_dropout=0.3, **SHAPE)
LEVELS = FusionConfig(segments=3, text_dim=6, **SHAPE)
ASKS = FusionConfig(pooling="speaker-attention", speaker_dim=7, text_dim=6, **SHAPE)


def made(config: FusionConfig) -> Fusion:
    torch.manual_seed(0)
    return Fusion(config).eval()


def sound(batch: int = 2, *more: int) -> torch.Tensor:
    return torch.randn(batch, *more, 32, 16, generator=torch.Generator().manual_seed(1))


def tokens(*said: int) -> torch.Tensor:
    """States of so many tokens each, and zeros after the last."""
    words = torch.randn(len(said), 5, 6, generator=torch.Generator().manual_seed(2))
    for row, count in zip(words, said, strict=True):
        row[count:] = 0.0
    return words


@pytest.mark.parametrize("config", [CROSSED, GATED])
def test_a_model_that_is_no_sum_says_so_and_has_one_part(config: FusionConfig) -> None:
    fusion = made(config)
    words = tokens(5, 3) if config.text_tokens else torch.randn(2, 6)
    parts = fusion.parts(sound(), words)

    assert not config.is_additive
    assert torch.equal(parts.text, torch.zeros(2))
    assert torch.allclose(fusion(sound(), words), parts.bias + parts.audio)
    assert not torch.allclose(parts.audio, fusion.parts(sound(), None).audio)


@pytest.mark.parametrize("config", [CROSSED, GATED, LEVELS, ASKS])
def test_every_weight_learns(config: FusionConfig) -> None:
    fusion = made(config)
    if config.pooling == "speaker-attention":
        torch.nn.init.normal_(fusion.query.weight)
    words = tokens(5, 3) if config.text_tokens else torch.randn(2, 6)
    audio = sound(2, 3) if config.segments > 1 else sound()
    heard = torch.tensor([[32, 32, 0], [32, 20, 8]]) if config.segments > 1 else None
    fusion(audio, words, heard, torch.randn(2, 7) if config.speaker_dim else None).square().sum().backward()

    assert [name for name, p in fusion.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_each_word_listens_to_what_was_heard_and_to_nothing_else() -> None:
    parts = made(CROSSED).parts(sound(), tokens(5, 2), torch.tensor([32, 8]))
    listens = parts.attended.words

    assert listens is not None
    assert torch.allclose(listens.sum(2), torch.tensor([[1.0] * 5, [1.0, 1.0, 0.0, 0.0, 0.0]]))
    assert (listens[1, :, 2:] == 0).all()


def test_what_follows_the_last_token_moves_nothing() -> None:
    """A word alone in a batch and beside longer ones scores the same; no words at all score as the sound alone."""
    fusion, audio = made(CROSSED), sound()
    alone = fusion(audio[:1], tokens(2))
    beside = fusion(audio, tokens(2, 5))
    nothing = fusion(audio[:1], torch.zeros(1, 5, 6))

    assert torch.allclose(alone, beside[:1], atol=1e-6)
    assert torch.allclose(nothing, fusion(audio[:1], None), atol=1e-6)


def test_whoever_is_missing_has_no_share_of_the_gate() -> None:
    unit = GatedUnit(3, 6, 4, 0.3).eval()
    heard, words = torch.randn(2, 3), torch.randn(2, 6)
    words[1] = 0.0
    with torch.no_grad():
        both, share = unit(heard, words)

    assert 0.0 < float(share[0]) < 1.0
    assert float(share[1]) == 1.0
    assert torch.equal(both[1], torch.tanh(unit.sound(heard))[1])
    assert torch.equal(unit(heard, None).both, torch.tanh(unit.sound(heard)))


def test_in_training_one_of_the_two_is_missing_as_often_as_asked_and_never_both() -> None:
    unit = GatedUnit(3, 6, 4, 0.3).train()
    torch.manual_seed(0)
    share = unit(torch.randn(20_000, 3), torch.randn(20_000, 6)).share

    assert float((share == 0.0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float((share == 1.0).float().mean()) == pytest.approx(0.3, abs=0.02)


def test_one_segment_of_several_is_that_segment() -> None:
    """As the daemon hears it: (batch, frames, bands), or the first of several that are not there."""
    fusion, audio = made(LEVELS), sound(2, 3)
    alone = fusion.parts(audio[:, 0], None, torch.tensor([32, 20]))
    first = fusion.parts(audio, None, torch.tensor([[32, 0, 0], [20, 0, 0]]))

    assert first.attended.segments is not None
    assert torch.allclose(first.audio, alone.audio, atol=1e-6)
    assert torch.equal(first.attended.segments[:, 0], torch.ones(2))


def test_segments_have_weights_that_sum_to_one_and_their_frames_too() -> None:
    attended = made(LEVELS).parts(sound(2, 3), None, torch.tensor([[32, 32, 8], [32, 32, 0]])).attended

    assert attended.segments is not None
    assert attended.frames is not None
    assert torch.allclose(attended.segments.sum(1), torch.ones(2))
    assert torch.allclose(attended.frames.sum(2), torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    assert attended.segments[1, 2].item() == 0.0


def test_a_voice_moves_where_it_looks_once_it_has_learned_to_ask() -> None:
    fusion, voices = made(ASKS), torch.randn(2, 7)
    before = fusion.parts(sound(), None, None, voices).attention
    torch.nn.init.normal_(fusion.query.weight)
    after = fusion.parts(sound(), None, None, voices).attention

    assert before is not None
    assert after is not None
    assert torch.equal(before, fusion_without_a_voice := made(ASKS).parts(sound(), None).attention)
    assert fusion_without_a_voice is not None
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize(
    "keys",
    [
        {"joint": "gate"},
        {"joint": "cross-modal", "text_dim": 6},
        {"text_dim": 6, "text_tokens": 5},
        {"pooling": "speaker-attention"},
        {"speaker_dim": 7},
        {"segments": 2, "pooling": "flatten"},
        {"segments": 2, "joint": "cross-modal", "text_dim": 6, "text_tokens": 5},
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FusionConfig.model_validate(keys)
