"""What is heard stays in memory: a canary in the words and one in the samples are looked for everywhere."""

import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from fakes import quiet, voice
from test_service import FAKES
from wire import free_tcp

from sadstream.base.samples import to_pcm

WORDS = "zebra-cannelloni-trombone"  # nobody says that by chance
SAMPLES = hashlib.sha256(b"samples").digest() * 30  # 960 bytes: one frame that is nowhere else
PCM = to_pcm(quiet(0.5)) + to_pcm(voice(1.0)) + SAMPLES + to_pcm(voice(1.0)) + to_pcm(quiet(0.7))


class Spied:
    """A daemon in a folder of its own that heard both canaries, and all that came out of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wire = b""
        self.log = b""
        self.open_files: list[str] = []
        self.core_limit = ""


@contextmanager
def spied(
    folder: Path, fake: str, *arguments: str, before_end: Callable[[int], None] = lambda _: None
) -> Iterator[Spied]:
    """Runs it at the most talkative log level until both canaries went through."""
    found = Spied(folder)
    endpoint = f"ipc://{folder}/pub"
    path = folder / "a.toml"
    if not path.exists():
        path.write_text('[service]\nlog_level = "debug"\n')
    environment = os.environ | {"HOME": str(folder), "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    command = [*FAKES, fake, "--config", str(path), "--source", "-", "--publish", endpoint, "--wait-subscriber", "20"]
    daemon = subprocess.Popen(
        [*command, *arguments], cwd=folder, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert daemon.stdin is not None
    try:
        listener = threading.Thread(target=_listen, args=(endpoint, found))
        listener.start()
        daemon.stdin.write(PCM)
        daemon.stdin.flush()
        listener.join(30)
        found.open_files = list(_open_files(daemon.pid))
        found.core_limit = Path(f"/proc/{daemon.pid}/limits").read_text()
        before_end(daemon.pid)
        found.log = daemon.communicate(timeout=30)[0]
        yield found
    finally:
        daemon.kill()
        daemon.wait()


def _open_files(pid: int) -> Iterator[str]:
    for fd in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(fd.readlink())


def _listen(endpoint: str, found: Spied) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.subscribe(b"")
        socket.connect(endpoint)
        ends = (b"sad.score.", b"stopping")
        while not any(end in found.wire for end in ends) and socket.poll(20_000):
            found.wire += socket.recv()


def traces(folder: Path) -> list[str]:
    """Files under a folder that hold a canary."""
    return [str(path) for path in folder.rglob("*") if stat.S_ISREG(path.lstat().st_mode) and _holds(path.read_bytes())]


def _holds(content: bytes) -> bool:
    return WORDS.encode() in content or SAMPLES[:64] in content or WORDS[:8].encode() in content


def test_no_trace_of_words_or_samples_is_left(tmp_path: Path) -> None:
    with spied(tmp_path, f"words={WORDS}") as found:
        assert b"sad.score." in found.wire
        assert not _holds(found.wire)
        assert not _holds(found.log)
        assert traces(tmp_path) == []


def test_no_trace_is_left_by_a_crash(tmp_path: Path) -> None:
    """SIGABRT, as a watchdog sends it: the daemon has forbidden itself a core dump."""
    with spied(tmp_path, f"words={WORDS}", before_end=lambda pid: os.kill(pid, signal.SIGABRT)) as found:
        assert re.search(r"Max core file size +0 +0 ", found.core_limit)
        assert not _holds(found.log)
        assert traces(tmp_path) == []
        assert [path.name for path in tmp_path.rglob("core*")] == []


def test_no_trace_is_left_by_an_exception(tmp_path: Path) -> None:
    with spied(tmp_path, f"words={WORDS},fail-at=0") as found:
        assert b"ValueError" in found.log
        assert not _holds(found.log)
        assert traces(tmp_path) == []


def test_what_it_holds_open_is_sockets_pipes_and_code(tmp_path: Path) -> None:
    with spied(tmp_path, f"words={WORDS}") as found:
        files = [name for name in found.open_files if name.startswith("/")]

    assert [name for name in files if not name.endswith((".lock", ".so")) and not name.startswith("/dev/")] == []


def test_a_journal_holds_scores_but_no_words(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f'[publish]\ntext = true\n[journal]\npath = "{tmp_path}/scores.sqlite"\n')
    with spied(tmp_path, f"words={WORDS}") as found:
        assert WORDS.encode() in found.wire
        assert (tmp_path / "scores.sqlite").stat().st_size > 0
        assert traces(tmp_path) == []


def test_words_that_are_switched_on_are_sent_and_loudly_so(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[publish]\ntext = true\n")
    with spied(tmp_path, f"words={WORDS}") as found:
        assert WORDS.encode() in found.wire
        assert b"WARNING: publish.text is on: every word that is heard goes to every subscriber" in found.log
        assert not _holds(found.log)


NETLESS = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
)


@pytest.mark.skipif(not NETLESS, reason="network namespaces are not permitted here")
def test_it_runs_without_any_network(tmp_path: Path) -> None:
    """A namespace in which only `lo` is up; a subscriber beside it in the same one."""
    raw = tmp_path / "talk.raw"
    raw.write_bytes(PCM)
    endpoint = "tcp://127.0.0.1:5599"
    daemon = " ".join(
        [*FAKES, "''", "--source", "-", "--pace", "fast", "--publish", endpoint, "--wait-subscriber", "20"]
    )
    listen = f"{sys.executable} -m sadstream listen {endpoint} --json --count 1 --timeout 30"
    script = f"ip link set lo up && ({daemon} < {raw} &) && {listen}"
    command = ["unshare", "-rn", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert '"type":"score"' in done.stdout, done.stderr


@pytest.mark.skipif(not NETLESS, reason="network namespaces are not permitted here")
@pytest.mark.slow
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_real_models_run_without_any_network_and_try_to_reach_none(tmp_path: Path, scene: Path) -> None:
    """Traced: every `connect` is to a unix socket."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    command = [
        "unshare", "-rn", "strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace),
        sys.executable, "-m", "sadstream", "run", "--source", str(scene), "--pace", "fast",
        "--publish", f"ipc://{tmp_path}/pub",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    assert [line for line in trace.read_text().splitlines() if "connect(" in line and "AF_UNIX" not in line] == []


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize("command", ["run", "score"])
def test_real_models_reach_no_address_but_this_machine(command: str, tmp_path: Path, scene: Path) -> None:
    """Traced where there may be a network: whatever is connected, bound or sent to is loopback's, or has a path."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    endpoint = free_tcp()
    arguments = {"run": ["--source", str(scene), "--pace", "fast", "--publish", endpoint], "score": [str(scene)]}
    done, trace = tmp_path / "done", tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=network", "-o", str(trace)]
    with done.open("wb") as said:
        code = subprocess.run(
            [*strace, sys.executable, "-m", "sadstream", command, *arguments[command]],
            stdout=said, stderr=said, timeout=280, check=False,
        ).returncode  # fmt: skip
    # What is received names this machine's own interfaces, of which ZeroMQ asks the kernel.
    calls = "\n".join(re.findall(r"^\d+ +(?:connect|bind|sendto|sendmsg|sendmmsg)\(.*$", trace.read_text(), re.M))
    addresses = set(re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', calls))
    families = set(re.findall(r"sa_family=(AF_\w+)", calls))

    assert code == 0, done.read_text()
    assert {one or other for one, other in addresses} <= {"127.0.0.1", "::1"}
    assert ("127.0.0.1" in calls) == (command == "run")  # else the trace saw nothing
    assert families <= {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}  # the last asks the kernel for interfaces
