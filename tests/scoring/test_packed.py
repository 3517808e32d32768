"""Layers that keep half-precision weights say what plain ones say, and take nothing that they would have to round."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.recording import Recording
from sadstream.config import Config
from sadstream.config.tables import StreamConfig
from sadstream.events import Score
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.recording import RecordedSegment, score_recording
from sadstream.scoring.weights.packed import (
    AdaptingLinear,
    PackedLinear,
    Uninitialised,
    can_pack,
    one_thread,
    pack,
    packed,
)

OF_AARCH64 = ("qnnpack", "onednn")  # what PyTorch 2.13 for it says
packs = pytest.mark.skipif(not can_pack(), reason="this processor has no packed layers")


@packs
@pytest.mark.parametrize("shape", [(1, 384), (2, 7, 384)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_a_packed_layer_says_what_a_plain_one_says(shape: tuple[int, ...], biased: bool) -> None:
    weight, bias, x = torch.randn(50, 384).half(), torch.randn(50).half(), torch.randn(shape)
    layer = packed(weight, bias if biased else None)
    expected = nn.functional.linear(x, weight.float(), bias.float() if biased else None)

    assert isinstance(layer, PackedLinear)
    torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=0)


def test_weights_that_half_precision_would_round_stay_as_they_are() -> None:
    weight = torch.full((4, 4), 1.0 + 2.0**-20)

    assert not isinstance(packed(weight), PackedLinear)
    assert packed(weight)(torch.ones(1, 4))[0, 0] == 4.0 * (1.0 + 2.0**-20)


@packs
def test_every_linear_layer_of_a_model_is_packed_and_its_tables_are_kept_in_half_precision() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Sequential(nn.Linear(8, 2)))
    with torch.no_grad():
        model.half().float()
        expected = model(torch.ones(3, 8))
        pack(model.half())
        found = model(torch.ones(3, 8))

    table = nn.ModuleList([nn.Embedding.from_pretrained(torch.ones(3, 2).half())])  # type: ignore[no-untyped-call]
    pack(table)

    assert [type(module) for module in model.modules()].count(PackedLinear) == 2
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert table[0](torch.tensor([1])).dtype == torch.float16
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_modules_that_are_loaded_next_draw_no_random_numbers() -> None:
    state = torch.random.get_rng_state()
    with Uninitialised():
        nn.Linear(100, 100)

    assert torch.equal(state, torch.random.get_rng_state())


def test_a_layer_that_is_not_packed_takes_on_its_inputs_precision() -> None:
    layer = packed(torch.full((2, 3), 1.0 + 2.0**-20), torch.ones(2))

    assert layer(torch.ones(1, 3).half()).dtype == torch.float16
    assert layer(torch.ones(1, 3)).dtype == torch.float32


@pytest.fixture
def anew() -> Iterator[None]:
    can_pack.cache_clear()
    yield
    can_pack.cache_clear()


def gone(*_: object) -> torch.Tensor:
    raise AttributeError("'_OpNamespace' 'quantized' object has no attribute 'linear_dynamic_fp16'")


def wrong(x: torch.Tensor, _: object) -> torch.Tensor:
    return torch.zeros(x.shape[0], 4)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("operator", [gone, wrong])
def test_where_the_operators_are_gone_or_wrong_layers_stay_plain(
    operator: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.quantized, "linear_dynamic_fp16", operator, raising=False)
    weight = torch.randn(4, 8).half()
    layer = packed(weight)

    assert not isinstance(layer, PackedLinear)
    torch.testing.assert_close(layer(torch.ones(1, 8)), torch.ones(1, 8) @ weight.float().T)


@pytest.mark.usefixtures("anew")
def test_where_packing_is_emulated_layers_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = torch.ops.quantized.linear_dynamic_fp16

    def slow(x: torch.Tensor, layer: object) -> torch.Tensor:
        time.sleep(0.001)
        answer: torch.Tensor = quick(x, layer)
        return answer

    monkeypatch.setattr(torch.ops.quantized, "linear_dynamic_fp16", slow)

    assert not isinstance(packed(torch.randn(4, 8).half()), PackedLinear)


def test_who_counts_on_several_threads_has_them_again() -> None:
    threads, inside = torch.get_num_threads(), 0
    with suppress(ValueError), one_thread():
        inside = torch.get_num_threads()
        raise ValueError

    assert (inside, torch.get_num_threads()) == (1, threads)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("engines", [OF_AARCH64, ()], ids=["aarch64", "none"])
def test_without_the_engine_no_operator_of_it_is_asked_for(
    engines: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", list(engines))
    monkeypatch.delattr(PackedLinear, "__init__")
    model = nn.Sequential(nn.Linear(8, 8).half())
    pack(model)

    assert not can_pack()
    assert type(packed(torch.ones(4, 8).half())) is AdaptingLinear
    assert type(model[0]) is nn.Linear
    assert model[0].weight.dtype == torch.float32


@packs
@pytest.mark.models
@pytest.mark.usefixtures("real_models", "anew")
def test_the_scene_is_scored_alike_with_plain_layers(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has no others."""

    def scored() -> list[Score]:
        config = Config()
        source = open_source(StreamConfig(source=str(scene)), config)
        assert isinstance(source, Recording)
        found = score_recording(source, config, Analyzer(load_models(config)))
        return [one.score for one in found if isinstance(one, RecordedSegment)]

    fast = scored()
    monkeypatch.setattr("sadstream.scoring.weights.packed.can_pack", lambda: False)
    plain = scored()

    assert len(fast) == len(plain) >= 6
    for one, other in zip(fast, plain, strict=True):
        assert one.text_used == other.text_used
        assert other.p_sad == pytest.approx(one.p_sad, abs=2e-3)
        assert other.emotions == pytest.approx(one.emotions, abs=2e-3)
