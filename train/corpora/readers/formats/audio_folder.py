"""A Hugging Face `datasets` folder of sound: recordings, and metadata.csv or metadata.jsonl beside them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from sadstream.base.errors import DataError
from sadstream.base.files import TABLE_BYTES, contents
from train.corpora.readers.formats.own_csv import SPLIT_NAMES, Cells, UtteranceTable, utterances
from train.corpora.reading import FoundCorpus, expect_files, reason_of

CORPUS = "audiofolder"
NAMES = ("metadata.csv", "metadata.jsonl")
# What people call these columns; the first that is there counts.
COLUMNS = {
    "path": ("file_name", "audio", "path"),
    "speaker": ("speaker", "speaker_id", "spk", "client_id", "actor"),
    "label": ("label", "emotion", "major_emotion", "sentiment"),
    "sad": ("sad",),
    "transcript": ("transcript", "transcription", "text", "sentence"),
    "gender": ("gender", "sex"),
    "split": ("split",),
}


def read(root: Path) -> FoundCorpus:
    """The utterances of all metadata files; a folder called train, validation or test, or a column, is the split."""
    expect_files(root, "a folder of sound as `datasets` reads it", [f"**/{name}" for name in NAMES])
    found = sorted(path for name in NAMES for path in root.rglob(name))
    lines = [(number, cells) for path in found for number, cells in _lines(root, path)]
    for needed in ("speaker", "label"):
        if not any(cells.get(needed) or (needed == "label" and cells.get("sad")) for _, cells in lines):
            names = " or ".join((*COLUMNS[needed], *(("sad",) if needed == "label" else ())))
            raise DataError(f"{found[0]}: nobody's {needed}: expected a column {names}")
    if all(cells.get("label", "").isdigit() for _, cells in lines) and not any(cells.get("sad") for _, cells in lines):
        raise DataError(f"{found[0]}: label: numbers alone: expected names, such as sad, or a column sad of 0 and 1")
    columns = frozenset(key for _, cells in lines for key in cells)
    licence = _licence(root)
    if licence is None:
        note = f"{root}: no README.md, so nobody says here what the data may be used for"
    else:
        note = f"licence of the data: {licence or 'not named in README.md'}"
    table = UtteranceTable(root / found[0].name, tuple(lines), columns, (note,), licence=licence or "")
    return utterances(table, CORPUS)


def _lines(root: Path, path: Path) -> Iterator[tuple[int, Cells]]:
    """The lines of one metadata file with their numbers; paths from the root on."""
    folder = path.parent.relative_to(root)
    split = next((SPLIT_NAMES[part.lower()] for part in folder.parts if part.lower() in SPLIT_NAMES), "")
    for number, line in _records(path):
        plain = {key.strip().lower(): " ".join(str(value).split()) for key, value in line.items() if value is not None}
        cells = {name: next((plain[key] for key in keys if plain.get(key)), "") for name, keys in COLUMNS.items()}
        cells["path"] = str(folder / cells["path"]) if cells["path"] else ""
        cells["utterance"] = cells["path"]
        cells["split"] = cells["split"] or split
        yield number, {name: value for name, value in cells.items() if value}


def _records(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        text = contents(path, TABLE_BYTES)[0].decode("utf-8-sig")
        if path.suffix == ".csv":
            reader = csv.DictReader(text.splitlines())
            yield from ((number, dict(line)) for number, line in enumerate(reader, start=2))
            return
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield number, dict(json.loads(line))
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {reason_of(error)}") from None


def _licence(root: Path) -> str | None:
    """What the data's card says of its licence, in the lines between its dashes; None without a card."""
    try:
        text = (root / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head = text.split("---")[1].splitlines() if text.startswith("---") and text.count("---") > 1 else []
    return next((line.partition(":")[2].strip() for line in head if line.startswith("license:")), "")
