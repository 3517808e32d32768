"""Log lines: priorities for the journal, and no flood."""

import logging
import os
import subprocess
import sys

import pytest

from sadstream.logs import LINES, PERIOD_S, JournalFormat, RateLimit


def record(message: str, *arguments: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("sadstream", level, "file", 1, message, arguments, None)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_every_line_has_its_priority(level: int, priority: int) -> None:
    assert JournalFormat().format(record("one\ntwo", level=level)) == f"<{priority}>one\n<{priority}>two"


def test_a_message_that_repeats_is_cut_off_and_counted() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0])
    passed = sum(limit.filter(record("dropped %d", n)) for n in range(1000))
    other = limit.filter(record("another"))
    now[0] = PERIOD_S
    late = record("dropped %d", 1000)

    assert passed == LINES
    assert other
    assert limit.filter(late)
    assert late.getMessage() == f"dropped 1000 ({1000 - LINES} more like it were left out)"


def test_under_journald_it_speaks_the_journals_language() -> None:
    code = "import logging; from sadstream import logs; logs.set_up(); logging.getLogger('sadstream').warning('x')"
    read_fd, write_fd = os.pipe()
    found = os.fstat(write_fd)
    environment = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    subprocess.run([sys.executable, "-c", code], stderr=write_fd, env=environment, check=True)
    os.close(write_fd)
    with os.fdopen(read_fd) as said:
        assert said.read() == "<4>x\n"
