"""A run's folder: what was asked, where it comes from, how it went, what it predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from sadstream.base.errors import ConfigError, DataError, MissingFileError
from sadstream.base.files import read_whole, save_atomic
from sadstream.scoring.fusion.header import Heads, Record
from sadstream.scoring.fusion.network import Fusion
from train.corpora.counts import partial_note, require_whole
from train.corpora.folds import assign
from train.corpora.guards import FitRecord, Protocol, check_contents, check_fitted, check_manifest, check_splits, fitted
from train.corpora.manifest import CorpusManifest, Utterance
from train.features.inputs import Inputs, Loader
from train.metrics import predictions, targets
from train.metrics.targets import Targets
from train.presets import RunConfig
from train.training.beside import calibrated, raw_targets, told
from train.training.loop import STATE, ComputeTarget, EpochWeights, Trainer, fit, predict, row_means, seeded
from train.training.records.history import EpochTimes, History
from train.training.records.provenance import Provenance, provenance
from train.training.selection import Selection, best_threshold, calibration_of, macro_f1

Scores = NDArray[np.float64]

PROTOCOLS: tuple[Protocol, ...] = ("thesis", "strict")
R = TypeVar("R", bound=Record)


class TrainingRecord(Record):
    """What training saw."""

    fitted: tuple[FitRecord, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A folder with config.json, provenance.json, timing.json, history.json, epochs/ and one folder a protocol."""

    folder: Path

    @property
    def config(self) -> RunConfig:
        """What was asked."""
        return self._read("config.json", RunConfig)

    @property
    def provenance(self) -> Provenance:
        """Where it comes from."""
        return self._read("provenance.json", Provenance)

    @property
    def history(self) -> History:
        """How training went."""
        found = self._read("history.json", History)
        if not found.epochs:
            raise DataError(f"{self.folder / 'history.json'}: no epoch; delete the folder {self.folder} and fit again")
        return found

    @property
    def timing(self) -> EpochTimes:
        """How long it took; nothing where nobody knows any more."""
        return self._read("timing.json" if (self.folder / "timing.json").is_file() else "history.json", EpochTimes)

    @property
    def learned(self) -> TrainingRecord:
        """What training saw."""
        return self._read("learned.json", TrainingRecord)

    def selection(self, protocol: Protocol) -> Selection:
        """What was chosen under a protocol."""
        return self._read(f"{protocol}/selection.json", Selection)

    def predictions_path(self, protocol: Protocol) -> Path:
        """Its predictions under a protocol."""
        return self.folder / protocol / "predictions.csv"

    @property
    def targets_path(self) -> Path:
        """What is said beside sad, under the strict protocol."""
        return self.folder / "strict" / targets.NAME

    @property
    def begun(self) -> bool:
        """Whether anything was trained: what never was blocks no other run."""
        return self.fitted or any((self.folder / "epochs").glob("*.safetensors"))

    @property
    def fitted(self) -> bool:
        """Whether training is finished."""
        return (self.folder / "learned.json").is_file()

    def evaluated(self, protocol: Protocol) -> bool:
        """Whether its predictions are there."""
        return (self.folder / protocol / "selection.json").is_file()

    def write(self, name: str, record: Record) -> None:
        """Keep a record in the folder."""
        save_atomic(self.folder / name, (record.model_dump_json(indent=2) + "\n").encode())

    def _read(self, name: str, kind: type[R]) -> R:
        path = self.folder / name
        try:
            return kind.model_validate_json(read_whole(path))
        except FileNotFoundError:
            raise MissingFileError(f"{path}: not there; a run is made by: sadstream-train fit") from None
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(map(str, detail["loc"]))
            again = f"{path.parent} and evaluate" if "/" in name else f"{self.folder} and fit"
            cure = "delete it: it is printed alone" if kind is EpochTimes else f"delete the folder {again} again"
            raise DataError(f"{path}: {key or 'not JSON'}: {detail['msg']}; {cure}") from None

    def rows(self, manifest: CorpusManifest) -> tuple[Utterance, ...]:
        """The manifest's utterances with this run's split, all guards passed."""
        config = self.config
        if self.begun:
            check_manifest(self.provenance.manifest_sha256, manifest.sha256, str(self.folder))
        require_whole(manifest.corpus, manifest.rows, config.allow_partial)
        rows = assign(manifest.rows, config.fold)
        check_splits(rows, config.manifest)
        return rows


def open_run(folder: Path, config: RunConfig) -> Run:
    """The run of this configuration in this folder, new or begun; ConfigError when another one was trained there."""
    run = Run(folder)
    if run.begun and run.config != config:
        raise ConfigError(f"{folder}: holds a run of another configuration; delete it or choose another --out")
    if not run.begun:
        run.write("config.json", config)
    return run


def fit_run(
    run: Run,
    manifest: CorpusManifest,
    load: Loader,
    compute: ComputeTarget,
    advance: Callable[[], None] = lambda: None,
    told: Callable[[History], None] = lambda history: None,
) -> Inputs:
    """Train a run to its end, or go on where it stopped; returns what it read. `told`: see `loop.fit`."""
    rows = run.rows(manifest)
    inputs = load(rows, run.config)
    check_contents(rows, inputs.digests)
    if run.fitted:
        told(run.history)
        return inputs
    if not run.begun:
        note = partial_note(manifest.corpus, manifest.rows)
        run.write("provenance.json", provenance(manifest.sha256, note, compute.device))
    trainer = Trainer(inputs, run.config, compute)
    history, timing = fit(trainer, run.folder, advance, told)
    run.write("timing.json", timing)
    run.write("history.json", history)
    drawn = {int(i) for i in inputs.owner[trainer.drawn].tolist()}
    checked = {int(i) for i in inputs.owner[trainer.validation].tolist()}
    learned = (
        fitted("weights", "train", (rows[i] for i in drawn)),
        fitted("stopping", "validation", (rows[i] for i in checked)),
    )
    run.write("learned.json", TrainingRecord(fitted=learned))
    (run.folder / STATE).unlink(missing_ok=True)  # three times the weights, and of no more use
    return inputs


