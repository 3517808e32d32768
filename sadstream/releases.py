"""Checkpoints of a running service: a folder of verified files, one of them current, the one before it kept."""

import os
import shutil
from pathlib import Path

from sadstream import checkpoint
from sadstream.errors import UsageError

CURRENT = "current.safetensors"
PREVIOUS = "previous.safetensors"


def upgrade(folder: Path, path: Path) -> str:
    """Make this checkpoint the current one; its first 12 hex digits. A file that is not sound changes nothing."""
    sha = checkpoint.load(path).sha256[:12]
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = folder / f"{sha}.safetensors"
    if not kept.exists():
        part = folder / f".{sha}.part"
        shutil.copyfile(path, part)
        part.chmod(0o644)
        _sync(part)
        checkpoint.load(part)  # the copy, not the hope
        part.replace(kept)
    before = _target(folder / CURRENT)
    if before != kept.name:
        if before is not None:
            _point(folder / PREVIOUS, before)
        _point(folder / CURRENT, kept.name)
        _sync(folder)
    return sha


def rollback(folder: Path) -> str:
    """Make the checkpoint before the current one current again; its first 12 hex digits."""
    current, previous = _target(folder / CURRENT), _target(folder / PREVIOUS)
    if current is None or previous is None:
        raise UsageError(f"{folder}: no earlier checkpoint; `sadstream service upgrade FILE` makes one")
    sha = checkpoint.load(folder / previous).sha256[:12]
    _point(folder / CURRENT, previous)
    _point(folder / PREVIOUS, current)
    _sync(folder)
    return sha


def _target(link: Path) -> str | None:
    return str(link.readlink()) if link.is_symlink() else None


def _point(link: Path, target: str) -> None:
    """Atomic: a service that starts meanwhile sees the old or the new one."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
