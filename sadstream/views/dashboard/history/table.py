"""The journal as columns in memory, so that a week can be looked at, and looked into, at once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError
from sadstream.events.journal import Columns, read_columns

Column = NDArray[np.float64]

TAIL_S = 3600.0  # read again each time: a daemon whose disk failed writes late what waited in memory
FIELDS = ("p_sad", "threshold", "sad", "audio_logit", "text_logit", "mood", "text_used")


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores by time: Unix seconds, the number of the stream in `streams`, and one column a field; NaN for null."""

    streams: tuple[str, ...]
    time_s: Column
    stream: NDArray[np.int16]
    columns: NDArray[np.float32]  # shape (n, len(FIELDS))

    def column(self, name: str) -> NDArray[np.float32]:
        """One field of all scores."""
        found: NDArray[np.float32] = self.columns[:, FIELDS.index(name)]
        return found

    def of(self, stream: str) -> "ScoreTable":
        """One stream's scores."""
        if self.streams == (stream,):
            return self
        chosen = self.stream == (self.streams.index(stream) if stream in self.streams else -1)
        return ScoreTable((stream,), self.time_s[chosen], np.zeros(int(chosen.sum()), np.int16), self.columns[chosen])

    def between(self, since_s: float, until_s: float) -> "ScoreTable":
        """The scores from one moment to another, without the last."""
        first, last = np.searchsorted(self.time_s, (since_s, until_s))
        return ScoreTable(self.streams, self.time_s[first:last], self.stream[first:last], self.columns[first:last])


EMPTY = ScoreTable((), np.empty(0), np.empty(0, np.int16), np.empty((0, len(FIELDS)), np.float32))


class JournalReader:
    """A journal that a daemon may be writing, read-only; `table` reads what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table = EMPTY
        self._file: tuple[int, int] | None = None

    def table(self) -> ScoreTable:
        """Every score on the disk now; MissingFileError, and DataError for a file that is no journal."""
        file = _identity(self.path)
        if self._file != file:
            self._table, self._file = EMPTY, file
        known = self._table
        since_s = float(known.time_s[-1]) - TAIL_S if len(known.time_s) else None
        self._table = _grown(self.path, known, since_s, read_columns(self.path, FIELDS, since_s))
        return self._table


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # said by who reads it
        return None
    return found.st_dev, found.st_ino


def _grown(path: Path, known: ScoreTable, since_s: float | None, tail: Columns) -> ScoreTable:
    """What is known and still kept, and then the tail."""
    kept = known if since_s is None else known.between(np.inf if tail.oldest_s is None else tail.oldest_s, since_s)
    if not tail.time_s:
        return kept
    streams = tuple(sorted({*kept.streams, *tail.stream}))
    number = {name: at for at, name in enumerate(streams)}
    time_s = np.array(tail.time_s)
    order = np.argsort(time_s, kind="stable")
    values = np.array(tail.values, np.float64)  # None becomes NaN
    if (np.abs(values) > np.finfo(np.float32).max).any():
        raise DataError(f"{path}: cannot be read as a journal: a number that no daemon wrote")
    renumbered = np.array([number[name] for name in kept.streams], np.int16)[kept.stream]
    return ScoreTable(
        streams,
        np.concatenate((kept.time_s, time_s[order])),
        np.concatenate((renumbered, np.array([number[name] for name in tail.stream], np.int16)[order])),
        np.concatenate((kept.columns, values.T[order].astype(np.float32))),
    )
