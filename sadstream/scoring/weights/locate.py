"""The folder of a model that somebody names: a fetched one, a user's own, or another's layout, converted once."""

from pathlib import Path

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.scoring.weights.catalogue import Kind, models_dir, noun, spec
from sadstream.scoring.weights.layouts import transformers_whisper
from sadstream.scoring.weights.manifest import MANIFEST
from sadstream.scoring.weights.store import CONFIG, NAME, WEIGHTS, is_path, own_whisper


def locate(name_or_path: str, kind: Kind) -> Path:
    """The folder of a fetched model, or a user's own; UnavailableError with the command that fetches it.

    A fetched model of that name comes first. A Whisper checkpoint as transformers saves it is converted into the
    models' folder the first time that it is asked for.
    """
    path = Path(name_or_path).expanduser()
    try:
        wanted = spec(name_or_path)
    except UsageError as error:
        if is_path(name_or_path):
            return _own_folder(path, kind)
        if NAME.fullmatch(name_or_path) and (models_dir() / f"{kind}-{name_or_path}" / MANIFEST).is_file():
            return models_dir() / f"{kind}-{name_or_path}"
        raise UnavailableError(f"{noun(kind)} {error}") from None
    fetched = models_dir() / wanted.folder
    if wanted.kind == kind and fetched.is_dir():
        return fetched
    if is_path(name_or_path) and path.is_dir():
        return _own_folder(path, kind)
    if wanted.kind != kind:
        raise UnavailableError(f"{name_or_path} is a {wanted.noun}: expected a {noun(kind)}")
    raise UnavailableError(
        f"{wanted.noun} {wanted.name}: not in {models_dir()}; fetch it with: sadstream models fetch {wanted.name}"
    )


def _converted(folder: Path) -> Path:
    """Where a Whisper checkpoint as transformers saves it lies as every other model does."""
    from sadstream.scoring.weights.fetch import fetch  # what it imports is needed this once

    there = models_dir() / own_whisper(folder).folder
    return there if (there / MANIFEST).is_file() else fetch([str(folder.resolve())])[0].directory


def _own_folder(path: Path, kind: Kind) -> Path:
    if path.is_file():
        raise UnavailableError(
            f"{path}: a file, expected a folder with {CONFIG} and {WEIGHTS}; "
            f"an official .pt file is converted once by: sadstream models fetch {path}"
        )
    if not path.is_dir():
        raise UnavailableError(f"{path}: no such folder, expected one with {CONFIG} and {WEIGHTS}")
    return _converted(path) if kind == "whisper" and transformers_whisper.is_saved(path) else path
