"""CTranslate2's model.bin becomes exactly openai-whisper's state dict, or is refused."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from tiny_models import DIMS, Tensors, ct2_variables, model_bin, whisper_state

from sadstream.base.errors import DataError
from sadstream.scoring.weights.layouts.ctranslate2 import expected_shape, tensor_names, whisper_state_dict


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_a_model_comes_back_as_it_was(dtype: str) -> None:
    state = whisper_state(dtype=dtype)

    dims, tensors = whisper_state_dict(model_bin(ct2_variables(state)))

    assert dims == DIMS
    assert tensors.keys() == state.keys()
    for name, array in state.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_names_and_shapes_are_those_of_openai_whisper() -> None:
    import torch
    import whisper

    model = whisper.model.Whisper(whisper.model.ModelDimensions(**DIMS.as_json()))

    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == {
        name: expected_shape(name, DIMS) for name in tensor_names(DIMS)
    }
    _, tensors = whisper_state_dict(model_bin(ct2_variables(whisper_state())))
    model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in tensors.items()}, strict=True)


def test_a_memory_map_is_read_without_copying_it() -> None:
    content = memoryview(model_bin(ct2_variables(whisper_state())))

    _, tensors = whisper_state_dict(content)

    assert all(not array.flags.owndata for array in tensors.values())


def test_truncation_anywhere_is_refused() -> None:
    content = model_bin(ct2_variables(whisper_state()))
    cuts = random.Random(0).sample(range(len(content)), 300)

    for cut in [0, 1, *cuts, len(content) - 1]:
        with pytest.raises(DataError):
            whisper_state_dict(content[:cut])


def test_random_damage_is_read_or_refused_but_never_worse() -> None:
    content = model_bin(ct2_variables(whisper_state()))
    rng = random.Random(1)

    refused = 0
    for _ in range(2000):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        try:
            whisper_state_dict(bytes(damaged))
        except DataError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 5}, "format version 5: expected CTranslate2's 6"),
        ({"revision": 2}, "'WhisperSpec' revision 2: expected WhisperSpec revision 3"),
        ({"specification": "TransformerSpec"}, "'TransformerSpec'"),
        ({"aliases": [("a", "nowhere")]}, "alias a points to nowhere"),
        ({"numbers": {"encoder/conv1/bias": 9}}, "encoder/conv1/bias has the unknown type 9"),
        ({"numbers": {"encoder/conv1/bias": 5}}, "encoder/conv1/bias is bfloat16"),
        ({"numbers": {"encoder/conv1/bias": 0}}, "takes 8 bytes: expected 16"),
    ],
)
def test_another_format_is_refused_by_name(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        whisper_state_dict(model_bin(ct2_variables(whisper_state()), **change))  # type: ignore[arg-type]


def _quantised(v: Tensors) -> None:
    v["encoder/conv2/weight"] = v["encoder/conv2/weight"].astype("i1")


def _key_bias(v: Tensors) -> None:
    v["encoder/layer_0/self_attention/linear_0/bias"][5] = 1


def _cross_key_bias(v: Tensors) -> None:
    v["decoder/layer_1/attention/linear_1/bias"][0] = 1


def _missing(v: Tensors) -> None:
    del v["decoder/layer_1/ffn/linear_1/bias"]


def _left_over(v: Tensors) -> None:
    v["encoder/conv3/weight"] = v["encoder/conv2/weight"]


def _hole(v: Tensors) -> None:
    for name in [n for n in v if n.startswith("decoder/layer_0/")]:
        del v[name]


def _heads(v: Tensors) -> None:
    v["encoder/num_heads"] = np.array(3, "<i2")


def _shape(v: Tensors) -> None:
    v["decoder/layer_0/ffn/linear_0/bias"] = v["decoder/layer_0/ffn/linear_0/bias"][:8]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_quantised, "encoder/conv2/weight is int8: expected float16 or float32, not quantised"),
        (_key_bias, "encoder/layer_0/self_attention/linear_0/bias holds a bias for the keys"),
        (_cross_key_bias, "decoder/layer_1/attention/linear_1/bias holds a bias for the keys"),
        (_missing, "no tensor decoder/layer_1/ffn/linear_1/bias"),
        (_left_over, "unexpected tensor encoder/conv3/weight"),
        (_hole, "the decoder's layers are"),
        (_heads, "encoder/num_heads is 3: expected a divisor of 4"),
        (_shape, r"decoder.blocks.0.mlp.0.bias has shape \(8,\): expected \(16,\)"),
    ],
)
def test_a_model_that_is_no_plain_whisper_is_refused(damage: Callable[[Tensors], None], complaint: str) -> None:
    variables = ct2_variables(whisper_state())
    damage(variables)

    with pytest.raises(DataError, match=complaint):
        whisper_state_dict(model_bin(variables))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(DataError, match="1 bytes after the end"):
        whisper_state_dict(model_bin(ct2_variables(whisper_state())) + b"\0")
