"""Checkpoints put in their place: verified files with their cards. A service's: one current, the one before it kept."""

import os
from pathlib import Path
from typing import BinaryIO

from sadstream.base.errors import BusyError, UsageError
from sadstream.base.files import contents, expect_folder, replacing, sync_folder
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import Card, card_path, read_card

CURRENT = "current.safetensors"
PREVIOUS = "previous.safetensors"
PUBLISHED = "sadstream.safetensors"  # in a repository of the hub


def upgrade(folder: Path, path: Path) -> str:
    """Make this checkpoint the current one; its first 12 hex digits. A file that is not sound changes nothing."""
    expect_folder("--to", folder)
    for link in (folder / CURRENT, folder / PREVIOUS):
        if os.path.lexists(link) and not link.is_symlink():
            raise BusyError(f"{link}: there already, and no link that `service upgrade` made; choose another folder")
    sha = checkpoint.load(path).sha256[:12]
    kept = folder / f"{sha}.safetensors"
    _keep(path, kept, read_card(path, sha))
    before = _target(folder / CURRENT)
    if before != kept.name:
        if before is not None:
            _point(folder / PREVIOUS, before)
        _point(folder / CURRENT, kept.name)
        sync_folder(folder)
    return sha


def install(repository: Path, folder: Path) -> Path:
    """Put the checkpoint of a repository, as `sadstream-train card` writes it, among others; the file that is there.

    Called by the repository's folder and eight digits of what it holds. UnavailableError for one that is not sound.
    """
    path = repository / PUBLISHED
    sha = checkpoint.load(path).sha256
    expect_folder("--to", folder)
    kept = folder / f"{repository.resolve().name}-{sha[:8]}.safetensors"
    _keep(path, kept, read_card(path, sha[:12]))
    return kept


def _keep(path: Path, kept: Path, card: Card | None) -> None:
    """A verified copy of a checkpoint with its card."""
    kept.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not kept.exists():
        with replacing(kept) as part:
            _write(part, contents(path, checkpoint.MAX_BYTES)[0])
            checkpoint.load(Path(part.name))  # the copy, not the hope
    if card is not None:  # without it the service would say nothing of episodes
        with replacing(card_path(kept)) as part:
            _write(part, card.model_dump_json(indent=1).encode())


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
