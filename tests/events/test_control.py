"""Pause, resume and status over the control socket."""

import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from test_service import in_state, process, wait_for

from sadstream.base.errors import BusyError, UnavailableError
from sadstream.daemon.supervision.control import CLIENTS, ControlSocket
from sadstream.events.control import PATIENCE_S, DaemonReport, Word, ask, control_path

REPORT = DaemonReport(pid=1, endpoint="ipc:///x", words=False, streams=())


@contextmanager
def served(endpoint: str) -> Iterator[list[Word]]:
    """A socket that is served as the daemon does it; what it was asked."""
    asked: list[Word] = []
    over = threading.Event()

    def answer(word: Word) -> DaemonReport:
        asked.append(word)
        return REPORT

    with ControlSocket(control_path(endpoint), answer) as control:

        def serve() -> None:
            while not over.is_set():
                select.select([control], [], [], 0.02)
                control.serve()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield asked
        finally:
            over.set()
            server.join()


class TestControlSocket:
    def test_it_answers_each_word(self, endpoint: str) -> None:
        with served(endpoint) as asked:
            words: tuple[Word, ...] = ("pause", "status", "resume")
            assert [ask(endpoint, word) for word in words] == [REPORT] * 3

        assert tuple(asked) == words

    def test_it_belongs_to_its_user_alone(self, endpoint: str) -> None:
        with served(endpoint):
            assert stat.S_IMODE(control_path(endpoint).stat().st_mode) == 0o600

    def test_it_lies_beside_an_ipc_endpoint_and_in_the_users_runtime_folder_for_tcp(self) -> None:
        assert control_path("ipc:///run/sadstream/pub") == Path("/run/sadstream/pub.control")
        assert control_path("tcp://127.0.0.1:5556").name == "tcp-5556.control"

    def test_without_a_session_its_folder_is_made_for_its_user_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with tempfile.TemporaryDirectory() as folder:  # a socket's path is short
            monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
            monkeypatch.setattr("tempfile.tempdir", folder)
            path = control_path("tcp://127.0.0.1:5556")
            with ControlSocket(path, lambda _: REPORT):
                assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

            assert path.is_relative_to(folder)

    def test_what_it_does_not_know_changes_nothing(self, endpoint: str) -> None:
        with served(endpoint) as asked, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control_path(endpoint)))
            client.sendall(b"shutdown\n")
            assert client.recv(100) == b"expected pause, resume or status\n"

        assert asked == []

    @pytest.mark.parametrize("said", [b"\0" * 1000, b"status" * 100, b""])
    def test_garbage_is_cut_off(self, endpoint: str, said: bytes) -> None:
        with served(endpoint) as asked, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control_path(endpoint)))
            client.settimeout(PATIENCE_S + 2)
            client.sendall(said)
            with suppress(ConnectionResetError):  # what it had not read is thrown away
                assert client.recv(100) == b""
            assert ask(endpoint, "status") == REPORT

        assert asked == ["status"]

    def test_many_who_say_nothing_do_not_keep_others_out_for_long(self, endpoint: str) -> None:
        with served(endpoint):
            silent = [socket.socket(socket.AF_UNIX) for _ in range(2 * CLIENTS)]
            for client in silent:
                client.connect(str(control_path(endpoint)))
            time.sleep(PATIENCE_S + 0.3)
            assert ask(endpoint, "status") == REPORT
            for client in silent:
                client.close()

    def test_the_socket_of_a_daemon_that_was_killed_is_taken_over(self, endpoint: str) -> None:
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(control_path(endpoint)))
        left.close()
        with served(endpoint):
            assert ask(endpoint, "status") == REPORT

    def test_nobody_there_is_said_in_one_line(self, endpoint: str) -> None:
        with pytest.raises(UnavailableError, match=r"pub\.control: no sadstream answers there"):
            ask(endpoint, "status")

    def test_a_place_that_cannot_be_bound_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(BusyError, match="cannot be bound"):
            ControlSocket(tmp_path / ("x" * 120), lambda _: REPORT).__enter__()


def sadstream(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sadstream", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


class TestDaemon:
    def test_a_pause_closes_the_device_within_a_second_and_a_resume_opens_it(self, endpoint: str) -> None:
        with process("capture=good", "--publish", endpoint) as daemon:
            wait_for(endpoint, in_state("listening"))
            assert len(_children(daemon.pid)) == 1
            start = time.monotonic()
            ask(endpoint, "pause")
            while _children(daemon.pid):
                assert time.monotonic() - start < 1.0
                time.sleep(0.01)
            event = wait_for(endpoint, in_state("paused"))
            assert event["reason"] == "user"
            ask(endpoint, "resume")
            wait_for(endpoint, in_state("listening"))
            assert len(_children(daemon.pid)) == 1

    def test_the_commands_print_a_line_and_monitoring_has_its_exit_code(self, endpoint: str) -> None:
        with process("capture=good", "--publish", endpoint):
            wait_for(endpoint, in_state("listening"))
            assert "mic: listening (none)" in sadstream("status", endpoint).stdout
            assert sadstream("service", "status", "--check", "--endpoint", endpoint).returncode == 0
            assert "mic: paused (user)" in sadstream("pause", endpoint).stdout
            checked = sadstream("service", "status", "--check", "--endpoint", endpoint)
            assert checked.returncode == 69
            assert "mic: paused (user): expected audio to flow" in checked.stderr
            assert sadstream("resume", endpoint).returncode == 0

        assert sadstream("service", "status", "--check", "--endpoint", endpoint).returncode == 69

    @pytest.mark.parametrize(("fake", "code"), [("capture=absent", 69), ("capture=level:100", 69), ("load=60", 69)])
    def test_deaf_is_not_healthy(self, endpoint: str, fake: str, code: int) -> None:
        states = {"capture=absent": "no-device", "capture=level:100": "degraded", "load=60": "starting"}
        with process(fake, "--publish", endpoint):
            wait_for(endpoint, in_state(states[fake]))
            assert sadstream("service", "status", "--check", "--endpoint", endpoint).returncode == code


def _children(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            status = Path(f"/proc/{child}/stat")
            if status.exists() and ") Z" not in status.read_text():
                found.append(child)
    return found
