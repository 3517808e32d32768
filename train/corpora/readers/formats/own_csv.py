"""A user's own corpus: one CSV file with at least path (or transcript), speaker and sad, one utterance a line."""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.files import TABLE_BYTES, contents
from sadstream.base.progress import progress
from train.corpora.folds import dealt
from train.corpora.guards import check_splits
from train.corpora.manifest import RATINGS, SPLITS, Utterance
from train.corpora.reading import FoundCorpus, length_s, reason_of, segment_place, sound_problem

EXPECTED = (
    "columns path or transcript, speaker, sad (0 or 1) or label; also utterance, gender, dialogue, split, and ratings: "
    "valence, arousal, dominance"
)
CORPUS = "csv"
SAD_LABELS = frozenset({"sad", "sadness"})
YES, NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
NOTHING = frozenset({"nan", "none", "null", "n/a"})  # what programs write where there is no transcript
SPLIT_NAMES = {
    **{split: split for split in SPLITS},
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validate", "development"), "validation"),
    **dict.fromkeys(("testing", "eval", "evaluation"), "test"),
}
Cells = dict[str, str]
SHOWN = 40  # letters of a cell that is no good


@dataclass(frozen=True, slots=True)
class UtteranceTable:
    """The lines of a table by column, columns in small letters; `notes` say how it was read."""

    path: Path
    lines: tuple[tuple[int, Cells], ...]  # with their numbers in the file
    columns: frozenset[str]
    notes: tuple[str, ...]
    unit: str = "line"  # that the numbers count
    licence: str = ""  # of the data, where it says so itself


def read(path: Path) -> FoundCorpus:
    """The utterances of a CSV file, or of manifest.csv in a folder; paths are relative to the file.

    Without a column `split` speakers are dealt out (`corpora.folds.dealt`), so that a speaker never stands in two.
    DataError when the splits that are given, or can be dealt, are none to train with.
    """
    return utterances(read_table(path / "manifest.csv" if path.is_dir() else path), CORPUS)


def utterances(table: UtteranceTable, corpus: str) -> FoundCorpus:
    """The utterances of a table, whatever it was read from; see `read`."""
    path = table.path
    given = {bool(cells.get("split")) for _, cells in table.lines}
    if given == {True, False}:
        missing = next(number for number, cells in table.lines if not cells.get("split"))
        raise DataError(f"{path}: {table.unit} {missing}: no split, where others have one: give it for all or for none")
    rows: list[Utterance] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    with progress("recordings", len(table.lines)) as advance:
        for number, cells in table.lines:
            found = _utterance(path, cells, number, corpus)
            trouble = found if isinstance(found, str) else _again(found, number, seen, table.unit)
            if trouble:
                problems.append(f"{path}: {table.unit} {number}: {trouble}; left out")
            elif isinstance(found, Utterance):
                rows.append(found)
            advance()
    if not rows:
        return FoundCorpus((), tuple(problems))
    rows, notes = _one_name_each(rows)
    try:
        if given == {False}:
            rows, said = dealt(rows, str(path))
            notes.append(said)
        check_splits(rows, str(path))
    except DataError as error:
        lost = f"; left out: {len(problems):,}, the first: {problems[0]}" if problems else ""
        raise DataError(f"{error}{lost}") from None
    segments = any(_is_segment(cells) for _, cells in table.lines)
    understood = (*table.notes, *_labels(rows, table.columns), *notes)
    return FoundCorpus(tuple(rows), tuple(problems), understood, segments, table.licence)


