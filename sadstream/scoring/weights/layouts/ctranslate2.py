"""Reads a Whisper model out of CTranslate2's binary format, as the tensors that openai-whisper expects."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from mmap import mmap
from typing import Any, TypeAlias

import numpy as np

from sadstream.base.errors import DataError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

Rows: TypeAlias = tuple[int, int] | None
"""Which of `parts` equal blocks of rows a tensor is: (index, parts); None: all of it."""

FORMAT_VERSION = 6
SPECIFICATION = "WhisperSpec"
REVISION = 3

# Position in this tuple = the number stored in the file; bfloat16 has no numpy type and is None.
DTYPES = ("<f4", "<i1", "<i2", "<i4", "<f2", None)
DTYPE_NAMES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
MAX_RANK = 4


@dataclass(frozen=True, slots=True)
class WhisperDimensions:
    """The ten numbers that fix a Whisper model's shape, named as in openai-whisper's ModelDimensions."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    def as_json(self) -> dict[str, int]:
        """The same ten numbers as a JSON object."""
        return asdict(self)


class _Cursor:
    """A cursor over the file that refuses to read past its end."""

    __slots__ = ("at", "data")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int, what: str) -> memoryview:
        end = self.at + size
        if end > len(self.data):
            raise DataError(f"model.bin: truncated at byte {len(self.data)}: expected {what} up to {end}")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, layout: str, what: str) -> int:
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout), what))[0]
        return value

    def text(self, what: str) -> str:
        raw = bytes(self.take(self.number("<H", what), what))
        try:
            return raw.removesuffix(b"\0").decode("ascii")
        except UnicodeDecodeError as error:
            raise DataError(f"model.bin: {what} before byte {self.at} is not ASCII: not CTranslate2's") from error


def whisper_state_dict(model_bin: bytes | bytearray | memoryview | mmap) -> tuple[WhisperDimensions, dict[str, Array]]:
    """Dimensions and tensors, named and shaped as `whisper.model.Whisper(dims).state_dict()`.

    The tensors are views in the file's precision (float16 or float32). DataError: truncated, another version or
    architecture, quantised, or a tensor missing, left over or of the wrong shape.
    """
    stored = _read(memoryview(model_bin))
    dims = _dims(stored)
    tensors: dict[str, Array] = {}
    used = {"encoder/num_heads", "decoder/num_heads"}
    for ours, theirs, rows in _pairs(dims):
        tensors[ours] = _part(stored, theirs, rows)
        used.add(theirs)
    for theirs, rows in _key_biases(dims):
        if _part(stored, theirs, rows).any():
            raise DataError(f"model.bin: {theirs} holds a bias for the keys: expected zeros, Whisper has none")
    left = sorted(name for name, array in stored.items() if name not in used and array.ndim > 0)
    if left:
        raise DataError(f"model.bin: unexpected tensor {left[0]} (and {len(left) - 1} more): not a plain Whisper model")
    _check_shapes(dims, tensors)
    return dims, tensors


def _read(data: memoryview) -> dict[str, Array]:
    """Every stored tensor by its own name, without a copy; aliases are checked and left out."""
    reader = _Cursor(data)
    found = reader.number("<I", "the format version")
    if found != FORMAT_VERSION:
        raise DataError(f"model.bin: format version {found}: expected CTranslate2's {FORMAT_VERSION}")
    name, revision = reader.text("the specification"), reader.number("<I", "the revision")
    if (name, revision) != (SPECIFICATION, REVISION):
        raise DataError(f"model.bin: {name!r} revision {revision}: expected {SPECIFICATION} revision {REVISION}")
    stored: dict[str, Array] = {}
    for _ in range(reader.number("<I", "the number of tensors")):
        variable = reader.text("a tensor's name")
        if variable in stored:
            raise DataError(f"model.bin: tensor {variable} stands there twice")
        stored[variable] = _tensor(reader, variable)
    for _ in range(reader.number("<I", "the number of aliases")):
        alias, target = reader.text("an alias"), reader.text("an alias's target")
        if target not in stored:
            raise DataError(f"model.bin: alias {alias} points to {target}, which is not there")
    if reader.at != len(data):
        raise DataError(f"model.bin: {len(data) - reader.at} bytes after the end of the model")
    return stored


