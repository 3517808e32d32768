"""A user's own corpus: one CSV file with at least path (or transcript), speaker and sad, one utterance a line."""

import csv
import hashlib
from pathlib import Path

from sadstream.errors import DataError
from train.manifest import SPLITS, Utterance
from train.reading import Reading, length_s, sound_problem

EXPECTED = "columns path or transcript, speaker, sad (0 or 1) or label; also utterance, gender, dialogue, split"
SHARES = (70, 15)  # percent of speakers for train and validation where the file names no split


def read(path: Path) -> Reading:
    """The utterances of a CSV file, or of manifest.csv in a folder; paths are relative to the file.

    Without a column `split` speakers are dealt out by a hash of their names, so a speaker never stands in two.
    """
    path = path / "manifest.csv" if path.is_dir() else path
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}: expected {EXPECTED}") from None
    columns = set(lines[0]) if lines else set()
    if not ({"speaker"} <= columns and columns & {"sad", "label"} and columns & {"path", "transcript"}):
        raise DataError(f"{path}: columns {', '.join(sorted(columns)) or 'none'}: expected {EXPECTED}")
    rows, problems = [], []
    for number, line in enumerate(lines, start=2):
        found = _utterance(path, line, number)
        if isinstance(found, str):
            problems.append(f"{path}: line {number}: {found}; left out")
        else:
            rows.append(found)
    return Reading(tuple(rows), tuple(problems))


def _utterance(file: Path, line: dict[str, str], number: int) -> Utterance | str:
    recording = file.parent / line["path"] if line.get("path") else None
    if recording is not None and (trouble := sound_problem(recording)):
        return trouble
    if recording is None and not line.get("transcript"):
        return "neither a recording nor a transcript"
    sad = line.get("sad") or str(int((line.get("label") or "") in ("sad", "sadness")))
    split = {"dev": "validation", "valid": "validation"}.get(line.get("split") or "", line.get("split") or "")
    split = split or split_of(line.get("speaker") or "")
    if sad not in ("0", "1") or split not in SPLITS or not line.get("speaker"):
        return f"sad = {sad!r}, split = {split!r}, speaker = {line.get('speaker')!r}: expected {EXPECTED}"
    return Utterance(
        utterance=line.get("utterance") or f"{file.stem}_{number:06d}",
        corpus="csv",
        session=0,
        speaker=line["speaker"],
        gender=(line.get("gender") or "").upper()[:1],
        dialogue=line.get("dialogue") or "",
        path=str(recording.resolve()) if recording else "",
        start_s=0.0,
        end_s=length_s(recording) if recording else 0.0,
        label=line.get("label") or line.get("emotion") or ("sad" if sad == "1" else "other"),
        sad=int(sad),
        transcript=line.get("transcript") or "",
        split=split,
    )


def split_of(speaker: str) -> str:
    """train, validation or test, always the same for a name."""
    dealt = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big") % 100
    return "train" if dealt < SHARES[0] else "validation" if dealt < sum(SHARES) else "test"
