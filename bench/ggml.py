"""A fetched Whisper in whisper.cpp's own file format, half precision: every way is measured on the same weights."""

import base64
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = 0x67676D6C  # "ggml"
FLOAT32, FLOAT16 = 0, 1
DIMENSIONS = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
    "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip


def ggml_file(model: str) -> str:
    """The path of this model's file, written once beside the fetched models."""
    from sadstream.scoring.weights.catalogue import models_dir
    from sadstream.scoring.weights.locate import locate
    from sadstream.scoring.weights.store import load_tensors

    path = models_dir().parent / "bench" / f"ggml-{model}.bin"
    if not path.exists():
        loaded = load_tensors(locate(model, "whisper"))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(struct.pack("<i", MAGIC))
            file.write(struct.pack("<11i", *(loaded.config[name] for name in DIMENSIONS), FLOAT16))
            _write_filters(file, int(loaded.config["n_mels"]))
            _write_vocabulary(file, multilingual=int(loaded.config["n_vocab"]) >= 51_865)
            for name, tensor in loaded.tensors.items():
                _write_tensor(file, name, tensor)
        unfinished.rename(path)
    return str(path)


def _assets() -> Path:
    import whisper

    return Path(str(whisper.__file__)).parent / "assets"


def _write_filters(file: BinaryIO, n_mels: int) -> None:
    with np.load(_assets() / "mel_filters.npz") as filters:
        matrix = np.ascontiguousarray(filters[f"mel_{n_mels}"], "<f4")
    file.write(struct.pack("<2i", *matrix.shape) + matrix.tobytes())


def _write_vocabulary(file: BinaryIO, multilingual: bool) -> None:
    """Every word piece by its number; the special ones whisper.cpp adds by itself."""
    lines = (_assets() / f"{'multilingual' if multilingual else 'gpt2'}.tiktoken").read_text().split("\n")
    ranked = sorted((int(rank), base64.b64decode(piece)) for piece, rank in (line.split() for line in lines if line))
    file.write(struct.pack("<i", len(ranked)))
    for _, piece in ranked:
        file.write(struct.pack("<i", len(piece)) + piece)


def _write_tensor(file: BinaryIO, name: str, tensor: "np.ndarray[Any, Any]") -> None:
    """Matrices in half precision; vectors and positions in float32, as whisper.cpp expects them."""
    if name.endswith(("conv1.bias", "conv2.bias")):
        tensor = tensor.reshape(-1, 1)
    half = tensor.ndim > 1 and not name.endswith(("conv1.bias", "conv2.bias", "positional_embedding"))
    file.write(struct.pack("<3i", tensor.ndim, len(name), FLOAT16 if half else FLOAT32))
    file.write(struct.pack(f"<{tensor.ndim}i", *reversed(tensor.shape)) + name.encode())
    file.write(np.ascontiguousarray(tensor, "<f2" if half else "<f4").tobytes())
