"""The daemon's checkpoint: safetensors with a JSON header that says what the weights are, need and may do."""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sadstream.errors import UnavailableError
from sadstream.header import FORMAT, Header

if TYPE_CHECKING:
    from sadstream.model import Fusion

MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A fusion model ready to score, what its header says, and the SHA-256 of its file."""

    fusion: "Fusion"
    header: Header
    sha256: str


def default_path() -> Path:
    """The checkpoint that ships with the package."""
    return Path(str(files("sadstream") / "default.safetensors"))


def save(path: Path, fusion: "Fusion", header: Header) -> str:
    """Write a checkpoint whole or not at all; returns the SHA-256 of the file."""
    from safetensors.torch import save as to_bytes

    tensors = {name: tensor.detach().cpu().half().contiguous() for name, tensor in fusion.state_dict().items()}
    content = to_bytes(tensors, metadata={FORMAT: header.model_dump_json()})
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: {len(content)} bytes: a checkpoint has at most {MAX_BYTES}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()


def read_header(path: Path) -> Header:
    """A checkpoint's header, without torch; UnavailableError names what is wrong with the file."""
    return _parse(path, _read(path))


def load(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU, in float32 and evaluation mode."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    from sadstream.model import Fusion

    content = _read(path)
    header = _parse(path, content)
    fusion = Fusion(header.fusion)
    try:
        fusion.load_state_dict({name: tensor.float() for name, tensor in from_bytes(content).items()})
    except (SafetensorError, RuntimeError) as error:
        raise UnavailableError(f"{path}: weights do not fit the header: {str(error).splitlines()[0]}") from None
    if not all(torch.isfinite(tensor).all() for tensor in fusion.state_dict().values()):
        raise UnavailableError(f"{path}: weights that are not numbers; copy or export the checkpoint again")
    fusion.requires_grad_(False)
    return Checkpoint(fusion.eval(), header, hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"{path}: no checkpoint ({error.strerror}): expected a file made by `sadstream-train export`"
        ) from None


def _parse(path: Path, content: bytes) -> Header:
    # safetensors: 8 bytes little-endian length, then that many bytes of JSON.
    size = int.from_bytes(content[:8], "little")
    try:
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        return Header.model_validate_json(metadata[FORMAT])
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise UnavailableError(f"{path}: header: {key}: {detail['msg']}; export the checkpoint again") from None
    except (ValueError, KeyError, TypeError):
        raise UnavailableError(f"{path}: not a sadstream checkpoint: expected safetensors with its header") from None
