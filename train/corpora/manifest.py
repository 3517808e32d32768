"""The manifest of a corpus: one utterance a line, whatever layout the corpus came in."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.files import TABLE_BYTES, contents, save_atomic

SPLITS = ("train", "validation", "test")
NAME = "manifest.csv"
LICENCE = "licence.json"  # beside it, where the data says what it is


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled utterance; `start_s` and `end_s` are its place in the dialogue, 0 to its length without one."""

    utterance: str
    corpus: str
    session: int  # 0: the corpus has none
    speaker: str
    gender: str  # F, M or nothing
    dialogue: str
    path: str  # of its own recording; nothing in a corpus of text
    start_s: float
    end_s: float
    label: str
    sad: int
    transcript: str
    split: str
    valence: float | None = None  # how people rated it, -1 to 1, 0 neutral; None: nobody did
    arousal: float | None = None
    dominance: float | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from its first to its last sample."""
        return self.end_s - self.start_s

    def rating(self, dimension: str) -> float | None:
        """How it was rated in one of RATINGS."""
        return {"valence": self.valence, "arousal": self.arousal, "dominance": self.dominance}[dimension]


RATINGS = ("valence", "arousal", "dominance")  # columns of a corpus that has some
COLUMNS = tuple(field.name for field in fields(Utterance) if field.name not in RATINGS)


@dataclass(frozen=True, slots=True)
class CorpusManifest:
    """The utterances of one corpus in the order of their names, and the hash that stands for all of it."""

    rows: tuple[Utterance, ...]
    sha256: str

    @property
    def corpus(self) -> str:
        """The corpus's name."""
        return self.rows[0].corpus


def as_bytes(rows: Sequence[Utterance]) -> bytes:
    """The manifest as a CSV file; times in milliseconds' precision."""
    rated = any(row.rating(name) is not None for row in rows for name in RATINGS)
    columns = (*COLUMNS, *RATINGS) if rated else COLUMNS
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in sorted(rows, key=lambda row: row.utterance):
        cells = [f"{value:.4f}" if isinstance(value, float) else value for value in astuple(row)]
        writer.writerow(cells[: len(columns)])
    return text.getvalue().encode()


def write(path: Path, rows: Sequence[Utterance]) -> CorpusManifest:
    """Write a manifest whole or not at all."""
    content = as_bytes(rows)
    save_atomic(path, content)
    return parse(content, str(path))


def write_licence(manifest: Path, sha256: str, licence: str) -> None:
    """Keep a data's licence beside its manifest, bound to the manifest's content; an empty one takes it away."""
    path = manifest.with_name(LICENCE)
    if licence:
        save_atomic(path, (json.dumps({"licence": licence, "manifest_sha256": sha256}) + "\n").encode())
    else:
        path.unlink(missing_ok=True)


def licence_of(manifest: Path, sha256: str) -> str | None:
    """The licence that stands beside a manifest and is this one's; None where nothing does."""
    path = manifest.with_name(LICENCE)
    try:
        kept = json.loads(contents(path)[0])
        return str(kept["licence"]) if kept["manifest_sha256"] == sha256 else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise DataError(f"{path}: cannot be read; prepare the corpus again, or delete it") from None


def read(path: Path) -> CorpusManifest:
    """The manifest in a file, or in the folder that holds it."""
    path = path / NAME if path.is_dir() else path
    try:
        return parse(contents(path, TABLE_BYTES)[0], str(path))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no manifest; `sadstream-train prepare` makes one") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def parse(content: bytes, where: str) -> CorpusManifest:
    """The manifest in these bytes; DataError names the line and column that is not one."""
    try:
        lines = list(csv.DictReader(io.StringIO(content.decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: not a manifest: {error}") from None
    if lines and tuple(lines[0]) not in (COLUMNS, (*COLUMNS, *RATINGS)):
        raise DataError(f"{where}: columns {', '.join(map(str, lines[0]))}: expected {', '.join(COLUMNS)}")
    rows = tuple(_row(line, f"{where}: line {number}") for number, line in enumerate(lines, start=2))
    if not rows:
        raise DataError(f"{where}: no utterances: expected one a line")
    names = [row.utterance for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: {twice} stands there twice: expected every utterance once")
    return CorpusManifest(rows, hashlib.sha256(content).hexdigest())


def _row(line: dict[str, str], where: str) -> Utterance:
    if None in line.values() or None in line:
        raise DataError(f"{where}: too few or too many cells: expected {', '.join(COLUMNS)}")
    try:
        row = Utterance(
            utterance=line["utterance"],
            corpus=line["corpus"],
            session=int(line["session"]),
            speaker=line["speaker"],
            gender=line["gender"],
            dialogue=line["dialogue"],
            path=line["path"],
            start_s=float(line["start_s"]),
            end_s=float(line["end_s"]),
            label=line["label"],
            sad=int(line["sad"]),
            transcript=line["transcript"] or "",
            split=line["split"],
            **{name: float(line[name]) for name in RATINGS if line.get(name)},
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}: expected {', '.join(COLUMNS)}") from None
    if row.sad not in (0, 1):
        raise DataError(f"{where}: sad = {row.sad}: expected 0 or 1")
    if row.split not in SPLITS:
        raise DataError(f"{where}: split = {row.split!r}: expected {', '.join(SPLITS)}")
    if not row.utterance or not row.speaker:
        raise DataError(f"{where}: expected an utterance's and a speaker's name")
    if not 0.0 <= row.start_s <= row.end_s:
        raise DataError(f"{where}: {row.start_s} to {row.end_s} s: expected a start before an end")
    for name in RATINGS:
        if not -1.0 <= (row.rating(name) or 0.0) <= 1.0:
            raise DataError(f"{where}: {name} = {row.rating(name)}: expected -1 to 1, or nothing")
    return row
