"""The pretrained models on this machine: where they lie, and proof that they are what they claim."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sadstream.base.errors import DataError, UnavailableError
from sadstream.base.json_text import parsed
from sadstream.scoring.weights import manifest
from sadstream.scoring.weights.catalogue import KNOWN, LICENCE_UNKNOWN, Kind, ModelSpec, models_dir, spec
from sadstream.scoring.weights.layouts import transformers_whisper
from sadstream.scoring.weights.manifest import MANIFEST, ModelManifest, again

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__all__ = [
    "CONFIG",
    "KNOWN",
    "MANIFEST",
    "WEIGHTS",
    "InstalledModel",
    "Kind",
    "LoadedModel",
    "ModelSpec",
    "folders",
    "identity",
    "installed",
    "is_path",
    "load_tensors",
    "models_dir",
    "own_whisper",
    "spec",
    "verify",
]

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,86}")  # of a user's own; 9 more for what it holds
_IDENTITIES: dict[str, str] = {}  # of weights by the SHA-256 of their file


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model on this machine, as its manifest describes it."""

    name: str
    kind: Kind
    identity: str
    licence: str
    bytes: int
    directory: Path
    source: str


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A verified model in memory: what was checked is what runs."""

    installed: InstalledModel
    config: Mapping[str, Any]
    """The object in config.json: a Whisper model's ten dimensions, or the text encoder's settings."""
    tensors: "Mapping[str, Array]"
    """Floating tensors by name, float16, writable."""


def identity(tensors: "Mapping[str, Array]") -> str:
    """SHA-256 over the floating tensors: sorted names, shapes and float16 little-endian values.

    The same weights travel in files of different formats and hashes; this stays the same. Integer tensors are
    left out, because exports differ in buffers such as position_ids. float16 is hashed without a copy.
    """
    import numpy as np

    digest = sha256()
    for name in sorted(tensors):
        array = tensors[name]
        if np.issubdtype(array.dtype, np.floating):
            shape = "x".join(map(str, array.shape))
            digest.update(f"{name} {shape}\n".encode())
            digest.update(np.ascontiguousarray(array, np.dtype("<f2")).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def folders(root: Path | None = None) -> tuple[Path, ...]:
    """The folders of fetched models, sound or not, sorted by name."""
    base = root or models_dir()
    if not base.is_dir():
        return ()
    kinds = tuple(f"{kind}-" for kind in get_args(Kind))
    return tuple(sorted(p for p in base.iterdir() if p.is_dir() and p.name.startswith(kinds)))


def installed(root: Path | None = None) -> list[InstalledModel]:
    """Fetched models by their manifests, without reading the weights; `verify` gives proof."""
    return [_described(folder, manifest.read(folder)) for folder in folders(root)]


def is_path(name: str) -> bool:
    """What holds a separator or starts with . or ~ may be a path."""
    return os.sep in name or name.startswith((".", "~"))


def own_whisper(folder: Path) -> ModelSpec:
    """What a Whisper checkpoint as transformers saves it is called here: its folder's name, and what it holds.

    Runs call their folders alike, so the name alone would be many models'. UnavailableError for what is no such folder.
    """
    folder = folder.resolve()
    if not transformers_whisper.is_saved(folder):
        raise UnavailableError(f"{folder}: expected a Whisper checkpoint as transformers saves it, with {CONFIG}")
    if not NAME.fullmatch(folder.name):
        raise UnavailableError(f"{folder}: expected a folder named with letters, digits and ._- only")
    try:
        return ModelSpec(f"{folder.name}-{transformers_whisper.fingerprint(folder)}", "whisper", LICENCE_UNKNOWN)
    except DataError as error:
        raise UnavailableError(str(error)) from None


def verify(directory: Path) -> InstalledModel:
    """What this folder holds, after each file's hash and the weights' identity were checked.

    UnavailableError names the file that is missing, truncated or changed, and both hashes.
    """
    return load_tensors(directory).installed


def load_tensors(directory: Path) -> LoadedModel:
    """The model in this folder, checked as in `verify`.

    Each file is read once, so what was checked is what runs. A user's own folder needs no manifest: its identity
    is computed here, and whoever expects another one compares.
    """
    if not (directory / MANIFEST).is_file() and not _is_fetched(directory):
        return _load_own(directory)
    claimed = manifest.read(directory)
    files = {listed.path: manifest.checked(directory, listed) for listed in claimed.files}
    for name in (WEIGHTS, CONFIG):
        if name not in files:
            raise UnavailableError(f"{directory / MANIFEST}: does not list {name}; {again(directory)}")
    _refuse_unlisted(directory, {MANIFEST, *files})
    tensors = _tensors(directory / WEIGHTS, files.pop(WEIGHTS))
    _compare(directory, claimed, _identity_of(claimed, tensors))
    return LoadedModel(_described(directory, claimed), _json(directory / CONFIG, files[CONFIG]), tensors)


def _identity_of(claimed: ModelManifest, tensors: "Mapping[str, Array]") -> str:
    """Once for a file, whose own hash was checked: models that were let go are back 0.2 s sooner."""
    file = next(listed.sha256 for listed in claimed.files if listed.path == WEIGHTS)
    if file not in _IDENTITIES:
        _IDENTITIES[file] = identity(tensors)
    return _IDENTITIES[file]


def _is_fetched(directory: Path) -> bool:
    return directory.resolve().parent == models_dir().resolve() or directory.name in {k.folder for k in KNOWN}


def _load_own(directory: Path) -> LoadedModel:
    files = {name: manifest.contents(directory / name) for name in (CONFIG, WEIGHTS)}
    config = _json(directory / CONFIG, files[CONFIG])
    tensors = _tensors(directory / WEIGHTS, files[WEIGHTS])
    kind: Kind = "whisper" if "n_audio_state" in config else "text"
    size = sum(map(len, files.values()))
    own = InstalledModel(directory.name, kind, identity(tensors), LICENCE_UNKNOWN, size, directory, "own folder")
    return LoadedModel(own, config, tensors)


def _described(directory: Path, claimed: ModelManifest) -> InstalledModel:
    size = sum(listed.bytes for listed in claimed.files)
    return InstalledModel(
        claimed.name, claimed.kind, claimed.identity, claimed.licence, size, directory, claimed.source
    )


def _refuse_unlisted(directory: Path, listed: set[str]) -> None:
    """A file nobody listed could still be read by a library that looks for it by name, such as an adapter."""
    for path in directory.rglob("*"):
        if path.is_file() and path.relative_to(directory).as_posix() not in listed:
            raise UnavailableError(f"{path}: not in {MANIFEST}, expected only what was fetched; {again(directory)}")


def _compare(directory: Path, claimed: ModelManifest, found: str) -> None:
    pinned = next((k.identity for k in KNOWN if (k.name, k.kind) == (claimed.name, claimed.kind)), None)
    for expected in (claimed.identity, pinned or claimed.identity):
        if found != expected:
            raise UnavailableError(
                f"{directory / WEIGHTS}: identity {found}: expected {expected} for {claimed.name}; {again(directory)}"
            )


def _tensors(path: Path, content: bytes) -> "dict[str, Array]":
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        stored = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnavailableError(f"{path}: not readable as float16 or float32 safetensors: {reason}") from None
    floats = {name: array for name, array in stored.items() if np.issubdtype(array.dtype, np.floating)}
    return {name: array.astype(np.float16, copy=False) for name, array in floats.items()}


def _json(path: Path, content: bytes) -> Mapping[str, Any]:
    try:
        value = parsed(content)
    except ValueError as error:
        raise UnavailableError(f"{path}: not JSON: {error}; {again(path.parent)}") from None
    if not isinstance(value, dict):
        raise UnavailableError(f"{path}: expected a JSON object; {again(path.parent)}")
    return value
