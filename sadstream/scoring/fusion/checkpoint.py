"""The daemon's checkpoint: safetensors with a JSON header that says what the weights are, need and may do."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sadstream.base.errors import UnavailableError
from sadstream.base.files import contents, write_atomic
from sadstream.scoring.fusion.header import FORMAT, Header

if TYPE_CHECKING:
    from sadstream.scoring.fusion.network import Fusion

SHIPPED = ("default", "open")  # open: from data whose licences allow commercial use
MAX_BYTES = 10_000_000
SEAL = "sha256"  # of everything else in the file: one flipped bit and it is refused


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A fusion model ready to score, what its header says, and the SHA-256 of its file."""

    fusion: "Fusion"
    header: Header
    sha256: str


def default_path() -> Path:
    """The checkpoint that ships with the package and is used unless another is named."""
    return named("default")


def named(checkpoint: str) -> Path:
    """The file that the configuration's `model.checkpoint` names: one of SHIPPED, or a path."""
    if checkpoint in SHIPPED:
        return Path(str(files("sadstream.scoring.fusion") / f"{checkpoint}.safetensors"))
    return Path(checkpoint).expanduser()


def save(path: Path, fusion: "Fusion", header: Header) -> str:
    """Write a checkpoint whole or not at all; returns the SHA-256 of the file."""
    from safetensors.torch import save as to_bytes

    tensors = {name: tensor.detach().cpu().half().contiguous() for name, tensor in fusion.state_dict().items()}
    said = header.model_dump(mode="json")
    sealed = {SEAL: _seal(to_bytes(tensors), said), "header": said}
    content = to_bytes(tensors, metadata={str(FORMAT): json.dumps(sealed)})
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: {len(content)} bytes: a checkpoint has at most {MAX_BYTES}")
    write_atomic(path, content)
    return hashlib.sha256(content).hexdigest()


def model_id(path: Path) -> str:
    """The first 12 hex digits of a checkpoint's SHA-256, which every score bears; UnavailableError without one."""
    try:
        return hashlib.sha256(contents(path, MAX_BYTES)[0]).hexdigest()[:12]
    except OSError as error:
        raise UnavailableError(f"{path}: no checkpoint ({error.strerror})") from None


def read_header(path: Path) -> Header:
    """A checkpoint's header, without torch; UnavailableError names what is wrong with the file."""
    return _parse(path, _read(path))


def load(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU, in float32 and evaluation mode."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    from sadstream.scoring.fusion.network import Fusion

    content = _read(path)
    header = _parse(path, content)
    try:
        tensors = from_bytes(content)
        with torch.device("meta"):  # shapes alone: a header may ask for more than there is memory
            wanted = {name: tensor.shape for name, tensor in Fusion(header.fusion).state_dict().items()}
        if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
            raise ValueError("other names or shapes")
        fusion = Fusion(header.fusion)
        fusion.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UnavailableError(f"{path}: weights do not fit the header: {why}; copy or export it again") from None
    if not all(torch.isfinite(tensor).all() for tensor in fusion.state_dict().values()):
        raise UnavailableError(f"{path}: weights that are not numbers; copy or export the checkpoint again")
    fusion.requires_grad_(False)
    return Checkpoint(fusion.eval(), header, hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    try:
        return contents(path, MAX_BYTES)[0]
    except OSError as error:
        raise UnavailableError(
            f"{path}: no checkpoint ({error.strerror}): expected a file made by `sadstream-train export`"
        ) from None


def _parse(path: Path, content: bytes) -> Header:
    try:
        metadata = json.loads(_table(content)["__metadata__"][FORMAT])
        header = Header.model_validate_json(json.dumps(metadata["header"]))
        sealed, found = metadata[SEAL], _seal(content, metadata["header"])
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise UnavailableError(f"{path}: header: {key}: {detail['msg']}; export the checkpoint again") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnavailableError(f"{path}: not a sadstream checkpoint: expected safetensors with its header") from None
    if sealed != found:
        raise UnavailableError(f"{path}: damaged: sealed with {sealed[:12]}, found {found[:12]}; copy it again")
    return header


def _table(content: bytes) -> Any:
    # safetensors: 8 bytes little-endian length, then that many bytes of JSON, then the tensors.
    size = int.from_bytes(content[:8], "little")
    table: Any = json.loads(content[8 : 8 + size])
    return table


def _seal(content: bytes, header: Any) -> str:
    """SHA-256 over header, tensor table and tensors."""
    table = _table(content)
    table["__metadata__"] = header
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    digest.update(content[8 + int.from_bytes(content[:8], "little") :])
    return digest.hexdigest()