def _tensor(reader: _Cursor, variable: str) -> Array:
    rank = reader.number("<B", f"the rank of {variable}")
    if rank > MAX_RANK:
        raise DataError(f"model.bin: {variable} has rank {rank}: expected at most {MAX_RANK}")
    shape = tuple(reader.number("<I", f"the shape of {variable}") for _ in range(rank))
    number = reader.number("<B", f"the type of {variable}")
    if number >= len(DTYPES):
        raise DataError(f"model.bin: {variable} has the unknown type {number}: expected 0 to {len(DTYPES) - 1}")
    layout = DTYPES[number]
    if layout is None or (rank > 0 and not layout.startswith("<f")):
        raise DataError(f"model.bin: {variable} is {DTYPE_NAMES[number]}: expected float16 or float32, not quantised")
    dtype, size = np.dtype(layout), reader.number("<I", f"the size of {variable}")
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    if size != expected:
        raise DataError(f"model.bin: {variable} {shape} takes {size} bytes: expected {expected}")
    return np.frombuffer(reader.take(size, variable), dtype).reshape(shape)


def _get(stored: Mapping[str, Array], name: str, rank: int) -> Array:
    array = stored.get(name)
    if array is None:
        raise DataError(f"model.bin: no tensor {name}: not a Whisper model, or incomplete")
    if array.ndim != rank:
        raise DataError(f"model.bin: {name} has shape {array.shape}: expected {rank} dimensions")
    return array


def _layers(stored: Mapping[str, Array], side: str) -> int:
    prefix = f"{side}/layer_"
    numbers = {n[len(prefix) :].split("/")[0] for n in stored if n.startswith(prefix)} - {"norm"}
    if not numbers or numbers != {str(i) for i in range(len(numbers))}:
        raise DataError(f"model.bin: the {side}'s layers are {sorted(numbers)}: expected 0, 1, 2 without a hole")
    return len(numbers)


def _dims(stored: Mapping[str, Array]) -> WhisperDimensions:
    audio_ctx, audio_state = _get(stored, "encoder/position_encodings/encodings", 2).shape
    text_ctx, text_state = _get(stored, "decoder/position_encodings/encodings", 2).shape
    heads = []
    for side, state in (("encoder", audio_state), ("decoder", text_state)):
        count = int(_get(stored, f"{side}/num_heads", 0))
        if count < 1 or state % count:
            raise DataError(f"model.bin: {side}/num_heads is {count}: expected a divisor of {state}")
        heads.append(count)
    return WhisperDimensions(
        n_mels=_get(stored, "encoder/conv1/weight", 3).shape[1],
        n_audio_ctx=audio_ctx,
        n_audio_state=audio_state,
        n_audio_head=heads[0],
        n_audio_layer=_layers(stored, "encoder"),
        n_vocab=_get(stored, "decoder/embeddings/weight", 2).shape[0],
        n_text_ctx=text_ctx,
        n_text_state=text_state,
        n_text_head=heads[1],
        n_text_layer=_layers(stored, "decoder"),
    )


def _part(stored: Mapping[str, Array], name: str, rows: Rows) -> Array:
    array = stored.get(name)
    if array is None:
        raise DataError(f"model.bin: no tensor {name}: not a Whisper model, or incomplete")
    if rows is None:
        return array
    index, parts = rows
    if array.ndim == 0 or array.shape[0] % parts:
        raise DataError(f"model.bin: {name} has shape {array.shape}: expected {parts} fused blocks of rows")
    block = array.shape[0] // parts
    return array[index * block : (index + 1) * block]


def _linear(ours: str, theirs: str, rows: Rows = None) -> Iterator[tuple[str, str, Rows]]:
    yield f"{ours}.weight", f"{theirs}/weight", rows
    yield f"{ours}.bias", f"{theirs}/bias", rows


def _norm(ours: str, theirs: str) -> Iterator[tuple[str, str, Rows]]:
    yield f"{ours}.weight", f"{theirs}/gamma", None
    yield f"{ours}.bias", f"{theirs}/beta", None


