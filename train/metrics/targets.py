"""What is said beside sad of a run's utterances, in a file, and its figures with intervals over speakers."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.files import save_atomic, table_text
from train.corpora.classes import NONE
from train.metrics.detection import Interval, calibration_error

Floats = NDArray[np.float64]

NAME = "targets.csv"
KEYS = ("utterance", "split", "speaker")
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Of (n,) utterances of one split: what they are, and what is said of them.

    emotions: the names of (n, emotions) `shares`; true: (n,) their index or NONE. dimensions: the names of
    (n, dimensions) `rated`, NaN where nobody did, and `said`.
    """

    names: tuple[str, ...]
    speakers: tuple[str, ...]
    emotions: tuple[str, ...]
    true: NDArray[np.int64]
    shares: Floats
    dimensions: tuple[str, ...]
    rated: Floats
    said: Floats


def write(path: Path, splits: dict[str, Targets]) -> None:
    """Write what is said of these splits, a line an utterance."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    first = next(iter(splits.values()))
    columns = ["emotion"] * bool(first.emotions) + [f"p_{name}" for name in first.emotions]
    columns += [column for name in first.dimensions for column in (name, f"{name}_said")]
    writer.writerow([*KEYS, *columns])
    for split, found in splits.items():
        for i, name in enumerate(found.names):
            cells: list[str] = []
            if found.emotions:
                cells.append(found.emotions[found.true[i]] if found.true[i] != NONE else "")
            cells += [f"{share:.9g}" for share in found.shares[i]]
            for rated, said in zip(found.rated[i], found.said[i], strict=True):
                cells += ["" if math.isnan(rated) else f"{rated:.9g}", f"{said:.9g}"]
            writer.writerow([name, split, found.speakers[i], *cells])
    save_atomic(path, text.getvalue().encode())


def read(path: Path, split: str) -> Targets:
    """What a file says of one split."""
    try:
        reader = csv.DictReader(table_text(path))
        columns = list(reader.fieldnames or ())
        if tuple(columns[: len(KEYS)]) != KEYS or len(columns) == len(KEYS):
            raise ValueError(f"columns {', '.join(columns) or 'none'}")
        lines = [line for line in reader if line["split"] == split]
        emotions = tuple(column.removeprefix("p_") for column in columns if column.startswith("p_"))
        dimensions = tuple(column.removesuffix("_said") for column in columns if column.endswith("_said"))
        return Targets(
            names=tuple(line["utterance"] for line in lines),
            speakers=tuple(line["speaker"] for line in lines),
            emotions=emotions,
            true=np.array([emotions.index(line["emotion"]) if line.get("emotion") else NONE for line in lines]),
            shares=_floats(lines, [f"p_{name}" for name in emotions]),
            dimensions=dimensions,
            rated=_floats(lines, dimensions),
            said=_floats(lines, [f"{name}_said" for name in dimensions]),
        )
    except FileNotFoundError:
        raise MissingFileError(f"{path}: nothing beside sad; make it with: sadstream-train evaluate") from None
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        again = f"delete the folder {path.parent} and evaluate the run again"
        raise DataError(f"{path}: not what is said beside sad ({error}); {again}") from None


def _floats(lines: Sequence[dict[str, str]], columns: Sequence[str]) -> Floats:
    cells = [[float(line[name]) if line[name] else math.nan for name in columns] for line in lines]
    return np.array(cells, dtype=np.float64).reshape(len(lines), len(columns))


def pooled(parts: Sequence[Targets]) -> Targets:
    """What is said of several folds' test splits as one, in the order of the utterances' names."""
    names = [name for part in parts for name in part.names]
    order = sorted(range(len(names)), key=names.__getitem__)
    speakers = [speaker for part in parts for speaker in part.speakers]
    return Targets(
        names=tuple(names[i] for i in order),
        speakers=tuple(speakers[i] for i in order),
        emotions=parts[0].emotions,
        true=np.concatenate([part.true for part in parts])[order],
        shares=np.concatenate([part.shares for part in parts])[order],
        dimensions=parts[0].dimensions,
        rated=np.concatenate([part.rated for part in parts])[order],
        said=np.concatenate([part.said for part in parts])[order],
    )


def confusion(found: Targets) -> NDArray[np.int64]:
    """(emotions, emotions) utterances, those that are one in a row, those that are called one in a column."""
    total: NDArray[np.int64] = _cells(found).sum(0)
    return total


def _cells(found: Targets) -> NDArray[np.int64]:
    """(speakers, emotions, emotions) confusion matrices."""
    kept = found.true != NONE
    _, speaker = np.unique(np.asarray(found.speakers)[kept], return_inverse=True)
    count = len(found.emotions)
    cells = np.zeros((int(speaker.max(initial=-1)) + 1, count, count), dtype=np.int64)
    np.add.at(cells, (speaker, found.true[kept], found.shares[kept].argmax(1)), 1)
    return cells


def emotion_figures(found: Targets) -> dict[str, Interval]:
    """Unweighted recall, accuracy (weighted recall), macro F1, and the calibration error of the likeliest emotion.

    Of utterances that are one of the emotions; a class that the split does not hold counts nowhere.
    """
    cells = _cells(found)
    n = int(cells.sum())
    point, drawn = _of_cells(cells.sum(0)), _of_cells(np.einsum("rs,sij->rij", _draws(cells.shape[0]), cells))
    figures = {name: _interval(float(point[name]), drawn[name], n) for name in point}
    kept = found.true != NONE
    shares, true = found.shares[kept], found.true[kept]
    right = (shares.argmax(1) == true).astype(np.int64)
    figures["ECE"] = _over_speakers(
        lambda rows: calibration_error(right[rows], shares.max(1)[rows]), np.asarray(found.speakers)[kept]
    )
    return figures


def _of_cells(cells: NDArray[np.int64] | Floats) -> dict[str, Floats]:
    """The figures of (..., emotions, emotions) matrices."""
    matrix = np.asarray(cells, dtype=np.float64)
    right, are, called = np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1), matrix.sum(-2)
    there = are > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.where(there, right / are, np.nan)
        f1 = np.where(there, 2 * right / (are + called), np.nan)
    return {
        "unweighted recall": np.nanmean(recall, axis=-1),
        "accuracy": right.sum(-1) / np.maximum(are.sum(-1), 1),
        "macro F1": np.nanmean(f1, axis=-1),
    }


def concordance(rated: Floats, said: Floats) -> float:
    """Lin's concordance correlation coefficient of (n,) ratings; NaN without any spread.

    Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45 (1989).
    """
    spread = rated.var() + said.var() + (rated.mean() - said.mean()) ** 2
    if rated.size < 2 or spread == 0.0:
        return math.nan
    return float(2 * ((rated - rated.mean()) * (said - said.mean())).mean() / spread)


def dimension_figures(found: Targets) -> dict[str, Interval]:
    """The concordance of each dimension with its ratings, of utterances that were rated."""
    figures = {}
    for at, name in enumerate(found.dimensions):
        kept = ~np.isnan(found.rated[:, at])
        rated, said = found.rated[kept, at], found.said[kept, at]
        figures[f"CCC {name}"] = _over_speakers(
            lambda rows, rated=rated, said=said: concordance(rated[rows], said[rows]),  # type: ignore[misc]
            np.asarray(found.speakers)[kept],
        )
    return figures


def figures_of(found: Targets) -> dict[str, Interval]:
    """All of them, of what there is."""
    return (emotion_figures(found) if found.emotions else {}) | dimension_figures(found)


def main_figure(found: Targets) -> float:
    """What chooses the epoch: unweighted recall, or the mean concordance; 0 where there is none."""
    values = []
    if found.emotions:
        values.append(float(_of_cells(confusion(found))["unweighted recall"]))
    for at in range(len(found.dimensions)):
        kept = ~np.isnan(found.rated[:, at])
        values.append(concordance(found.rated[kept, at], found.said[kept, at]))
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0


def _draws(groups: int) -> NDArray[np.int64]:
    """(RESAMPLES, groups) how often each speaker is drawn."""
    return np.random.default_rng(0).multinomial(groups, np.full(groups, 1.0 / groups), size=RESAMPLES)


def _over_speakers(figure: Callable[[NDArray[np.int64]], float], speakers: NDArray[np.str_]) -> Interval:
    names, inverse = np.unique(speakers, return_inverse=True)
    members = [np.flatnonzero(inverse == i) for i in range(names.size)]
    different, times = np.unique(_draws(names.size), axis=0, return_counts=True)
    values = [figure(np.concatenate([np.tile(members[i], n) for i, n in enumerate(draw) if n])) for draw in different]
    return _interval(figure(np.arange(inverse.size)), np.repeat(values, times), int(inverse.size))


def _interval(value: float, drawn: Floats, n: int) -> Interval:
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if not np.isnan(drawn).all() else (math.nan, math.nan)
    return Interval(value, float(low), float(high), n)
