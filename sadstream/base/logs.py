"""Log lines for a terminal or for journald: priorities, numbers, a limit on repetition, never what was said."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

LOGGER = "sadstream"
LINES = 10  # of one message about one thing, in PERIOD_S
PERIOD_S = 60.0
KEPT = 1000  # different messages that the limit remembers
CHANGE: Mapping[str, object] = {"change": True}  # `extra=` of a line that says what is new: no limit ever swallows it
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


def set_up(level: str = "info") -> None:
    """Send the daemon's lines to standard error; a full disk there must not stop the scoring."""
    logging.raiseExceptions = False
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(logging.Formatter("sadstream: %(levelname)s: %(message)s"))
    if under_journald():
        sink.setFormatter(JournalFormat())
    sink.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers = [sink]
    root.setLevel(logging.WARNING)  # of other libraries
    logging.captureWarnings(True)  # theirs too are lines with a priority
    logging.getLogger(LOGGER).setLevel(level.upper())


def under_journald() -> bool:
    """Standard error is the journal itself (systemd names its device and inode)."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def about(*what: str) -> Mapping[str, object]:
    """`extra=` of a line that may repeat: lines of one message about the same things are repetitions of each other."""
    return {"about": what}


def fatal(message: str) -> None:
    """Print what ends the program, a line or a traceback; in the journal an error, line by line."""
    _say(message, "<3>")


def note(message: str) -> None:
    """Print what whoever started a command should know, while it goes on; in the journal for information."""
    _say(message, "<6>")


def _say(message: str, priority: str) -> None:
    mark = priority if under_journald() else ""
    with suppress(OSError, ValueError):  # a full disk or a closed standard error must not change the exit code
        if sys.stderr is not None:
            print("\n".join(f"{mark}{line}" for line in message.splitlines()), file=sys.stderr, flush=True)


class JournalFormat(logging.Formatter):
    """`<4>message`, every line with its priority; journald knows the time and the unit."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class RateLimit(logging.Filter):
    """At most LINES of one message about one thing in PERIOD_S; the first one after says how many were left out.

    What a message is about are its words (the stream, the reason), not its numbers, or what `about` names. A CHANGE
    always passes.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._since: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line too many."""
        if getattr(record, "change", False):
            return True
        now_s = self._now()
        words = tuple(word for word in record.args or () if isinstance(word, str))
        key = (record.name, record.levelno, record.msg, getattr(record, "about", words))
        start_s, count = self._since.pop(key, (now_s, 0))
        if now_s - start_s >= PERIOD_S:
            if count > LINES:
                record.msg, record.args = f"{record.getMessage()} ({count - LINES} more like it were left out)", None
            start_s, count = now_s, 0
        self._since[key] = (start_s, count + 1)  # the newest last
        if len(self._since) > KEPT:
            del self._since[next(iter(self._since))]
        return count < LINES
