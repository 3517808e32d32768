"""A pause outlives the daemon: over kill -9, a restart and an upgrade, until somebody resumes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from supervisor import Supervisor
from test_service import FAKES, in_state, process, wait_for

from sadstream.daemon.supervision.pause_file import PauseFile, state_folder
from sadstream.events.control import ask

ENDPOINT = "ipc:///run/sadstream/pub"


class TestHold:
    def test_it_is_there_until_it_is_taken_away(self, tmp_path: Path) -> None:
        pause_file = PauseFile(ENDPOINT, tmp_path / "new" / "pause")
        assert not pause_file.is_on()
        assert pause_file.set(True)
        assert pause_file.set(True)
        assert PauseFile(ENDPOINT, tmp_path / "new" / "pause").is_on()
        assert pause_file.since()
        assert pause_file.set(False)
        assert pause_file.set(False)
        assert not pause_file.is_on()

    def test_each_endpoint_has_its_own(self, tmp_path: Path) -> None:
        PauseFile("ipc:///run/sadstream-room1/pub", tmp_path).set(True)
        PauseFile("tcp://127.0.0.1:5556", tmp_path).set(True)

        assert not PauseFile("ipc:///run/sadstream-room2/pub", tmp_path).is_on()
        assert not PauseFile("tcp://127.0.0.1:5557", tmp_path).is_on()
        assert PauseFile("ipc:///run/sadstream-room1/pub", tmp_path).is_on()

    def test_a_path_is_the_same_from_every_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

        assert PauseFile("ipc://pub", tmp_path).path == PauseFile(f"ipc://{tmp_path}/pub", tmp_path).path

    def test_the_longest_endpoint_has_a_name(self, tmp_path: Path) -> None:
        assert PauseFile(f"ipc:///{'ä' * 100}", tmp_path).set(True)

    def test_a_file_that_holds_anything_is_a_pause(self, tmp_path: Path) -> None:
        pause_file = PauseFile(ENDPOINT, tmp_path)
        pause_file.path.write_bytes(b"\0garbage")

        assert pause_file.is_on()

    def test_a_folder_that_cannot_be_written_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        pause_file = PauseFile(ENDPOINT, tmp_path / "file")

        assert not pause_file.is_on()
        assert not pause_file.set(True)
        assert "exists" in pause_file.fault

    def test_a_unit_says_where(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/sadstream/journal:/var/lib/sadstream/pause")
        assert state_folder() == Path("/var/lib/sadstream/pause")
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/other")
        assert state_folder() == Path("/var/lib/other/pause")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
    def test_what_may_not_be_read_counts_as_a_pause_but_a_hidden_home_does_not(self) -> None:
        code = (
            "import os, sys; from pathlib import Path; from sadstream.daemon.supervision.pause_file import PauseFile\n"
            "pause = PauseFile('tcp://127.0.0.1:1', Path(sys.argv[1]))\n"
            "os.setuid(65534); print(pause.is_on(), pause.fault)"
        )
        said = []
        with tempfile.TemporaryDirectory() as place:
            Path(place).chmod(0o755)
            for name, closed in (("state/pause", "state/pause"), ("home/state/pause", "home")):
                (Path(place) / name).mkdir(parents=True)
                (Path(place) / closed).chmod(0)
                command = [sys.executable, "-c", code, f"{place}/{name}"]
                said.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())

        assert said[0].startswith("True")
        assert "Permission denied" in said[0]
        assert said[1] == "False"


def _opened_nothing(pid: int, seconds: float) -> bool:
    """No capture process ran in that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if psutil.Process(pid).children():
            return False
        time.sleep(0.02)
    return True


class TestDaemon:
    def test_a_pause_holds_over_kill_9_and_ends_with_resume(self, endpoint: str, tmp_path: Path) -> None:
        """Each start opens no device, and says so; after `resume` the next start listens."""
        with Supervisor(tmp_path, [*FAKES, "capture=good", "--publish", endpoint]) as supervisor:
            supervisor.until(lambda: supervisor.said("mic: listening"))
            ask(endpoint, "pause")
            for number, stop in enumerate((signal.SIGKILL, signal.SIGABRT, signal.SIGTERM), start=1):
                ready = supervisor.said("READY=1")
                os.kill(supervisor.pid, stop)
                supervisor.until(lambda number=number: len(supervisor.exits) == number)
                supervisor.until(lambda ready=ready: supervisor.said("READY=1") > ready)
                assert wait_for(endpoint, lambda event: event["type"] == "status")["state"] == "paused"
                assert _opened_nothing(supervisor.pid, 1.0)
            report = ask(endpoint, "status")
            assert "paused since 20" in report.notes[0]
            assert f"sadstream resume {endpoint}" in report.notes[0]
            assert ask(endpoint, "resume").notes == ()
            wait_for(endpoint, in_state("listening"))
            os.kill(supervisor.pid, signal.SIGKILL)
            supervisor.until(lambda: len(supervisor.exits) == 4)
            wait_for(endpoint, in_state("listening"))

        assert supervisor.log.read_text().count("paused since 20") == 3

    def test_where_it_cannot_be_kept_it_holds_in_memory_and_says_so(self, endpoint: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        environment = os.environ | {"STATE_DIRECTORY": str(tmp_path / "file")}
        with process("capture=good", "--publish", endpoint, env=environment):
            wait_for(endpoint, in_state("listening"))
            report = ask(endpoint, "pause")

            assert report.streams[0].state == "paused"
            assert "so the pause ends with this run" in report.notes[0]

    def test_a_recording_is_played_whatever_was_paused_there(self, endpoint: str, scene: Path) -> None:
        """Nobody is overheard by it, and whoever names a file wants it scored."""
        PauseFile(endpoint).set(True)
        with process("", "--publish", endpoint, "--source", str(scene), "--pace", "fast") as daemon:
            _, errors = daemon.communicate(timeout=30)

        assert daemon.returncode == 0
        assert b"paused" not in errors
