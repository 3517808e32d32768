"""Log lines for a terminal or for journald: priorities, numbers, a limit on repetition, never what was said."""

import logging
import os
import sys
import time
from collections.abc import Callable

LOGGER = "sadstream"
LINES = 10  # of one message, in PERIOD_S
PERIOD_S = 60.0
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
    logging.getLogger(LOGGER).setLevel(level.upper())


def under_journald() -> bool:
    """Standard error is the journal itself (systemd names its device and inode)."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalFormat(logging.Formatter):
    """`<4>message`, every line with its priority; journald knows the time and the unit."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class RateLimit(logging.Filter):
    """At most LINES of one message in PERIOD_S; the first one after says how many were left out."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._since: dict[tuple[str, int, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line too many."""
        key = (record.name, record.levelno, record.msg)
        start_s, count = self._since.get(key, (self._now(), 0))
        if self._now() - start_s >= PERIOD_S:
            if count > LINES:
                record.msg, record.args = f"{record.getMessage()} ({count - LINES} more like it were left out)", None
            start_s, count = self._now(), 0
        self._since[key] = (start_s, count + 1)
        return count < LINES
