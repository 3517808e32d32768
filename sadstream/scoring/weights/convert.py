"""Turns weights as they travel into the one form in which sadstream keeps them: float16 safetensors."""

import json
import mmap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sadstream.base.errors import DataError
from sadstream.scoring.weights import manifest
from sadstream.scoring.weights.layouts import ctranslate2 as ct2
from sadstream.scoring.weights.layouts import transformers_whisper
from sadstream.scoring.weights.layouts.ctranslate2 import Array, WhisperDimensions
from sadstream.scoring.weights.store import CONFIG, WEIGHTS, load_tensors

if TYPE_CHECKING:
    import torch

TERMS = ("LICENSE", "NOTICE")
# What a tokenizer may consist of; anything else in a folder (pickles, code, pictures) stays behind.
TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    *TERMS,
)

GE2E_FILE = "pretrained.pt"
GE2E_SHAPES = {
    **{
        f"lstm.{side}_l{layer}": (1024, *columns)
        for layer, width in enumerate((40, 256, 256))
        for side, columns in (("weight_ih", (width,)), ("weight_hh", (256,)), ("bias_ih", ()), ("bias_hh", ()))
    },
    "linear.weight": (256, 256),
    "linear.bias": (256,),
}

# Integer buffers that exports carry along and that transformers makes anew.
BUFFERS = ("position_ids", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Payload:
    """A model ready to be written: float16 tensors, its configuration, and the files that go with them."""

    source: str
    config: bytes
    tensors: Mapping[str, Array]
    files: Mapping[str, bytes]


def from_ct2(model_bin: Path, source: str) -> Payload:
    """A Whisper model from CTranslate2's model.bin; DataError if it is none."""
    with model_bin.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        dims, views = ct2.whisper_state_dict(content)
        # Copies: views would keep the map from closing.
        tensors = {name: _half(name, np.array(array)) for name, array in views.items()}
        del views
    return Payload(source, _dims_json(dims), tensors, {})


def from_pt(path: Path, source: str) -> Payload:
    """A Whisper model from an openai-whisper checkpoint, running no pickle; DataError if it is none."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            # What torch finds odd in a file it also refuses; the refusal is the one line.
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        dims = WhisperDimensions(**{str(key): int(value) for key, value in checkpoint["dims"].items()})
        state = dict(checkpoint["model_state_dict"])
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise DataError(f"{path.name}: not an openai-whisper checkpoint (dims, model_state_dict): {reason}") from None
    names = ct2.tensor_names(dims)
    if odd := sorted(names ^ set(state)):
        raise DataError(f"{path.name}: {len(odd)} tensors missing or unexpected for its dimensions, first {odd[0]}")
    tensors = dict(_halves(state))
    for name, array in tensors.items():
        if array.shape != (expected := ct2.expected_shape(name, dims)):
            raise DataError(f"{path.name}: {name} has shape {array.shape}: expected {expected}")
    return Payload(source, _dims_json(dims), tensors, {})


def from_ge2e(path: Path, source: str) -> Payload:
    """A speaker encoder as Resemblyzer saves it, running no pickle; DataError if it is none."""
    import pickle

    import torch

    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True)["model_state"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path.name}: not a speaker encoder (model_state): {str(error).splitlines()[0]}") from None
    kept = {name: tensor for name, tensor in state.items() if name in GE2E_SHAPES}
    if {name: tuple(tensor.shape) for name, tensor in kept.items()} != GE2E_SHAPES:
        raise DataError(f"{path.name}: expected an LSTM of three layers of 256 over 40 bands, and one linear layer")
    return Payload(source, b'{"bands": 40, "width": 256}\n', dict(_halves(kept)), {})


def from_transformers(folder: Path, source: str) -> Payload:
    """A text encoder from a folder as transformers saves it (config.json, model.safetensors, tokenizer)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: no {name}: expected a text encoder as transformers saves it, in safetensors")
    try:
        state = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise DataError(f"{folder / WEIGHTS}: not a safetensors file: {error}") from None
    files = {name: (folder / name).read_bytes() for name in TEXT_FILES if (folder / name).is_file()}
    return Payload(source, (folder / CONFIG).read_bytes(), dict(_halves(state)), files)


def from_transformers_whisper(folder: Path, source: str) -> Payload:
    """A Whisper model from a folder as transformers saves it, fine-tuned or distilled; DataError if it is none."""
    dims, state = transformers_whisper.read(folder)
    files = {name: (folder / name).read_bytes() for name in TERMS if (folder / name).is_file()}
    return Payload(source, _dims_json(dims), dict(_halves(state)), files)


def from_bundle(folder: Path) -> Payload:
    """A model that was fetched before, from a folder that was carried here; verified."""
    loaded = load_tensors(folder)
    listed = {entry.path: entry for entry in manifest.read(folder).files}
    config = manifest.checked(folder, listed.pop(CONFIG))
    del listed[WEIGHTS]
    files = {path: manifest.checked(folder, entry) for path, entry in listed.items()}
    return Payload(loaded.installed.source, config, loaded.tensors, files)


def _dims_json(dims: WhisperDimensions) -> bytes:
    return (json.dumps(dims.as_json(), indent=2) + "\n").encode()


def _halves(state: "Mapping[str, torch.Tensor]") -> Iterator[tuple[str, Array]]:
    for name, tensor in state.items():
        if tensor.is_floating_point():
            yield name, _half(name, tensor.float().numpy())
        elif not name.endswith(BUFFERS):
            raise DataError(f"{name} is {tensor.dtype}: expected floating point weights, not quantised")


def _half(name: str, array: np.ndarray[Any, np.dtype[Any]]) -> Array:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(array, dtype="<f2")
    if not np.isfinite(half).all():
        raise DataError(f"{name} holds values that are not finite or beyond 65504, the largest float16")
    return half
