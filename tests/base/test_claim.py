"""A socket is bound over nothing, or over one of ours that nobody listens on; all else is refused and untouched."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from daemon import run

from sadstream.base.errors import BusyError, ConfigError
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.events.endpoint import LONGEST

BESIDE = ["", ".replay", ".control", ".lock"]
KILLED = """
import os, signal, sys
from sadstream.daemon.publishing.publisher import Publisher
with Publisher(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
"""
held = ExitStack()


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    with held:
        yield


def a_file(path: Path) -> None:
    path.write_text("the only copy")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_file(path: Path) -> None:
    a_file(path.with_name("linked"))
    path.symlink_to(path.with_name("linked"))


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def a_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def a_live_socket(path: Path) -> None:
    one = held.enter_context(socket.socket(socket.AF_UNIX))
    one.bind(str(path))
    one.listen(1)


IN_THE_WAY = [a_file, a_folder, a_pipe, a_link_to_a_file, a_link_to_nothing, a_stale_socket, a_live_socket]


def state(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """What lies there: names, inodes, modes, contents."""
    return [
        (str(path), found.st_ino, found.st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        for found in [path.lstat()]
    ]


# A lock is the sign that a daemon was here; a socket that it left is taken over.
AFTER_A_DAEMON = [(put, name, True) for put in IN_THE_WAY if put is not a_stale_socket for name in BESIDE[:3]]


@pytest.mark.parametrize(
    ("put", "name", "known"), [(put, name, False) for put in IN_THE_WAY for name in BESIDE] + AFTER_A_DAEMON
)
def test_what_is_in_the_way_stays_as_it_is(tmp_path: Path, put: Callable[[Path], None], name: str, known: bool) -> None:
    endpoint = f"ipc://{tmp_path}/f"
    if known:
        (tmp_path / "f.lock").touch(mode=0o600)
    put(tmp_path / f"f{name}")
    before = state(tmp_path)

    with pytest.raises(BusyError, match=rf"f{name}: "), Publisher(endpoint):
        pass
    assert state(tmp_path) == before


@pytest.mark.parametrize("words", [["run", "--source", "mic", "--publish"], ["fake", "--rounds", "1", "--publish"]])
def test_no_command_binds_over_a_file(tmp_path: Path, words: list[str]) -> None:
    a_file(tmp_path / "f")
    before = state(tmp_path)
    done = run(*words, f"ipc://{tmp_path}/f")

    assert done.returncode == 73
    assert [line for line in done.stderr.splitlines() if "f: there already" in line]
    assert state(tmp_path) == before


def test_what_a_killed_daemon_left_is_taken_over(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/f"
    done = subprocess.run([sys.executable, "-c", KILLED, endpoint], check=False)
    left = {path.name for path in tmp_path.iterdir()}

    assert done.returncode == -signal.SIGKILL
    assert left == {"f", "f.lock", "f.replay"}
    with Publisher(endpoint) as publisher:
        assert publisher.replay == f"{endpoint}.replay"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
@pytest.mark.parametrize("name", ["f", "f.lock"])
def test_another_users_socket_is_not_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "f.lock").touch(mode=0o600)
    a_stale_socket(tmp_path / "f")
    os.chown(tmp_path / name, 12345, -1)

    with pytest.raises(BusyError), Publisher(f"ipc://{tmp_path}/f"):
        pass


@pytest.mark.parametrize("put", [a_file, a_link_to_nothing, a_live_socket])
def test_the_control_socket_takes_nothing_from_anybody(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "tcp-5556.control")
    before = state(tmp_path)

    with pytest.raises(BusyError), ControlSocket(tmp_path / "tcp-5556.control", lambda _: pytest.fail("never")):
        pass
    assert state(tmp_path) == before


def test_an_explicit_replay_has_a_lock_of_its_own(tmp_path: Path) -> None:
    replay = f"ipc://{tmp_path}/past"
    with Publisher(f"ipc://{tmp_path}/a", replay=replay), pytest.raises(BusyError, match="past"):
        Publisher(f"ipc://{tmp_path}/b", replay=replay).__enter__()


@pytest.mark.parametrize("path", ["x" * (LONGEST + 1), "@name", "~/" + "x" * LONGEST])
def test_a_path_that_no_socket_can_have_is_one_line(path: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Publisher(f"ipc://{path}")
