"""The predictions of one run under one protocol, a line an utterance: all figures are computed from these."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.files import save_atomic, table_text
from train.corpora.guards import check_predictions
from train.corpora.manifest import Utterance

COLUMNS = ("utterance", "split", "speaker", "dialogue", "sad", "logit", "probability", "predicted")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """(n,) columns over the utterances of one split, or of several folds' test splits."""

    names: tuple[str, ...]
    speakers: tuple[str, ...]
    dialogues: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]


def write(path: Path, rows: Sequence[Utterance], logits: Sequence[float], p: Sequence[float], threshold: float) -> None:
    """Write the predictions for these rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row, logit, probability in zip(rows, logits, p, strict=True):
        said = int(probability >= threshold)
        about = (row.utterance, row.split, row.speaker, row.dialogue, row.sad)
        writer.writerow([*about, f"{logit:.9g}", f"{probability:.9g}", said])
    save_atomic(path, text.getvalue().encode())


def read(path: Path, split: str, rows: Sequence[Utterance] | None = None) -> Predictions:
    """The predictions for one split; with `rows`, LeakError unless they are exactly these rows' of that split."""
    try:
        lines = [line for line in csv.DictReader(table_text(path)) if line["split"] == split]
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no predictions; make them with: sadstream-train evaluate") from None
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, error) from None
    if not lines:
        raise _damaged(path, f"no line of {split}")
    try:
        found = Predictions(
            names=tuple(line["utterance"] for line in lines),
            speakers=tuple(line["speaker"] for line in lines),
            dialogues=tuple(line["dialogue"] for line in lines),
            labels=np.array([int(line["sad"]) for line in lines]),
            logits=np.array([float(line["logit"]) for line in lines]),
            probabilities=np.array([float(line["probability"]) for line in lines]),
            predicted=np.array([int(line["predicted"]) for line in lines]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    whole = all(np.isfinite(column).all() for column in (found.logits, found.probabilities))
    if not whole or {*found.labels.tolist(), *found.predicted.tolist()} - {0, 1}:
        raise _damaged(path, "numbers that no prediction has")
    if rows is not None:
        wanted = [row for row in rows if row.split == split]
        check_predictions(wanted, found.names, found.labels.tolist(), str(path))
    return found


def _damaged(path: Path, why: object) -> DataError:
    return DataError(f"{path}: not predictions ({why}); delete the folder {path.parent} and evaluate the run again")


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of several folds as one, in the order of the utterances' names."""
    names = [name for part in parts for name in part.names]
    order = sorted(range(len(names)), key=names.__getitem__)

    def texts(attribute: str) -> tuple[str, ...]:
        column = [value for part in parts for value in getattr(part, attribute)]
        return tuple(column[i] for i in order)

    def numbers(attribute: str) -> NDArray[np.float64]:
        column: NDArray[np.float64] = np.concatenate([getattr(part, attribute) for part in parts])[order]
        return column

    return Predictions(
        names=texts("names"),
        speakers=texts("speakers"),
        dialogues=texts("dialogues"),
        labels=numbers("labels").astype(np.int64),
        logits=numbers("logits"),
        probabilities=numbers("probabilities"),
        predicted=numbers("predicted").astype(np.int64),
    )
