"""Log lines: priorities for the journal, and no flood."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sadstream.base.logs import CHANGE, KEPT, LINES, PERIOD_S, JournalFormat, RateLimit, about


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


def test_repetitions_of_one_stream_and_reason_take_nothing_from_another() -> None:
    limit = RateLimit(lambda: 0.0)
    for stream in ("a", "b"):
        for reason in ("device-absent", "stalled"):
            assert [limit.filter(record("%s: no-device (%s)", stream, reason)) for _ in range(LINES + 1)][-2:] == [
                True, False
            ]  # fmt: skip


def test_what_a_line_is_about_can_be_named_where_its_words_vary() -> None:
    limit = RateLimit(lambda: 0.0)
    lines = [record("%s: %s", "mic", f"late by {n} s") for n in range(100)]
    for line in lines:
        line.about = about("mic", "rate")["about"]

    assert sum(map(limit.filter, lines)) == LINES


def test_a_change_of_state_is_never_swallowed() -> None:
    limit = RateLimit(lambda: 0.0)
    for _ in range(1000):
        limit.filter(record("%s: %s", "mic", "no-device"))
    change = record("%s: %s", "mic", "no-device")
    change.change = CHANGE["change"]

    assert limit.filter(change)


def test_the_limit_forgets_messages_that_never_come_again() -> None:
    limit = RateLimit(lambda: 0.0)
    for number in range(5 * KEPT):
        limit.filter(record(f"message {number}"))

    assert len(limit._since) == KEPT


def in_the_journal(*command: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose standard error is the journal."""
    read_fd, write_fd = os.pipe()
    found = os.fstat(write_fd)
    environment = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    done = subprocess.run([sys.executable, *command], stderr=write_fd, env=environment, check=False)
    os.close(write_fd)
    with os.fdopen(read_fd) as said:
        return done.returncode, said.read()


def test_under_journald_it_speaks_the_journals_language() -> None:
    code = "import logging; from sadstream.base import logs; logs.set_up(); logging.getLogger('sadstream').warning('x')"

    assert in_the_journal("-c", code) == (0, "<4>x\n")


@pytest.mark.parametrize(
    ("command", "code", "part"),
    [
        (["run", "--config", "/nonexistent.toml"], 66, "no such configuration file"),
        (["run", "--publish", "tcp://0.0.0.0:1"], 78, "publish"),
        (["run", "--no-such-option"], 2, "No such option"),
        (["run", "--wait-subscriber", "never"], 2, "--wait-subscriber"),
        (["status", "ipc:///nonexistent"], 69, "no sadstream"),
        (["listen", "ipc:///nonexistent", "--timeout", "0.1"], 1, "is a daemon publishing there?"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_what_ends_a_command_is_an_error_in_the_journal(command: list[str], code: int, part: str) -> None:
    found, said = in_the_journal("-m", "sadstream", *command)

    assert found == code
    assert [line for line in said.splitlines() if line.startswith("<3>sadstream") and part in line], said
    assert all(line.startswith(("<3>", "<4>", "<6>")) for line in said.splitlines()), said


def test_every_line_of_a_bug_is_an_error_in_the_journal(endpoint: str) -> None:
    fakes = str(Path(__file__).parents[1].joinpath("fakes.py"))
    code, said = in_the_journal(fakes, "run", "capture=good,fail-at=0", "--publish", endpoint)
    bug = said[said.index("<3>") :].splitlines()

    assert code == 1
    assert "ValueError" in bug[0]
    assert len(bug) > 3
    assert all(line.startswith("<3>") for line in bug)
