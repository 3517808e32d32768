"""A terminal goes away: what was started in it ends, unless it was told to outlive it. Real terminals, real shells."""

import os
import pty
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from test_service import FAKES, in_state, wait_for

from sadstream.events.control import ask

ENDS_S = 3.0
SLOW = pytest.mark.slow
CLI = [sys.executable, "-m", "sadstream"]


class Terminal:
    """A shell, or any command, in a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def type(self, line: str) -> None:
        """As a person types."""
        os.write(self._fd, f"{line}\n".encode())

    def close(self) -> None:
        """As a window is closed, or a connection dies."""
        with suppress(OSError):
            os.close(self._fd)

    def end(self) -> None:
        self.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def daemon(endpoint: str) -> str:
    """The command line of a daemon that hears a fake microphone."""
    return shlex.join([*FAKES, "capture=good", "--publish", endpoint])


@pytest.fixture
def bash() -> Iterator[Terminal]:
    terminal = Terminal("bash", "--norc", "--noprofile", "-i")
    yield terminal
    terminal.end()


def started(endpoint: str) -> psutil.Process:
    """The daemon, once it listens."""
    wait_for(endpoint, in_state("listening"))
    return psutil.Process(ask(endpoint, "status").pid)


def ends(process: psutil.Process, limit_s: float = ENDS_S) -> bool:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "line",
    ["{}", *(pytest.param(line, marks=SLOW) for line in ("exec {}", "{} &", "{} </dev/null", "{} >/dev/null 2>&1"))],
    ids=["foreground", "itself", "background", "no input", "no output"],
)
def test_a_run_ends_with_its_terminal(bash: Terminal, daemon: str, endpoint: str, line: str) -> None:
    bash.type(line.format(daemon))
    process = started(endpoint)
    captures = process.children()
    bash.close()

    assert ends(process)
    assert all(ends(capture) for capture in captures)


def test_a_run_in_the_background_ends_with_its_shell(bash: Terminal, daemon: str, endpoint: str) -> None:
    bash.type(f"{daemon} &")
    process = started(endpoint)
    bash.type("exit")

    assert ends(process)


@pytest.mark.parametrize(
    "line",
    [
        "nohup {}",
        *(pytest.param(line, marks=SLOW) for line in ("setsid {}", "bash -c '{} & sleep 60'")),
        "sh -c '{} &'",
    ],
    ids=["nohup", "setsid", "script", "script that ended"],
)
def test_it_outlives_the_terminal_where_it_was_told_to(
    bash: Terminal, daemon: str, endpoint: str, tmp_path: Path, line: str
) -> None:
    bash.type(f"cd {tmp_path.parent}; export PYTHONPATH={Path.cwd()}; {line.format(daemon)}")  # nohup.out
    process = started(endpoint)
    try:
        bash.close()
        assert not ends(process)
        wait_for(endpoint, lambda event: event["type"] == "score")
    finally:
        process.terminate()
        assert ends(process)


def test_sighup_in_a_terminal_that_is_there_reads_the_configuration_again(
    bash: Terminal, endpoint: str, tmp_path: Path
) -> None:
    config = tmp_path / "a.toml"
    config.write_text("[service]\nheartbeat_s = 1.0\n")
    log = tmp_path / "log"
    command = shlex.join([*FAKES, "capture=good", "--publish", endpoint, "--config", str(config)])
    bash.type(f"{command} 2>{log}")
    process = started(endpoint)
    process.send_signal(signal.SIGHUP)

    assert not ends(process, 1.0)
    assert "configuration read again" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["listen", "{endpoint}"],
        ["watch", "{endpoint}"],
        ["dashboard", "--endpoint", "{endpoint}", "--port", "18750"],
        ["web", "--endpoint", "{endpoint}", "--port", "18751"],
        ["fake", "--publish", "{endpoint}"],
        ["calibrate", "--out", "{endpoint}.json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_other_command_outlives_its_terminal(endpoint: str, arguments: list[str]) -> None:
    terminal = Terminal(*CLI, *(argument.format(endpoint=endpoint) for argument in arguments))
    try:
        time.sleep(2.5)
        process = psutil.Process(terminal.pid)
        assert process.status() != psutil.STATUS_ZOMBIE
        children = process.children(recursive=True)
        terminal.close()
        assert ends(process)
        assert all(ends(child) for child in children)
    finally:
        terminal.end()