def evaluate_run(run: Run, inputs: Inputs, protocol: Protocol, device: str = "cpu") -> Selection:
    """Choose by the protocol and write the predictions; what is already there stays."""
    if run.evaluated(protocol):
        return run.selection(protocol)
    seeded(run.config.seed, device)
    fusion = Fusion(inputs.fusion).to(device)
    weights = EpochWeights(run.folder)
    epoch = _choose_epoch(run, inputs, protocol, fusion, weights, device)
    weights.load(epoch, fusion)
    outputs = {split: _outputs(run, fusion, inputs, split, device) for split in ("validation", "test")}
    found = {split: one.logits for split, one in outputs.items()}
    parts = {split: [row for row in inputs.rows if row.split == split] for split in ("train", *found)}
    labels = {split: _labels(part) for split, part in parts.items()}
    judge: Literal["validation", "test"] = "test" if protocol == "thesis" else "validation"
    line = calibration_of(labels["validation"], found["validation"]) if protocol == "strict" else None
    heads = _write_targets(run, outputs) if protocol == "strict" and inputs.fusion.beside else Heads()
    chosen = Selection(
        protocol=protocol,
        epoch=epoch,
        threshold=0.5,
        calibration=line,
        prior=float(labels["validation"].mean()),
        text_mean=_text_mean(fusion, inputs),
        heads=heads,
        fitted=(
            *run.learned.fitted,
            fitted("epoch", judge, parts[judge]),
            fitted("threshold", judge, parts[judge]),
            *((fitted("calibration", "validation", parts["validation"]),) if line else ()),
            *((fitted("heads", "validation", parts["validation"]),) if heads.emotions or heads.dimensions else ()),
            fitted("text_mean", "train", parts["train"]),
        ),
    )
    threshold = best_threshold(labels[judge], chosen.probability(found[judge]))
    chosen = chosen.model_copy(update={"threshold": threshold})
    check_fitted(protocol, chosen.fitted, inputs.rows)
    both, logits = [*parts["validation"], *parts["test"]], [*found["validation"], *found["test"]]
    p = [float(value) for split in found for value in chosen.probability(found[split])]
    predictions.write(run.predictions_path(protocol), both, logits, p, threshold)
    run.write(f"{protocol}/selection.json", chosen)  # last: it says that the evaluation is whole
    return chosen


def _choose_epoch(
    run: Run, inputs: Inputs, protocol: Protocol, fusion: Fusion, weights: EpochWeights, device: str
) -> int:
    """The epoch with the best macro F1 at 0.5, on validation or, as the thesis does it, on test.

    Where something is learned beside sad, the one that does it best on validation.
    """
    epochs = run.history.epochs
    if protocol == "strict":
        return max(epochs, key=lambda epoch: (epoch.strict_figure, -epoch.epoch)).epoch
    labels = _labels([row for row in inputs.rows if row.split == "test"])
    scores = []
    for epoch in epochs:
        weights.load(epoch.epoch, fusion)
        scores.append(macro_f1(labels, _outputs(run, fusion, inputs, "test", device).logits))
    return epochs[scores.index(max(scores))].epoch


def logits_of(run: Run, inputs: Inputs, index: Tensor, device: str = "cpu") -> Scores:
    """(rows,) raw logits of the run's strict epoch for the rows of these pieces, in their order."""
    fusion = Fusion(inputs.fusion).to(device)
    EpochWeights(run.folder).load(run.selection("strict").epoch, fusion)
    return _row_outputs(run, fusion, inputs, index, device).logits


@dataclass(frozen=True, slots=True, eq=False)
class _RowOutputs:
    """(rows,) raw logits, and what is said beside sad, raw; of an utterance in several pieces their mean."""

    logits: Scores
    beside: Targets


def _outputs(run: Run, fusion: Fusion, inputs: Inputs, split: str, device: str) -> _RowOutputs:
    index = inputs.pieces_of(split)
    found = _row_outputs(run, fusion, inputs, index, device)
    names = [row.utterance for row in inputs.rows if row.split == split]
    assert list(found.beside.names) == names, f"rows of {split} without a piece"
    return found


def _row_outputs(run: Run, fusion: Fusion, inputs: Inputs, index: Tensor, device: str) -> _RowOutputs:
    found = predict(fusion, inputs, index, device)
    logits = row_means(inputs, index, found.parts.double().sum(1, keepdim=True))[:, 0]
    rows = np.unique(inputs.owner[index].numpy())
    return _RowOutputs(logits, raw_targets(inputs, run.config, rows, row_means(inputs, index, found.beside)))


def _write_targets(run: Run, outputs: dict[str, _RowOutputs]) -> Heads:
    """Calibrate what is said beside sad on validation, and write it for both splits."""
    heads = calibrated(run.config, outputs["validation"].beside)
    targets.write(run.targets_path, {split: told(heads, one.beside) for split, one in outputs.items()})
    return heads


def _labels(rows: Sequence[Utterance]) -> NDArray[np.int64]:

    return np.array([row.sad for row in rows])


def _text_mean(fusion: Fusion, inputs: Inputs) -> float:

    if inputs.text is None or not fusion.config.is_additive:
        return 0.0
    with torch.inference_mode():
        train = inputs.text[inputs.pieces_of("train")].to(fusion.bias.device)
        train = train[(train != 0).any(1)]  # the mean over words, where there are some
        return float(fusion.text_out(train).double().mean())