def read_table(path: Path) -> UtteranceTable:
    """A CSV file as people have it: commas, semicolons or tabs, any line ends, UTF-8, UTF-16 or Latin-1."""
    try:
        content, _ = contents(path, TABLE_BYTES)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file: expected a CSV file with {EXPECTED}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {reason_of(error)}") from None
    text, notes = _decoded(path, content)
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    try:
        cells = _cells(path, text, delimiter)
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}: expected {EXPECTED}") from None
    columns = [name.strip().lower() for name in cells[0][1]] if cells else []
    columns = ["label" if name == "emotion" and "label" not in columns else name for name in columns]
    known = set(columns)
    if not ({"speaker"} <= known and known & {"sad", "label"} and known & {"path", "transcript"}):
        raise DataError(f"{path}: columns {', '.join(filter(None, columns)) or 'none'}: expected {EXPECTED}")
    twice = next((name for name, count in Counter(columns).items() if name and count > 1), None)
    if twice:
        raise DataError(f"{path}: column {twice} stands there twice: expected each once")
    lines = tuple(_lines(path, columns, cells[1:]))
    if not lines:
        raise DataError(f"{path}: no utterances: expected one a line under the columns")
    return UtteranceTable(path, lines, frozenset(known), notes)


def _decoded(path: Path, content: bytes) -> tuple[str, tuple[str, ...]]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace"), ()
    if b"\0" in content:
        raise DataError(f"{path}: not text: expected a CSV file with {EXPECTED}")
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), (f"{path}: not UTF-8; read as Latin-1 (Windows-1252)",)


