"""A database of audformat: db.yaml, and a table db.NAME.csv for each that it names; nothing of the library is needed.

Wagner, Burkhardt, Wierstorf and others, audformat (audEERING): tables index files, or segments of them with a start and
an end as pandas writes a Timedelta; schemes say what a column holds.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from sadstream.base.errors import DataError, UsageError
from sadstream.base.files import TABLE_BYTES, contents, table_text
from train.corpora.readers.formats.own_csv import SAD_LABELS, SPLIT_NAMES, Cells, UtteranceTable, utterances
from train.corpora.reading import FoundCorpus, expect_files, reason_of

HEADER = "db.yaml"
EMOTION = "emotion"
SPOKEN = ("transcription", "transcript", "text", "words")
GENDER = ("gender", "sex")
RATED = {"valence": ("valence",), "arousal": ("arousal", "activation"), "dominance": ("dominance",)}
SPAN = re.compile(r"(?:(\d+) days? ?)?(?:\+?(\d+):(\d\d):(\d\d(?:\.\d+)?))?")
Facts: TypeAlias = Mapping[str, Any]  # a part of db.yaml
Place: TypeAlias = tuple[str, str, str]  # file, start, end as they are written; nothing: the whole file


@dataclass(frozen=True, slots=True)
class _EmotionTable:
    """A table as the header describes it, with the split that it is of."""

    name: str
    columns: tuple[tuple[str, str], ...]  # with their schemes
    split: str
    path: Path

    def lines(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Its lines with their numbers."""
        if not self.path.is_file():
            others = [p for p in (self.path.with_suffix(".parquet"), self.path.with_suffix(".pkl")) if p.is_file()]
            found = f"there is {others[0].name}, which is not read: " if others else ""
            raise DataError(
                f"{self.path}: no such table: {found}expected CSV, as `db.save(folder, storage_format='csv')` writes it"
            )
        try:
            for number, line in enumerate(csv.DictReader(table_text(self.path)), start=2):
                yield number, {key: value or "" for key, value in line.items() if key}
        except (OSError, UnicodeDecodeError, csv.Error, TypeError, AttributeError) as error:
            raise DataError(f"{self.path}: cannot be read: {reason_of(error)}") from None


@dataclass(frozen=True, slots=True)
class _TableColumn:
    """A column of a table."""

    table: _EmotionTable
    name: str

    def values(self) -> Iterator[tuple[int, Place, str]]:
        """(line, place, value) wherever it has one."""
        for number, line in self.table.lines():
            if line.get(self.name):
                yield number, (line.get("file", ""), line.get("start", ""), line.get("end", "")), line[self.name]

    def __str__(self) -> str:
        return f"{self.table.name}.{self.name}"


def read(root: Path, label: str | None = None) -> FoundCorpus:
    """The utterances of the tables with emotions; segments are cut out by `prepare`.

    label: which column says the emotion (COLUMN or TABLE.COLUMN); else the one of the scheme `emotion`.
    """
    expect_files(root, "a database of audformat", (HEADER,))
    header = _header(root / HEADER)
    tables = _tables(root, header)
    columns = _emotions(root, header, tables, label)
    speaker, words = _of_places(tables, ("speaker", "speaker_id")), _of_places(tables, SPOKEN)
    gender, meant = _genders(header, tables), _meaning(header, columns[0])
    if not speaker:
        raise DataError(f"{root / HEADER}: nobody's speaker: expected a column of scheme speaker in one of its tables")
    rated = {name: _ratings(header, tables, schemes) for name, schemes in RATED.items()}
    lines: list[tuple[int, Cells]] = []
    for column in columns:
        for number, place, value in column.values():
            said = meant.get(value, value)
            cells = {"label": said, "speaker": _at(speaker, place), "transcript": _at(words, place)}
            cells |= {"gender": gender.get(cells["speaker"], ""), "split": column.table.split}
            cells |= {name: _at(found, place) for name, found in rated.items()}
            lines.append((number, {key: text for key, text in (cells | _where(place, column.table)).items() if text}))
    path = columns[0].table.path if len(columns) == 1 else root / "db.*.csv"
    table = UtteranceTable(path, tuple(lines), frozenset(key for _, cells in lines for key in cells), ())
    read_ = utterances(table, _name(header))
    notes = (f"emotions from {', '.join(map(str, columns))}", *_licence(root, header), *read_.notes)
    return replace(read_, notes=notes, licence=str(header.get("license") or ""))