def _block(ours: str, theirs: str, cross: bool) -> Iterator[tuple[str, str, Rows]]:
    own = f"{theirs}/self_attention"
    yield from _linear(f"{ours}.attn.query", f"{own}/linear_0", (0, 3))
    yield f"{ours}.attn.key.weight", f"{own}/linear_0/weight", (1, 3)
    yield from _linear(f"{ours}.attn.value", f"{own}/linear_0", (2, 3))
    yield from _linear(f"{ours}.attn.out", f"{own}/linear_1")
    yield from _norm(f"{ours}.attn_ln", f"{own}/layer_norm")
    if cross:
        other = f"{theirs}/attention"
        yield from _linear(f"{ours}.cross_attn.query", f"{other}/linear_0")
        yield f"{ours}.cross_attn.key.weight", f"{other}/linear_1/weight", (0, 2)
        yield from _linear(f"{ours}.cross_attn.value", f"{other}/linear_1", (1, 2))
        yield from _linear(f"{ours}.cross_attn.out", f"{other}/linear_2")
        yield from _norm(f"{ours}.cross_attn_ln", f"{other}/layer_norm")
    yield from _linear(f"{ours}.mlp.0", f"{theirs}/ffn/linear_0")
    yield from _linear(f"{ours}.mlp.2", f"{theirs}/ffn/linear_1")
    yield from _norm(f"{ours}.mlp_ln", f"{theirs}/ffn/layer_norm")


def _pairs(dims: WhisperDimensions) -> Iterator[tuple[str, str, Rows]]:
    """Every tensor of openai-whisper's state dict: its name, the stored one, and which rows of it."""
    yield "encoder.positional_embedding", "encoder/position_encodings/encodings", None
    yield from _linear("encoder.conv1", "encoder/conv1")
    yield from _linear("encoder.conv2", "encoder/conv2")
    for i in range(dims.n_audio_layer):
        yield from _block(f"encoder.blocks.{i}", f"encoder/layer_{i}", cross=False)
    yield from _norm("encoder.ln_post", "encoder/layer_norm")
    yield "decoder.token_embedding.weight", "decoder/embeddings/weight", None
    yield "decoder.positional_embedding", "decoder/position_encodings/encodings", None
    for i in range(dims.n_text_layer):
        yield from _block(f"decoder.blocks.{i}", f"decoder/layer_{i}", cross=True)
    yield from _norm("decoder.ln", "decoder/layer_norm")


def _key_biases(dims: WhisperDimensions) -> Iterator[tuple[str, Rows]]:
    """Where the format has room for the bias that Whisper's keys lack."""
    for side, layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for i in range(layers):
            yield f"{side}/layer_{i}/self_attention/linear_0/bias", (1, 3)
    for i in range(dims.n_text_layer):
        yield f"decoder/layer_{i}/attention/linear_1/bias", (0, 2)


def expected_shape(name: str, dims: WhisperDimensions) -> tuple[int, ...]:
    """The shape that a tensor of openai-whisper's state dict must have at these dimensions."""
    audio = name.startswith("encoder.")
    state = dims.n_audio_state if audio else dims.n_text_state
    whole = {
        "encoder.positional_embedding": (dims.n_audio_ctx, state),
        "encoder.conv1.weight": (state, dims.n_mels, 3),
        "encoder.conv2.weight": (state, state, 3),
        "decoder.positional_embedding": (dims.n_text_ctx, state),
        "decoder.token_embedding.weight": (dims.n_vocab, state),
    }
    if name in whole:
        return whole[name]
    wide = {
        "mlp.0.weight": (4 * state, state),
        "mlp.0.bias": (4 * state,),
        "mlp.2.weight": (state, 4 * state),
    }
    for ending, shape in wide.items():
        if name.endswith(ending):
            return shape
    square = name.endswith((".query.weight", ".key.weight", ".value.weight", ".out.weight"))
    return (state, state) if square else (state,)


def _check_shapes(dims: WhisperDimensions, tensors: Mapping[str, Array]) -> None:
    for name, array in tensors.items():
        expected = expected_shape(name, dims)
        if array.shape != expected:
            raise DataError(f"model.bin: {name} has shape {array.shape}: expected {expected}")


def tensor_names(dims: WhisperDimensions) -> frozenset[str]:
    """The names of openai-whisper's state dict at these dimensions."""
    return frozenset(ours for ours, _, _ in _pairs(dims))
