"""What the commands share: the device, the cache, the loaded inputs."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from sadstream.base.errors import BusyError, DataError, UsageError
from sadstream.base.progress import progress
from sadstream.scoring.analyzer.models import compute_device
from sadstream.scoring.speakers.encoder import NAME as SPEAKERS
from sadstream.scoring.weights.locate import locate
from train.corpora import manifest as manifests
from train.corpora.classes import classes_of
from train.corpora.folds import assign
from train.corpora.guards import Protocol, check_splits
from train.corpora.manifest import RATINGS, CorpusManifest, Utterance
from train.features.cache import Cache, default_folder
from train.features.inputs import Inputs, Loader
from train.features.words import words_fixed, words_missing
from train.metrics.paired import sad_figures
from train.metrics.predictions import read as read_predictions
from train.presets import Preset, RunConfig, Target, load_preset, run_config
from train.training.export import export
from train.training.launch import PlannedRun, ProcessShare, held
from train.training.loop import ComputeTarget, EpochWeights
from train.training.run import PROTOCOLS, Run, evaluate_run, fit_run, open_run
from train.training.tracking.tracker import Kind, followed, kind_of


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """What somebody wants learned beside sad, and which labels are which emotions."""

    target: Target
    classes: str | None = None

    @classmethod
    def asked(cls, target: str, classes: str | None) -> "TargetRequest":
        """As on a command line; UsageError for what is no target."""
        known: dict[str, Target] = {"sad": "sad", "emotions": "emotions", "dimensions": "dimensions"}
        if target not in known:
            raise UsageError(f"--target {target}: expected {', '.join(known)}")
        if classes is not None and target != "emotions":
            raise UsageError("--classes: expected --target emotions too")
        return cls(known[target], classes)

    def added_to(self, config: RunConfig, rows: Sequence[Utterance]) -> RunConfig:
        """The same run with it."""
        if self.target == "emotions":
            return config.model_copy(update={"classes": classes_of(self.classes, rows)})
        return config.model_copy(update={"dimensions": RATINGS}) if self.target == "dimensions" else config


class Session:
    """One process's device, cache and inputs."""

    def __init__(self, cache: Cache, compute: ComputeTarget, load: Loader, track: Kind | None = None) -> None:
        self.cache, self.compute, self.load, self.track = cache, compute, load, track

    @classmethod
    def start(
        cls,
        cache: Path | None,
        device: str,
        threads: int,
        *,
        amp: bool = False,
        compiled: bool = False,
        track: str | None = None,
    ) -> "Session":
        """Choose the device; nothing is loaded yet. `track`: the tool that every run is told to."""
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--compute {device}: expected auto, cpu or cuda")
        if threads:
            torch.set_num_threads(threads)
        # cuBLAS gives the same bytes again only with a workspace of its own, asked for before it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        where = compute_device(device)
        if where == "cuda":
            torch.cuda.set_device(ProcessShare.of_environment().local_rank % torch.cuda.device_count())
        kept = Cache(cache or default_folder())
        target = ComputeTarget(where, amp=amp and where == "cuda", compiled=compiled)
        return cls(kept, target, Loader(kept, where), kind_of(track))

    def preset(
        self,
        name: str,
        *,
        epochs: int | None = None,
        text_encoder: str | None = None,
        audio_encoder: str | None = None,
    ) -> Preset:
        """A preset with what the command line changes; a text encoder that is not there is said before any work."""
        preset = load_preset(name)
        changes: dict[str, dict[str, int | str | None]] = {
            "training": {"epochs": epochs},
            "text": {"encoder": text_encoder},
            "audio": {"encoder": audio_encoder},
        }
        table = preset.model_dump()
        for part, values in changes.items():
            table[part] |= {key: value for key, value in values.items() if value is not None}
        return Preset.model_validate(table)

    def fit(
        self,
        preset: Preset,
        system: str,
        manifest: Path,
        out: Path,
        *,
        seed: int = 0,
        fold: str = "fixed",
        allow_partial: bool = False,
        target: TargetRequest | None = None,
        say: Callable[[str], None] = print,
    ) -> Run:
        """Train one system of a preset in its own folder under `out`."""
        found = manifests.read(manifest)
        path = manifest / manifests.NAME if manifest.is_dir() else manifest
        config = run_config(preset, system, str(path.resolve()), seed=seed, fold=fold, allow_partial=allow_partial)
        if target is not None:
            config = target.added_to(config, found.rows)
        config = self.with_words(config, found, say)
        require_encoders(config)
        with _alone(out / config.name):
            run = open_run(out / config.name, config)
            self.fit_run(run, found)
        return run

    def with_words(self, config: RunConfig, manifest: CorpusManifest, say: Callable[[str], object]) -> RunConfig:
        """The same run, or one without its text part where the corpus has no words to learn from; that is said."""
        if not config.spec.text:
            return config
        rows = assign(manifest.rows, config.fold)
        check_splits(rows, config.manifest)
        texts = self.load.texts(rows, config.text)
        trouble = words_missing(rows, texts) or ("" if manifest.corpus == "iemocap" else words_fixed(rows, texts))
        if not trouble:
            return config
        if config.spec.front_end == "none":
            raise DataError(f"{config.manifest}: {config.system} reads words alone, and they say nothing: {trouble}")
        say(f"{config.system}: trained without a text part, on sound alone: {trouble}")
        pooling = "attention" if config.spec.pooling == "cross-attention" else config.spec.pooling
        changes = {"text": False, "title": f"{config.spec.title}, no words", "pooling": pooling, "joint": "sum"}
        return config.model_copy(update={"spec": config.spec.model_copy(update=changes)})

    def fit_run(self, run: Run, manifest: CorpusManifest) -> Inputs:
        """Train a run to its end."""
        require_encoders(run.config)
        title, epochs = run.config.title, run.config.training.epochs
        steps = epochs * _steps(manifest, run.config)
        with progress(title, steps, "batches") as advance, followed(self.track, run.folder, run.config) as told:
            return fit_run(run, manifest, self.load, self.compute, advance, told)

    def evaluate(self, folder: Path, protocols: Sequence[Protocol]) -> Run:
        """Write the predictions of a run that was trained."""
        run = Run(folder)
        manifest = manifests.read(Path(run.config.manifest))
        with _alone(folder):
            inputs = self.fit_run(run, manifest)
            for protocol in protocols:
                evaluate_run(run, inputs, protocol, self.compute.device)
            self._tell(run)
        return run

    def finish(self, planned: PlannedRun, manifest: CorpusManifest) -> None:
        """Fit and evaluate a run to its end; of its weights the chosen epochs stay."""
        run = open_run(planned.folder, planned.config)
        if all(run.evaluated(protocol) for protocol in planned.protocols):
            run.rows(manifest)  # the guards hold for finished runs too
            if self.track:
                self._tell(run)
            return
        inputs = self.fit_run(run, manifest)
        chosen = [evaluate_run(run, inputs, protocol, self.compute.device).epoch for protocol in planned.protocols]

        EpochWeights(run.folder).keep(chosen)
        self._tell(run)

    def _tell(self, run: Run) -> None:
        """What came out, on test, to the tool that the run is told to."""
        with followed(self.track, run.folder, run.config) as told:
            told(run.history)
            for protocol in PROTOCOLS:
                if run.evaluated(protocol):
                    found = sad_figures(read_predictions(run.predictions_path(protocol), "test"))
                    values = {f"{protocol}/{name}": figure.value for name, figure in found.items()}
                    values[f"{protocol}/epoch"] = float(run.selection(protocol).epoch)
                    told.figures(values, len(run.history.epochs))

    def export(self, folder: Path, out: Path, licence: str | None = None, commercial: bool | None = None) -> str:
        """Write the daemon's checkpoint of a run; returns its SHA-256."""
        run = Run(folder)
        manifest = manifests.read(Path(run.config.manifest))
        if licence is None:
            licence = manifests.licence_of(Path(run.config.manifest), manifest.sha256)
        return export(run, self.load(run.rows(manifest), run.config), out, licence, commercial)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with held(folder) as ours:
        if not ours:
            raise BusyError(f"{folder}: another process is at this run; wait for it, or end it")
        yield


def require_encoders(config: RunConfig) -> None:
    """UnavailableError with the line that fetches it, for an encoder that a run needs and that is not here."""
    if config.spec.text:
        locate(config.text.encoder, "text")
        if config.text.source == "whisper":
            locate(config.text.whisper, "whisper")
    if config.spec.front_end == "states" and not Path(config.audio.encoder).expanduser().is_dir():
        locate(config.audio.encoder, "whisper")
    if config.spec.asks_speaker:
        locate(SPEAKERS, "speaker")


def _steps(manifest: CorpusManifest, config: RunConfig) -> int:
    """Batches of an epoch, near enough for a bar."""
    train = [row for row in manifest.rows if row.split == "train"]
    sad = sum(row.sad for row in train)
    drawn = 2 * max(sad, len(train) - sad) if config.training.oversample else len(train)
    return -(-drawn // config.spec.batch_size)
