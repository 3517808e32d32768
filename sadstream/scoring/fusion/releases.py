"""Checkpoints of a running service: verified files with their cards, one of them current, the one before it kept."""

import os
from pathlib import Path

from sadstream.base.errors import BusyError, UsageError
from sadstream.base.files import contents, expect_folder
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import card_path, read_card

CURRENT = "current.safetensors"
PREVIOUS = "previous.safetensors"


def upgrade(folder: Path, path: Path) -> str:
    """Make this checkpoint the current one; its first 12 hex digits. A file that is not sound changes nothing."""
    expect_folder("--to", folder)
    for link in (folder / CURRENT, folder / PREVIOUS):
        if os.path.lexists(link) and not link.is_symlink():
            raise BusyError(f"{link}: there already, and no link that `service upgrade` made; choose another folder")
    sha = checkpoint.load(path).sha256[:12]
    card = read_card(path, sha)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = folder / f"{sha}.safetensors"
    if not kept.exists():
        part = _written(contents(path, checkpoint.MAX_BYTES)[0], kept)
        checkpoint.load(part)  # the copy, not the hope
        part.replace(kept)
    if card is not None:  # without it the service would say nothing of episodes
        _written(card.model_dump_json(indent=1).encode(), card_path(kept)).replace(card_path(kept))
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


def _written(content: bytes, target: Path) -> Path:
    """A whole file beside its place, readable by the service, to be moved there."""
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    part.chmod(0o644)
    _sync(part)
    return part


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
