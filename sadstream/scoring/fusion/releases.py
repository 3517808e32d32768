"""Checkpoints of a running service: verified files with their cards, one of them current, the one before it kept."""

import os
from pathlib import Path
from typing import BinaryIO

from sadstream.base.errors import BusyError, UsageError
from sadstream.base.files import contents, expect_folder, replacing, sync_folder
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
        with replacing(kept) as part:
            _write(part, contents(path, checkpoint.MAX_BYTES)[0])
            checkpoint.load(Path(part.name))  # the copy, not the hope
    if card is not None:  # without it the service would say nothing of episodes
        with replacing(card_path(kept)) as part:
            _write(part, card.model_dump_json(indent=1).encode())
    before = _target(folder / CURRENT)
    if before != kept.name:
        if before is not None:
            _point(folder / PREVIOUS, before)
        _point(folder / CURRENT, kept.name)
        sync_folder(folder)
    return sha


def rollback(folder: Path) -> str:
    """Make the checkpoint before the current one current again; its first 12 hex digits."""
    current, previous = _target(folder / CURRENT), _target(folder / PREVIOUS)
    if current is None or previous is None:
        raise UsageError(f"{folder}: no earlier checkpoint; `sadstream service upgrade FILE` makes one")
    sha = checkpoint.load(folder / previous).sha256[:12]
    _point(folder / CURRENT, previous)
    _point(folder / PREVIOUS, current)
    sync_folder(folder)
    return sha


def _target(link: Path) -> str | None:
    return str(link.readlink()) if link.is_symlink() else None


def _write(part: BinaryIO, content: bytes) -> None:
    """Readable by the service, whoever's umask it was written with."""
    os.fchmod(part.fileno(), 0o644)
    part.write(content)
    part.flush()


def _point(link: Path, target: str) -> None:
    """Atomic: a service that starts meanwhile sees the old or the new one."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
