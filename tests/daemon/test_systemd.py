"""Supervised as systemd does it: ready, status, watchdog, restart."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from supervisor import Supervisor
from test_service import FAKES, in_state, wait_for

from sadstream.daemon.supervision.systemd import Notifier
from sadstream.events.control import ask


def config_file(folder: Path, hang_s: float = 2.0) -> str:
    path = folder / "a.toml"
    path.write_text(f"[service]\nhang_s = {hang_s}\nheartbeat_s = 1.0\n")
    return str(path)


class TestNotifier:
    @pytest.mark.parametrize("abstract", [False, True])
    def test_it_speaks_to_a_path_or_an_abstract_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
    ) -> None:
        name = f"@sadstream-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind("\0" + name[1:] if abstract else name)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            Notifier().ready()

            assert supervisor.recv(100) == b"READY=1"

    def test_without_a_supervisor_it_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        Notifier().ready()

    def test_a_supervisor_that_is_gone_is_no_error(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
        Notifier().stopping()

    def test_a_watchdog_for_another_process_is_not_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        assert Notifier().watchdog_s == 30.0
        monkeypatch.setenv("WATCHDOG_PID", "1")
        assert Notifier().watchdog_s is None


class TestSupervised:
    def test_it_is_ready_when_models_are_warm_and_audio_flows(self, tmp_path: Path, endpoint: str) -> None:
        command = [*FAKES, "capture=good,load=1.5", "--publish", endpoint]
        with Supervisor(tmp_path, command, watchdog_s=2.0) as supervisor:
            supervisor.until(lambda: supervisor.said("mic: starting"))
            assert not supervisor.said("READY=1")
            supervisor.until(lambda: supervisor.said("READY=1"))
            supervisor.until(lambda: supervisor.said("mic: listening"))
            supervisor.until(lambda: supervisor.said("WATCHDOG=1") > 8)

        assert supervisor.missed == 0
        assert supervisor.said("STOPPING=1") == 1
        assert supervisor.exits == [0]

    def test_it_is_ready_without_a_device_too_and_the_watchdog_is_fed(self, tmp_path: Path, endpoint: str) -> None:
        with Supervisor(tmp_path, [*FAKES, "capture=absent", "--publish", endpoint], watchdog_s=2.0) as supervisor:
            supervisor.until(lambda: supervisor.said("READY=1"))
            supervisor.until(lambda: supervisor.said("WATCHDOG=1") > 8)
            supervisor.until(lambda: supervisor.said("mic: no-device (device-absent)"))

        assert supervisor.exits == [0]

    def test_while_it_is_paused_the_watchdog_is_fed(self, tmp_path: Path, endpoint: str) -> None:
        command = [*FAKES, "capture=good", "--publish", endpoint, "--config", config_file(tmp_path, hang_s=1.0)]
        with Supervisor(tmp_path, command, watchdog_s=1.0) as supervisor:
            supervisor.until(lambda: supervisor.said("READY=1"))
            ask(endpoint, "pause")
            fed = supervisor.said("WATCHDOG=1")
            supervisor.until(lambda: supervisor.said("WATCHDOG=1") > fed + 12)

        assert supervisor.exits == [0]

    @pytest.mark.parametrize(
        ("fake", "hang_s", "code"),
        [("capture=good,hang-at=1", 2.0, 75), ("capture=good,publish-hang-at=1", 10.0, -signal.SIGABRT)],
        ids=["analyser", "publisher"],
    )
    def test_a_hang_is_caught_and_the_daemon_restarted(
        self, tmp_path: Path, endpoint: str, fake: str, hang_s: float, code: int
    ) -> None:
        """The analyser's by the daemon itself; a hang of the loop that supervises, by the watchdog.

        Its SIGABRT leaves in the log where each thread was.
        """
        command = [*FAKES, fake, "--publish", endpoint, "--config", config_file(tmp_path, hang_s)]
        with Supervisor(tmp_path, command, watchdog_s=3.0) as supervisor:
            supervisor.until(lambda: supervisor.exits)
            supervisor.until(lambda: supervisor.said("READY=1") == 2)
            assert wait_for(endpoint, lambda event: event["type"] == "score")["seq"] == 0

        log = supervisor.log.read_text()
        assert supervisor.exits[0] == code
        assert ("Fatal Python error: Aborted" in log) == (code == -signal.SIGABRT)
        assert ("in hang" in log) == (code == -signal.SIGABRT)

    def test_a_hang_of_the_source_is_cured_without_a_restart(self, tmp_path: Path, endpoint: str) -> None:
        with Supervisor(tmp_path, [*FAKES, "capture=hang", "--publish", endpoint], watchdog_s=4.0) as supervisor:
            assert wait_for(endpoint, in_state("no-device"))["reason"] == "stalled"
            wait_for(endpoint, in_state("listening"))

        assert supervisor.exits == [0]

    def test_sighup_is_announced_as_a_reload(self, tmp_path: Path, endpoint: str) -> None:
        command = [*FAKES, "capture=good", "--publish", endpoint, "--config", config_file(tmp_path)]
        with Supervisor(tmp_path, command) as supervisor:
            supervisor.until(lambda: supervisor.said("READY=1"))
            os.kill(supervisor.pid, signal.SIGHUP)
            supervisor.until(
                lambda: supervisor.said("RELOADING=1\nMONOTONIC_USEC=") and supervisor.said("READY=1") == 2
            )

    def test_killed_it_comes_back_with_a_new_session(self, tmp_path: Path, endpoint: str) -> None:
        with Supervisor(tmp_path, [*FAKES, "capture=good", "--publish", endpoint]) as supervisor:
            sessions = set()
            for count in (1, 2):
                supervisor.until(lambda count=count: supervisor.said("READY=1") == count)
                sessions.add(wait_for(endpoint, in_state("listening"))["session"])
                os.kill(supervisor.pid, signal.SIGKILL)
            supervisor.until(lambda: len(supervisor.exits) == 2)

        assert len(sessions) == 2
        assert threading.active_count() < 10