def _header(path: Path) -> Facts:
    import yaml

    try:
        found = yaml.safe_load(contents(path, TABLE_BYTES)[0])
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(reason_of(error).split())}") from None
    tables = found.get("tables") if isinstance(found, dict) else None
    if not isinstance(tables, dict):
        raise DataError(f"{path}: no tables: expected the header of a database of audformat")
    return dict(found)


def _part(facts: Facts, name: str) -> Facts:
    found = facts.get(name)
    return found if isinstance(found, dict) else {}


def _name(header: Facts) -> str:
    return "audformat-" + re.sub(r"[^a-z0-9]+", "-", str(header.get("name", "")).lower()).strip("-")


def _tables(root: Path, header: Facts) -> list[_EmotionTable]:
    splits = _part(header, "splits")
    found = []
    for name in header["tables"]:
        facts = _part(header["tables"], name)
        columns = _part(facts, "columns")
        schemes = tuple((str(column), str(_part(columns, column).get("scheme_id") or column)) for column in columns)
        found.append(_EmotionTable(str(name), schemes, _split(str(name), facts, splits), root / f"db.{name}.csv"))
    return found


def _split(name: str, facts: Facts, splits: Facts) -> str:
    """By the type of the table's split, the split's name, or a word of the table's own."""
    split = str(facts.get("split_id") or "")
    words = [str(_part(splits, split).get("type", "")), split, *re.split(r"[._-]", name)]
    return next((SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES), "")


def _emotions(root: Path, header: Facts, tables: Sequence[_EmotionTable], label: str | None) -> list[_TableColumn]:
    """One column of each table that has it; where some tables are splits, of those alone."""
    every = [(_TableColumn(table, name), scheme) for table in tables for name, scheme in table.columns]
    if label is None:
        chosen = [column for column, scheme in every if scheme == EMOTION]
        chosen = chosen or [column for column, scheme in every if _names_sadness(header, scheme)]
        asked = f"a scheme called {EMOTION}, or one with the label sad or sadness; --label says which column it is"
    else:
        chosen = [column for column, _ in every if label in (column.name, str(column))]
        asked = f"--label {label} among {', '.join(str(column) for column, _ in every) or 'no columns'}"
        if not chosen:
            raise UsageError(f"{root / HEADER}: no such column: expected {asked}")
    if not chosen:
        schemes = ", ".join(_part(header, "schemes")) or "none"
        raise DataError(f"{root / HEADER}: nobody's emotion: expected {asked}; its schemes: {schemes}")
    chosen = [column for column in chosen if column.table.split] or chosen
    if len({column.name for column in chosen}) > 1 and all(column.name != EMOTION for column in chosen):
        several = ", ".join(map(str, chosen))
        raise UsageError(f"{root / HEADER}: several columns of emotions: {several}: choose one with --label")
    names = {column.name for column in chosen}
    return [column for column in chosen if len(names) == 1 or column.name == EMOTION]


def _names_sadness(header: Facts, scheme: str) -> bool:
    labels = _part(_part(header, "schemes"), scheme).get("labels")
    return isinstance(labels, dict | list) and any(str(one).lower() in SAD_LABELS for one in labels)


