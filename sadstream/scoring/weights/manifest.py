"""The manifest beside a fetched model: what it is, where it came from, and the hash of every file."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from sadstream.base.errors import UnavailableError
from sadstream.scoring.weights.catalogue import KNOWN, Kind

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of a model."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a fetched model's folder claims to hold."""

    name: str
    kind: Kind
    identity: str
    licence: str
    source: str
    files: tuple[ListedFile, ...]


def render(manifest: ModelManifest) -> bytes:
    """The manifest as JSON with a seal, the SHA-256 of the rest, so that a change in any byte shows."""
    body = asdict(manifest)
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**body, "seal": seal}, indent=2) + "\n").encode()


def read(folder: Path) -> ModelManifest:
    """The manifest in this folder; UnavailableError if it is missing or not exactly what was written."""
    path = folder / MANIFEST
    content = contents(path)
    try:
        manifest = _parse(json.loads(content))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UnavailableError(f"{path}: not a model's manifest ({type(error).__name__}); {again(folder)}") from None
    expected = render(manifest)
    if content != expected:
        found, right = (hashlib.sha256(c).hexdigest() for c in (content, expected))
        raise UnavailableError(f"{path}: SHA-256 {found}: expected {right}, damaged or changed; {again(folder)}")
    return manifest


def contents(path: Path) -> bytes:
    """A model file's bytes; UnavailableError naming the file if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UnavailableError(f"{path}: missing; {again(path.parent)}") from None
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be read: {error.strerror}; {again(path.parent)}") from None


def checked(folder: Path, listed: ListedFile) -> bytes:
    """A listed file's bytes; UnavailableError naming both hashes if its SHA-256 is another."""
    path = folder / listed.path
    content = contents(path)
    found = hashlib.sha256(content).hexdigest()
    if found != listed.sha256:
        raise UnavailableError(
            f"{path}: SHA-256 {found}: expected {listed.sha256}, damaged or changed ({len(content)} bytes "
            f"of {listed.bytes}); {again(folder)}"
        )
    return content


def again(folder: Path) -> str:
    """The command that replaces this folder."""
    name = folder.name.split("-", 1)[-1].replace("--", "/")
    if "/" not in name and folder.name not in {known.folder for known in KNOWN}:
        return "remove that folder and fetch it again with: sadstream models fetch PATH, where it was converted from"
    return f"fetch it again with: sadstream models fetch {name}"


def _parse(value: Any) -> ModelManifest:
    files = tuple(_listed(str(f["path"]), str(f["sha256"]), int(f["bytes"])) for f in value["files"])
    kind = value["kind"]
    if kind not in get_args(Kind):
        raise ValueError(kind)
    return ModelManifest(
        str(value["name"]), kind, str(value["identity"]), str(value["licence"]), str(value["source"]), files
    )


def _listed(path: str, sha256: str, size: int) -> ListedFile:
    """A file of this folder; ValueError for one elsewhere, or a hash that is none."""
    pure = PurePosixPath(path)
    if not path.isprintable() or not pure.parts or pure.is_absolute() or ".." in pure.parts:
        raise ValueError(path)
    if re.fullmatch("[0-9a-f]{64}", sha256) is None:
        raise ValueError(sha256)
    return ListedFile(path, sha256, size)
