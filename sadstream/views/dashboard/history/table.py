"""The journal as columns in memory, so that a week can be looked at, and looked into, at once."""

import re
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError, MissingFileError

Column = NDArray[np.float64]

TAIL_S = 3600.0  # read again each time: a daemon whose disk failed writes late what waited in memory
FIELDS = ("p_sad", "threshold", "sad", "audio_logit", "text_logit", "mood", "text_used")
WHOLE = (  # without an order: along the index it takes twice as long as a scan and a sort here
    "SELECT time_s, stream, json_extract(event, '$.p_sad', '$.threshold', '$.sad', '$.audio_logit', '$.text_logit', "
    "'$.mood', '$.text_used') FROM score"
)
assert re.findall(r"\$\.(\w+)", WHOLE) == list(FIELDS)
TAIL = f"{WHOLE} WHERE time_s >= ?"
BARE = str.maketrans("", "", "[]")
MAPPED_BYTES = 1 << 30  # of the file that is read without a copy


@dataclass(frozen=True, slots=True)
class Table:
    """Scores by time: Unix seconds, the number of the stream in `streams`, and one column a field; NaN for null."""

    streams: tuple[str, ...]
    time_s: Column
    stream: NDArray[np.int16]
    columns: NDArray[np.float32]  # shape (n, len(FIELDS))

    def column(self, name: str) -> NDArray[np.float32]:
        """One field of all scores."""
        found: NDArray[np.float32] = self.columns[:, FIELDS.index(name)]
        return found

    def of(self, stream: str) -> "Table":
        """One stream's scores."""
        if self.streams == (stream,):
            return self
        chosen = self.stream == (self.streams.index(stream) if stream in self.streams else -1)
        return Table((stream,), self.time_s[chosen], np.zeros(int(chosen.sum()), np.int16), self.columns[chosen])

    def between(self, since_s: float, until_s: float) -> "Table":
        """The scores from one moment to another, without the last."""
        first, last = np.searchsorted(self.time_s, (since_s, until_s))
        return Table(self.streams, self.time_s[first:last], self.stream[first:last], self.columns[first:last])


EMPTY = Table((), np.empty(0), np.empty(0, np.int16), np.empty((0, len(FIELDS)), np.float32))


class Past:
    """A journal that a daemon may be writing, read-only; `table` reads what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table = EMPTY
        self._file: tuple[int, int] | None = None

    def table(self) -> Table:
        """Every score on the disk now; MissingFileError, and DataError for a file that is no journal."""
        try:
            found = self.path.stat()
        except OSError:
            raise MissingFileError(
                f"{self.path}: no such journal; `[journal] path` makes the daemon write one"
            ) from None
        if stat.S_ISFIFO(found.st_mode):
            raise DataError(f"{self.path}: a pipe: expected a journal; name the file that the daemon writes")
        if self._file != (found.st_dev, found.st_ino):
            self._table, self._file = EMPTY, (found.st_dev, found.st_ino)
        try:
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                self._table = _read(connection, self._table)
        except (sqlite3.Error, ValueError, TypeError) as error:  # a column may hold anything
            raise DataError(f"{self.path}: cannot be read as a journal: {error}") from None
        return self._table


def _read(connection: sqlite3.Connection, known: Table) -> Table:
    """What is known and still kept, and then the tail."""
    connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
    (oldest,) = connection.execute("SELECT min(time_s) FROM score").fetchone()
    since_s = float(known.time_s[-1]) - TAIL_S if len(known.time_s) else -np.inf
    rows = connection.execute(*((TAIL, (since_s,)) if len(known.time_s) else (WHOLE,))).fetchall()
    kept = known.between(np.inf if oldest is None else oldest, since_s)
    if not rows:
        return kept
    times, names, values = zip(*rows, strict=True)
    streams = tuple(sorted({*kept.streams, *names}))
    number = {name: at for at, name in enumerate(streams)}
    time_s = np.array(times, np.float64)  # ValueError for what is no number
    order = np.argsort(time_s, kind="stable")
    renumbered = np.array([number[name] for name in kept.streams], np.int16)[kept.stream]
    return Table(
        streams,
        np.concatenate((kept.time_s, time_s[order])),
        np.concatenate((renumbered, np.array([number[name] for name in names], np.int16)[order])),
        np.concatenate((kept.columns, _columns(values)[order])),
    )


def _columns(arrays: Sequence[str]) -> NDArray[np.float32]:
    """JSON arrays of len(FIELDS) numbers, nulls and truths as rows; all at once, since 200,000 parses take 0.5 s."""
    text = ",".join(arrays).translate(BARE).replace("true", "1").replace("false", "0").replace("null", "nan")
    return np.fromstring(text, sep=",").astype(np.float32).reshape(len(arrays), len(FIELDS))