def _meaning(header: Facts, column: _TableColumn) -> dict[str, str]:
    """What a scheme's codes (numbers, letters) stand for, where it says so; a label in words is its own meaning."""
    scheme = dict(column.table.columns)[column.name]
    labels = _part(_part(header, "schemes"), scheme).get("labels")
    meant = {}
    for code, facts in labels.items() if isinstance(labels, dict) else ():
        said = facts.get("description") if isinstance(facts, dict) else facts
        if len(str(code)) <= 2 and isinstance(said, str):
            meant[str(code)] = said
    return meant


def _of_places(tables: Sequence[_EmotionTable], schemes: Sequence[str]) -> dict[Place, str]:
    """What the columns of these schemes say of each place."""
    found: dict[Place, str] = {}
    for table in tables:
        for name, scheme in table.columns:
            if scheme in schemes or name in schemes:
                for _, place, value in _TableColumn(table, name).values():
                    found.setdefault(place, value)
    return found


def _ratings(header: Facts, tables: Sequence[_EmotionTable], schemes: Sequence[str]) -> dict[Place, str]:
    """What was rated, from -1 at the scheme's minimum to 1 at its maximum; nothing where the scheme has none."""
    found: dict[Place, str] = {}
    for scheme in schemes:
        facts = _part(_part(header, "schemes"), scheme)
        low, high = facts.get("minimum"), facts.get("maximum")
        if not isinstance(low, int | float) or not isinstance(high, int | float) or low >= high:
            continue
        for place, value in _of_places(tables, (scheme,)).items():
            try:
                found.setdefault(place, f"{2 * (float(value) - low) / (high - low) - 1:.6g}")
            except ValueError:
                raise DataError(f"{tables[0].path.with_name(HEADER)}: {scheme} {value!r}: expected a number") from None
    return found


def _at(facts: Mapping[Place, str], place: Place) -> str:
    """Of a segment what is said of it, else of its file."""
    return facts.get(place) or facts.get((place[0], "", ""), "")


def _genders(header: Facts, tables: Sequence[_EmotionTable]) -> dict[str, str]:
    """Of speakers, where their scheme's labels say it, or the table that holds these labels."""
    labels = _part(_part(header, "schemes"), "speaker").get("labels")
    if isinstance(labels, dict):
        known = {str(who): facts for who, facts in labels.items() if isinstance(facts, dict)}
        return {who: str(next((facts[key] for key in GENDER if key in facts), "")) for who, facts in known.items()}
    path = tables[0].path.with_name(f"db.{labels}.csv") if tables else Path()
    if not isinstance(labels, str) or not path.is_file():
        return {}
    people = _EmotionTable(labels, (), "", path).lines()
    return {line.get("speaker", ""): next((line[key] for key in GENDER if line.get(key)), "") for _, line in people}


def _where(place: Place, table: _EmotionTable) -> Cells:
    file, start, end = place
    if not start and not end:
        return {"path": file, "utterance": file}
    begin, last = _seconds(start, table), _seconds(end, table)
    return {"path": file, "utterance": f"{file}@{begin or '0'}-{last}", "from_s": begin or "0", "to_s": last}


def _seconds(written: str, table: _EmotionTable) -> str:
    """Seconds of a Timedelta as pandas writes it; nothing where it is none (the end of the file)."""
    if not written or written == "NaT":
        return ""
    found = SPAN.fullmatch(written.strip())
    if not found or not any(found.groups()):
        raise DataError(f"{table.path}: {written!r}: expected a time such as 0 days 00:00:01.5, or nothing")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return f"{days * 86_400 + hours * 3600 + minutes * 60 + seconds:.6f}".rstrip("0").rstrip(".")


def _licence(root: Path, header: Facts) -> tuple[str, ...]:
    said = [str(header[key]) for key in ("license", "license_url") if header.get(key)]
    usage = f", usage {header['usage']}" if header.get("usage") else ""
    if not said:
        return (f"{root / HEADER}: no license, so nobody says here what the data may be used for{usage}",)
    return (f"licence of the data: {' '.join(said)}{usage}",)
