"""Scores on disk: SQLite in WAL mode, never the words. A failing disk is announced and costs no score on the wire."""

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from sadstream.base.errors import ConfigError, DataError, MissingFileError
from sadstream.base.logs import CHANGE
from sadstream.events.codec import from_json, to_json
from sadstream.events.types import Score
from sadstream.events.validation import WireError

log = logging.getLogger("sadstream")

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS score (
    time_s REAL NOT NULL, stream TEXT NOT NULL, session TEXT NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (session, stream, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS score_time ON score (time_s);
"""
PENDING = 1000  # scores that wait for the disk to come back; at one per 3 s that is 50 minutes
RETRY_S = 4.0  # between two attempts on a disk that failed
PRUNE_S = 600.0  # between two deletions of what is too old
BUSY_S = 0.2  # for another program's lock
DAY_S = 86_400.0
MAPPED_BYTES = 1 << 30  # of the file that is read without a copy
SCORE_FIELDS = frozenset(field.name for field in fields(Score))  # what `event` holds, by name
NUMBER = (float, int, type(None))  # what a field of numbers comes as
SQLITE = b"SQLite format 3\0"  # how its files begin


class Journal:
    """Written by one thread; `write` never raises for the disk's sake."""

    def __init__(self, path: Path, keep_days: float, retry_s: float = RETRY_S) -> None:
        self.path = path
        self.lost = 0  # scores that will never be on the disk
        self._keep_s = keep_days * DAY_S
        self._pending: deque[Score] = deque()
        self._connection: sqlite3.Connection | None = None
        self._retry_s = retry_s
        self._failed_s: float | None = None
        self._pruned_s = -PRUNE_S

    def write(self, scores: Sequence[Score]) -> None:
        """Put these scores on the disk, after those that wait; while it fails, keep the newest and say so once."""
        self._pending.extend(replace(score, text=None, speaker=None) for score in scores if not score.provisional)
        while len(self._pending) > PENDING:
            self._pending.popleft()
            self.lost += 1
        if self._failed_s is not None and time.monotonic() - self._failed_s < self._retry_s:
            return
        try:
            self._store()
        except (sqlite3.Error, OSError, UnicodeError) as error:  # of a damaged file even the complaint may be no text
            self.close()
            if self._failed_s is None:
                log.error("journal: %s: %s; the scoring goes on, scores wait in memory", self.path, error, extra=CHANGE)
            self._failed_s = time.monotonic()
        else:
            self._pending.clear()
            if self._failed_s is not None:
                log.warning("journal: %s: written again; %d scores lost in all", self.path, self.lost, extra=CHANGE)
            self._failed_s = None

    def close(self) -> None:
        """Let the file go; a later `write` opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _store(self) -> None:
        if self._connection is not None and not self.path.exists():
            self.close()  # somebody deleted it: what is written to it is gone
        if self._connection is None:
            self._connection = _opened(self.path)
        with self._connection as transaction:
            transaction.executemany(
                "INSERT OR IGNORE INTO score VALUES (?, ?, ?, ?, ?)",
                [(unix_s(s.time), s.stream, s.session, s.seq, to_json(s)) for s in self._pending],
            )
            if time.monotonic() - self._pruned_s > PRUNE_S:
                transaction.execute("DELETE FROM score WHERE time_s < ?", (time.time() - self._keep_s,))
                self._pruned_s = time.monotonic()


def check_path(path: Path) -> Path:
    """The path; ConfigError if its folder is not there or cannot be written, so that it is known at the start."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"journal.path = {path}: no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK) or path.is_dir():
        raise ConfigError(f"journal.path = {path}: cannot be written; expected a file in a folder of the daemon's")
    if not path.exists() or path.is_char_device():  # in a device nothing is lost: what it takes or not is said later
        return path
    start = b"no file"
    try:
        if path.is_file():  # a pipe would make us wait
            with path.open("rb") as file:
                start = file.read(len(SQLITE))
    except OSError as error:
        raise ConfigError(f"journal.path = {path}: cannot be read: {error.strerror}") from None
    if start and (start != SQLITE or not _is_journal(path)):
        raise ConfigError(f"journal.path = {path}: there already, and no journal of ours; expected another file")
    return path


def _is_journal(path: Path) -> bool:
    """A database without tables, or with the scores' own; one that is locked or damaged is looked at later."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return True
    return not tables or "score" in tables


def read(path: Path, since_s: float, until_s: float, stream: str | None = None) -> Generator[Score]:
    """The scores of a journal between two Unix times, oldest first, while a daemon may be writing.

    Raises MissingFileError, and DataError for a file that is no journal.
    """
    with _reading(path) as connection:
        rows = connection.execute(
            "SELECT event FROM score WHERE time_s >= ? AND time_s <= ? AND (? IS NULL OR stream = ?) "
            "ORDER BY time_s, stream, seq",
            (since_s, until_s, stream, stream),
        )
        for (event,) in rows:
            score = from_json(event)
            if isinstance(score, Score):
                yield score


def newest_s(path: Path, stream: str | None = None) -> float | None:
    """When the last score of a journal was made, as Unix time; None where there is none. Raises as `read` does."""
    with _reading(path) as connection:
        chosen = "SELECT max(time_s) FROM score WHERE (? IS NULL OR stream = ?)"
        (found,) = connection.execute(chosen, (stream, stream)).fetchone()
    return None if found is None else float(found)


@dataclass(frozen=True, slots=True)
class Columns:
    """Scores as columns, in no order: Unix times, streams, and a column a field, where null is None, truth 1 or 0."""

    oldest_s: float | None  # of the whole journal
    time_s: Sequence[float]
    stream: Sequence[str]
    values: Sequence[Sequence[float | None]]


def read_columns(path: Path, names: Sequence[str], since_s: float | None = None) -> Columns:
    """Number fields of a journal's scores, from one Unix time on or all, while a daemon may be writing.

    200,000 scores of seven fields take 1.5 s of a busy core. Raises as `read`.
    """
    if not set(names) <= SCORE_FIELDS:
        raise ValueError(f"{names}: expected fields of a score")
    # Without an order: along the index it takes twice as long as a scan, and a sort where the columns are.
    extracted = "".join(f", json_extract(event, '$.{name}')" for name in names)
    chosen = "" if since_s is None else "WHERE time_s >= ?"
    with _reading(path) as connection:
        connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        (oldest_s,) = connection.execute("SELECT min(time_s) FROM score").fetchone()
        rows = connection.execute(
            f"SELECT time_s, stream{extracted} FROM score {chosen}",  # noqa: S608 - of names that are ours
            () if since_s is None else (since_s,),
        ).fetchall()
        times, streams, *values = ([row[at] for row in rows] for at in range(2 + len(names)))  # zip takes 0.3 s more
        if not (_all_are(times, float) and _all_are(streams, str) and all(_all_are(v, *NUMBER) for v in values)):
            raise TypeError("a row that no daemon wrote")
    return Columns(oldest_s, times, streams, values)


def _all_are(column: Sequence[object], *kinds: type) -> bool:
    return set(map(type, column)) <= set(kinds)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal that a daemon may be writing, read-only; MissingFileError, and DataError for what is no journal."""
    try:
        there = path.exists()
    except OSError as error:  # in a folder that may not be looked into
        raise MissingFileError(
            f"{path}: {error.strerror}: expected a path that can be opened; look at its permissions"
        ) from None
    if not there:
        raise MissingFileError(f"{path}: no such journal; `[journal] path` makes the daemon write one")
    if path.is_fifo():
        raise DataError(f"{path}: a pipe: expected a journal; name the file that the daemon writes")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except (sqlite3.Error, WireError, UnicodeError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as a journal: {error}") from None


def unix_s(time_utc: str) -> float:
    """An event's time as seconds since 1970."""
    return datetime.fromisoformat(time_utc).replace(tzinfo=UTC).timestamp()


def _opened(path: Path) -> sqlite3.Connection:
    """The file, made if need be, readable by its owner alone; SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # whole after kill -9; the last scores may go with the power
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"version {version}, expected {SCHEMA_VERSION}")
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection
