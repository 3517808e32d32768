"""Moments that somebody marked: a line of JSON each, in a file of theirs; never a word of what was said."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from sadstream.base.errors import BusyError, UnavailableError
from sadstream.events import Score


class MarksFile:
    """A file that lines are added to, readable by its owner alone; UnavailableError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _expect_marks(path)
        self._append("")

    def add(self, score: Score | None) -> str:
        """Write down now, and the newest score of the stream in sight; what to tell whoever pressed the key."""
        moment = datetime.now(UTC)
        now = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        mark: dict[str, object] = {"time": now}
        if score is not None:
            mark |= {"stream": score.stream, "session": score.session, "score_seq": score.seq, "t_end": score.t_end}
        self._append(json.dumps(mark) + "\n")
        return f"marked {moment.astimezone():%H:%M:%S} in {self._path}"

    def _append(self, line: str) -> None:
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, line.encode())  # one write: two watchers of one file do not mix
            finally:
                os.close(file)
        except OSError as error:
            raise UnavailableError(
                f"--marks {self._path}: cannot be written: {error.strerror}; choose another file"
            ) from None


def _expect_marks(path: Path) -> None:
    """BusyError for what is there and is no file of marks."""
    try:
        if not path.exists():
            return
        if path.is_file():  # a pipe would make us wait
            with path.open("rb") as file:
                first = file.readline(4096)
            if not first or b'"time":' in first:
                return
    except OSError as error:
        raise UnavailableError(f"--marks {path}: cannot be read: {error.strerror}; choose another file") from None
    raise BusyError(f"--marks {path}: there already, and no file of marks; choose another")
