"""A fold of EmoBox: NAME_train_fold_K.jsonl, NAME_test_fold_K.jsonl and, for some, NAME_valid_fold_K.jsonl.

Ma et al., "EmoBox: multilingual multi-corpus speech emotion recognition toolkit and benchmark", Interspeech 2024. Its
manifests name no speakers, and none is tested fairly without: they are read from the utterances' names where a corpus
has them there, else from speakers.csv (key, speaker) beside the folds.
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

from sadstream.base.errors import DataError
from sadstream.base.files import TABLE_BYTES, contents
from train.corpora.folds import units
from train.corpora.manifest import Utterance
from train.corpora.readers.formats.own_csv import SAD_LABELS, Cells, UtteranceTable, utterances
from train.corpora.reading import FoundCorpus, expect_files, reason_of

PREFIX = "emobox-"  # before the corpus's own name, whose licence it keeps
SPEAKERS = "speakers.csv"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
# Where an utterance's name says who speaks: all groups of it together.
NAMED: Mapping[str, str] = {
    "iemocap": r"(Ses\d\d)[FM]_.*_([FM])\d+$",
    "cremad": r"(\d{4})_[A-Z]{3}_[A-Z]{3}_",
    "ravdess": r"(?:\d\d-){6}(\d\d)$",
    "emodb": r"(\d\d)[a-z]\d\d[A-Z]",
    "esd": r"(\d{4})_\d{6}$",
    "savee": r"(DC|JE|JK|KL)_?[a-z]+\d+",
}


def read(folder: Path) -> FoundCorpus:
    """The utterances of a fold's folder, recordings below the EmoBox folder that it lies in.

    Without a file for validation, a fifth of the training speakers, at least one, validates. DataError where nobody
    knows who speaks.
    """
    expect_files(folder, "a fold of EmoBox, such as data/iemocap/fold_1", ("*_train_fold_*.jsonl",))
    root, dataset = _root(folder), ""
    known = _speakers(folder)
    lines: list[tuple[int, Cells]] = []
    for path in sorted(folder.glob("*_fold_*.jsonl")):
        split = next((ours for theirs, ours in SPLITS.items() if f"_{theirs}_fold_" in path.name), None)
        if split is not None:
            records = _records(path)
            dataset = str(records[0][1].get("dataset", "")) if records else dataset
            lines += [(number, _cells(record, split, known, path, number)) for number, record in records]
    has_validation = any(cells["split"] == "validation" for _, cells in lines)
    if not has_validation:
        lines = _validated(lines)
    table = UtteranceTable(root / folder.name, tuple(lines), frozenset(lines[0][1]), ())
    return utterances(table, f"{PREFIX}{dataset}")


def _root(folder: Path) -> Path:
    """Where `downloads/` lies, which the manifests' paths begin with; else the folder itself."""
    return next((parent for parent in folder.resolve().parents if (parent / "downloads").is_dir()), folder)


def _records(path: Path) -> list[tuple[int, dict[str, object]]]:
    try:
        text = contents(path, TABLE_BYTES)[0].decode()
        return [(number, dict(json.loads(line))) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {reason_of(error)}") from None


def _speakers(folder: Path) -> dict[str, str]:
    path = next((place / SPEAKERS for place in (folder, folder.parent) if (place / SPEAKERS).is_file()), None)
    if path is None:
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {line.get("key", ""): line.get("speaker", "") for line in csv.DictReader(file)}


def _cells(record: dict[str, object], split: str, known: Mapping[str, str], path: Path, number: int) -> Cells:
    key, corpus = str(record.get("key", "")), str(record.get("dataset", ""))
    name = key.removeprefix(f"{corpus}-")
    found = re.search(NAMED[corpus], name) if corpus in NAMED else None
    speaker = known.get(key) or known.get(name) or ("".join(found.groups()) if found else "")
    if not speaker:
        raise DataError(
            f"{path}: line {number}: {key}: nobody says who speaks: expected {SPEAKERS} (key, speaker) beside the folds"
        )
    return {
        "utterance": name,
        "path": str(record.get("wav", "")),
        "speaker": speaker,
        "label": str(record.get("emo", "")),
        "duration_s": str(record.get("length", "")),
        "split": split,
    }


def _validated(lines: list[tuple[int, Cells]]) -> list[tuple[int, Cells]]:
    """A fifth of the training speakers, each group with both classes, validates; the fold's test is as it was."""
    rows = [_row(cells) for _, cells in lines if cells["split"] == "train"]
    groups = units(rows)
    chosen = {speaker for group in groups[: max(1, len(groups) // 5)] for speaker in group}
    for _, cells in lines:
        if cells["split"] == "train" and cells["speaker"] in chosen:
            cells["split"] = "validation"
    return lines


def _row(cells: Cells) -> Utterance:
    sad, label = int(cells["label"].lower() in SAD_LABELS), cells["label"]
    return Utterance(cells["utterance"], "", 0, cells["speaker"], "", "", "", 0.0, 0.0, label, sad, "", "train")