def _cells(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows, each with the line on which it begins: a quoted cell may hold line ends."""
    begin, rows = 1, []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for row in reader:
        rows.append((begin, row))
        begin = reader.line_num + 1
    begin, strict = 1, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for _ in strict:
            begin = strict.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):  # all that follows would be one cell
            raise DataError(f"{path}: line {begin}: a quote is opened and never closed: expected another") from None
    return rows


def _lines(path: Path, columns: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> list[tuple[int, Cells]]:
    lines = []
    for number, row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            raise DataError(
                f"{path}: line {number}: {len(row)} cells: expected {len(columns)}; "
                "put quotes around a cell that holds the separator"
            )
        plain = (
            cell.strip() if name == "path" else " ".join(cell.split()) for name, cell in zip(columns, row, strict=False)
        )
        lines.append((number, dict(zip(columns, plain, strict=False))))
    return lines


def _utterance(file: Path, cells: Cells, number: int, corpus: str) -> Utterance | str:
    sad, label, speaker = cells.get("sad", ""), cells.get("label", ""), cells.get("speaker", "")
    if not speaker:
        return "no speaker"
    said = sad.lower() if sad else str(int(label.lower() in SAD_LABELS)) if label else ""
    if said not in YES | NO:
        return f"sad = {sad[:SHOWN]!r}: expected 0 or 1" if sad else "neither sad (0 or 1) nor a label"
    split = SPLIT_NAMES.get(cells.get("split", "").lower(), "")
    if cells.get("split") and not split:
        return f"split = {cells['split'][:SHOWN]!r}: expected {', '.join(SPLITS)}"
    recording = recording_at(file.parent, cells["path"]) if cells.get("path") else None
    transcript = "" if cells.get("transcript", "").lower() in NOTHING else cells.get("transcript", "")
    if recording is None and not transcript:
        return "neither a recording nor a transcript"
    place = _place(recording, cells)
    if isinstance(place, str) or (trouble := _rating_problem(cells)):
        return place if isinstance(place, str) else trouble
    valence, arousal, dominance = (_rating(cells.get(name, "")) for name in RATINGS)
    return Utterance(
        utterance=cells.get("utterance") or f"{file.stem}_{number:06d}",
        corpus=corpus,
        session=0,
        speaker=speaker,
        gender=cells.get("gender", "").upper()[:1],
        dialogue=cells.get("dialogue") or (cells.get("path", "") if _is_segment(cells) else ""),
        path=str(recording.resolve()) if recording else "",
        start_s=place[0],
        end_s=place[1],
        label=label or ("sad" if said in YES else "other"),
        sad=int(said in YES),
        transcript=transcript,
        split=split or "train",
        valence=valence,
        arousal=arousal,
        dominance=dominance,
    )


def _rating_problem(cells: Cells) -> str:
    for name in RATINGS:
        written = cells.get(name, "")
        if _rating(written) is None and written and written.lower() not in NOTHING:
            return f"{name} = {written[:SHOWN]!r}: expected a number from -1 to 1, or nothing"
    return ""


def _rating(written: str) -> float | None:
    """A rating as it is written down; None for nothing, and for what is none."""
    try:
        rating = float(written.replace(",", "."))
    except ValueError:
        return None
    return rating if -1.0 <= rating <= 1.0 else None


def _is_segment(cells: Cells) -> bool:
    return bool(cells.get("from_s") or cells.get("to_s"))


def _place(recording: Path | None, cells: Cells) -> tuple[float, float] | str:
    """(start, end) of an utterance in its recording, seconds, all of which was heard; or why it is no good."""
    numbers = {}
    for name in ("duration_s", "from_s", "to_s"):
        seconds = _seconds(cells.get(name, ""))
        if seconds is None:
            return f"{name} = {cells[name][:SHOWN]!r}: expected seconds, or nothing"
        numbers[name] = seconds
    if recording is None:
        return 0.0, 0.0
    if not _is_segment(cells):
        return sound_problem(recording, numbers["duration_s"]) or (0.0, length_s(recording))
    return segment_place(recording, numbers["from_s"], numbers["to_s"])


def recording_at(folder: Path, written: str) -> Path:
    """The recording that a cell names: `~` is the home, a relative path starts at the table, `\\` will do for `/`."""
    try:
        path = folder / Path(written).expanduser()
        turned = folder / Path(written.replace("\\", "/")).expanduser()
        return turned if "\\" in written and not path.exists() else path
    except (OSError, ValueError, RuntimeError):  # no home; a name that no file can have is said where it is opened
        return folder / written


def _seconds(written: str) -> float | None:
    """Seconds that are written down, 0 where nothing is; None for what is no length."""
    if not written or written.lower() in NOTHING:
        return 0.0
    try:
        seconds = float(written.replace(",", "."))
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < math.inf else None


def _one_name_each(rows: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """Speakers whose names differ in case or in how a number is written are one: apart they could leak."""
    spellings: dict[str, set[str]] = {}
    for row in rows:
        spellings.setdefault(_same(row.speaker), set()).add(row.speaker)
    name = {key: sorted(found)[0] for key, found in spellings.items()}
    notes = [
        f"speakers {', '.join(sorted(found))} are taken for one; rename them if they are not"
        for found in spellings.values()
        if len(found) > 1
    ]
    return [replace(row, speaker=name[_same(row.speaker)]) for row in rows], notes


def _same(speaker: str) -> str:
    try:
        number = float(speaker)
    except ValueError:
        return speaker.casefold()
    return str(int(number)) if number.is_integer() else speaker.casefold()


def _again(row: Utterance, number: int, seen: dict[str, int], unit: str) -> str:
    """That this utterance or its recording stands in an earlier line, or nothing."""
    part = f", {row.start_s:g} to {row.end_s:g} s" if row.start_s or row.dialogue else ""
    for value in filter(None, (f"utterance {row.utterance}", f"recording {row.path}{part}" if row.path else "")):
        if (first := seen.setdefault(value, number)) != number:
            return f"{value} stands in {unit} {first} already"
    return ""


def _labels(rows: Sequence[Utterance], columns: frozenset[str]) -> tuple[str, ...]:
    """How labels were understood, where no column `sad` says it."""
    if "sad" in columns:
        return ()
    counted = Counter((row.sad, row.label) for row in rows)
    sad, other = (
        ", ".join(f"{label} {count:,}" for (is_sad, label), count in sorted(counted.items()) if is_sad == wanted)
        for wanted in (1, 0)
    )
    return (f"labels counted as sad: {sad or 'none'}; as not sad: {other or 'none'}",)
