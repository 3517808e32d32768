"""One class holds the six systems and the seventh; every logit is the sum of its parts."""

import pytest
import torch
from pydantic import ValidationError

from sadstream.scoring.fusion.header import FusionConfig
from sadstream.scoring.fusion.network import Fusion

SYSTEMS = {
    "text-only": FusionConfig(front_end="none", text_dim=768),
    "audio-cnn": FusionConfig(sequence="none", pooling="flatten"),
    "audio-cnn-lstm": FusionConfig(pooling="mean"),
    "early-fusion": FusionConfig(sequence="none", pooling="flatten", text_dim=768),
    "multimodal-cnn-lstm": FusionConfig(pooling="mean", text_dim=768),
    "attention": FusionConfig(text_dim=768),
    "whisper": FusionConfig(front_end="states", n_frames=50, n_bands=384, n_layers=5, text_dim=384),
}


def inputs(config: FusionConfig, batch: int = 3) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    torch.manual_seed(0)
    audio = None
    if config.front_end == "cnn":
        audio = torch.randn(batch, config.n_frames, config.n_bands)
    elif config.front_end == "states":
        audio = torch.randn(batch, config.n_layers, config.n_frames, config.n_bands)
    return audio, torch.randn(batch, config.text_dim) if config.text_dim else None


@pytest.fixture(params=SYSTEMS.values(), ids=SYSTEMS.keys())
def fusion(request: pytest.FixtureRequest) -> Fusion:
    torch.manual_seed(0)
    return Fusion(request.param).eval()


def test_the_parts_sum_to_the_logit(fusion: Fusion) -> None:
    audio, text = inputs(fusion.config)
    parts = fusion.parts(audio, text)

    assert torch.allclose(fusion(audio, text), parts.bias + parts.audio + parts.text)
    assert fusion(audio, text).shape == (3,)


@pytest.mark.parametrize("name", ["early-fusion", "multimodal-cnn-lstm", "attention", "whisper"])
def test_it_is_one_linear_layer_over_context_and_text(name: str) -> None:
    """The two blocks of weights side by side act on [context; text] like one layer."""
    fusion = Fusion(SYSTEMS[name]).eval()
    audio, text = inputs(fusion.config)
    assert audio is not None
    assert text is not None
    context = fusion._context(audio, None).pooled
    weight = torch.cat([fusion.audio_out.weight, fusion.text_out.weight], dim=1)

    joint = torch.nn.functional.linear(torch.cat([context, text], dim=1), weight, fusion.bias).squeeze(1)

    assert torch.allclose(joint, fusion(audio, text), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "text-only"])
def test_without_words_the_text_part_is_exactly_zero(name: str) -> None:
    fusion = Fusion(SYSTEMS[name]).eval()
    audio, _ = inputs(fusion.config)

    assert torch.equal(fusion.parts(audio, None).text, torch.zeros(3))


def test_every_weight_learns(fusion: Fusion) -> None:
    audio, text = inputs(fusion.config)
    fusion(audio, text).square().sum().backward()

    assert [name for name, p in fusion.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_attention_is_a_distribution_over_what_was_heard() -> None:
    fusion = Fusion(SYSTEMS["whisper"]).eval()
    audio, text = inputs(fusion.config)

    weights = fusion.parts(audio, text, torch.tensor([50, 10, 1])).attention

    assert weights is not None
    assert torch.allclose(weights.sum(1), torch.ones(3))
    assert [(row > 0).sum().item() for row in weights] == [50, 10, 1]


def test_the_context_is_the_attended_mean_of_the_sequence() -> None:
    """c = sum over t of softmax(w^T h)_t h_t, written out."""
    fusion = Fusion(SYSTEMS["attention"]).eval()
    audio, _ = inputs(fusion.config)
    assert audio is not None
    states, _ = fusion.lstm(fusion.cnn(audio))

    alpha = torch.softmax(states @ fusion.attention.weight[0], dim=1)
    context, attended, *_ = fusion._context(audio, None)

    assert attended.frames is not None
    assert torch.allclose(attended.frames, alpha, atol=1e-6)
    assert torch.allclose(context, (alpha.unsqueeze(2) * states).sum(1), atol=1e-6)


def test_shapes_are_those_of_the_thesis() -> None:
    fusion = Fusion(SYSTEMS["attention"])

    assert fusion.lstm.input_size == 64 * 32
    assert fusion.context_dim == 256
    assert Fusion(SYSTEMS["audio-cnn"]).context_dim == 23 * 64 * 32


@pytest.mark.parametrize(
    "keys", [{"front_end": "none"}, {"front_end": "states", "pooling": "flatten"}, {"hidden": 0}, {"nonsense": 1}]
)
def test_a_shape_that_makes_no_sense_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FusionConfig.model_validate(keys)


@pytest.mark.parametrize("name", ["whisper", "audio-cnn-lstm"])
def test_what_stands_behind_the_last_frame_heard_moves_nothing(name: str) -> None:
    torch.manual_seed(0)
    fusion = Fusion(SYSTEMS[name]).eval()
    audio, _ = inputs(fusion.config)
    assert audio is not None
    heard = torch.tensor([8, 20, fusion.config.n_frames])
    other = audio.clone()
    # A convolution sees one frame to each side, and its poolings take four.
    other[0, ..., 12:, :] += 3.0
    other[1, ..., 24:, :] = 0.0

    first, second = (fusion.parts(x, None, heard).audio for x in (audio, other))

    assert torch.allclose(first, second, atol=1e-6)
    assert not torch.allclose(first[:2], fusion.parts(audio, None).audio[:2], atol=1e-3)
