"""Commands find the daemon that runs, and say what to do where there are several, none, or one that is not theirs."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemon import SADSTREAM
from test_service import in_state, process, wait_for

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.client import running


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the test's own: no service, a runtime folder in which nobody runs."""
    runtime = tmp_path / "user"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(running, "SERVICES", f"{tmp_path}/sadstream*")
    monkeypatch.setattr(running, "DEFAULT_ENDPOINT", "tcp://127.0.0.1:1")
    return tmp_path


@contextmanager
def listening(*paths: Path) -> Iterator[None]:
    """Somebody listens at each of these unix sockets."""
    sockets = []
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(str(path))
        sockets[-1].listen()
    yield
    for one in sockets:
        one.close()


class TestFind:
    def test_none_is_one_line(self, machine: Path) -> None:
        with pytest.raises(UnavailableError, match="no sadstream runs here"):
            running.find(control=True)

    @pytest.mark.parametrize("folder", ["sadstream", "sadstream-room1", "user/sadstream"])
    def test_a_service_an_instance_and_a_users_service_are_found(self, machine: Path, folder: str) -> None:
        with listening(machine / folder / "pub", machine / folder / "pub.control"):
            assert running.find(control=True) == f"ipc://{machine / folder}/pub"
            assert running.find(control=False) == f"ipc://{machine / folder}/pub"

    def test_a_run_by_hand_is_found_at_any_port(self, machine: Path) -> None:
        with listening(machine / "user/sadstream/tcp-5999.control"):
            assert running.find(control=True) == running.find(control=False) == "tcp://127.0.0.1:5999"

    def test_what_a_killed_daemon_left_is_no_daemon(self, machine: Path) -> None:
        with listening(machine / "sadstream/pub", machine / "sadstream/pub.control"):
            pass
        with listening(machine / "user/sadstream/tcp-5999.control"):
            assert running.find(control=False) == "tcp://127.0.0.1:5999"

    def test_several_are_named(self, machine: Path) -> None:
        with (
            listening(machine / "sadstream/pub.control", machine / "user/sadstream/tcp-5556.control"),
            pytest.raises(UsageError, match=r"sadstream/pub, tcp://127\.0\.0\.1:5556: expected the endpoint of one"),
        ):
            running.find(control=True)


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/etc/sadstream/sadstream.toml", "ipc:///run/sadstream/pub"),
        ("/etc/sadstream/room1.toml", "ipc:///run/sadstream-room1/pub"),
        ("~/.config/sadstream/sadstream.toml", "ipc://{}/user/sadstream/pub"),
        ("mine.toml", None),
    ],
)
def test_a_services_configuration_leads_to_where_its_unit_publishes(
    machine: Path, path: str, endpoint: str | None
) -> None:
    assert running.service_endpoint(Path(path)) == (endpoint and endpoint.format(machine))


def test_a_daemon_of_somebody_else_is_a_matter_of_permission() -> None:
    """As nobody, beside a service's folder that is closed to others, as the unit makes it."""
    program = (
        "import encodings.idna, os, sys\n"  # nobody may read this Python's folder: all of it is imported now
        "import sadstream.config; from sadstream.events import control\n"
        "from sadstream.client import subscription as client, running\n"
        "from sadstream.cli import main as cli\n"
        "running.SERVICES = sys.argv.pop(1) + '/sadstream*'\n"
        "running.DEFAULT_ENDPOINT = 'tcp://127.0.0.1:1'; os.setuid(65534); cli.main()"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sadstream"
        with listening(folder / "pub", folder / "pub.control"):
            Path(place).chmod(0o755)
            folder.chmod(0o750)
            for arguments, cure in ((["status"], "use sudo"), (["listen"], "usermod -aG sadstream")):
                done = subprocess.run(
                    [sys.executable, "-c", program, place, *arguments],
                    capture_output=True, text=True, check=False, env=os.environ | {"XDG_RUNTIME_DIR": place},
                )  # fmt: skip
                assert done.returncode == 69
                assert "permission denied" in done.stderr
                assert cure in done.stderr
                assert len(done.stderr.splitlines()) == 1


def test_commands_without_an_endpoint_speak_to_the_daemon_that_runs(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    endpoint = f"ipc://{tmp_path}/sadstream/pub"
    (tmp_path / "sadstream").mkdir()

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = [*SADSTREAM, *arguments]
        return subprocess.run(done, capture_output=True, text=True, timeout=30, check=False, env=environment)

    with process("capture=good", "--publish", endpoint, env=environment):
        wait_for(endpoint, in_state("listening"))
        assert "mic: paused (user)" in command("pause").stdout
        assert command("service", "status", "--check").returncode == 69
        assert command("resume").returncode == 0
        heard = command("listen", "--count", "1", "--timeout", "20")
    assert heard.returncode == 0
    assert heard.stderr == ""
