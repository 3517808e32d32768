"""The client library: events each once, losses exact, a restart told from a loss, with pyzmq alone."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from daemon import run
from doors import door, keyed
from wire import free_tcp, program, ready

from sadstream.base.errors import UsageError
from sadstream.client import subscribe
from sadstream.client import subscription as client_module
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import replay_address
from sadstream.events import Event, Score, Status
from sadstream.events.query import Query

ROOT = Path(__file__).parents[2]


class Cable:
    """A tcp connection between subscribers and a daemon that can be pulled out and put back."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[socket.socket] = []
        self._plugged = True
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """Cut every connection; new ones are cut at once."""
        self._plugged = False
        for one in self._pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def plug(self) -> None:
        """Let connections through again."""
        self._plugged = True

    def close(self) -> None:
        """The end."""
        self.pull()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._plugged:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), closing(source), closing(sink):
            while data := source.recv(65_536):
                sink.sendall(data)


def python(executable: str, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A program of a few lines."""
    command = [executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)


def until_stop(items: Iterator[Any]) -> list[Any]:
    """Everything up to the last word of a daemon."""
    found = []
    for item in items:
        found.append(item)
        if isinstance(item, Status) and item.state == "stopping":
            break
    return found


def test_five_lines_make_an_app(endpoint: str) -> None:
    code = f"""
        from sadstream.client import subscribe

        for event in subscribe({endpoint!r}):
            if event.type == "score" and event.sad:
                print(event.t_start, event.p_sad); break
    """
    with program("publish", endpoint) as process:
        ready(process)
        app = python(sys.executable, code)

    assert app.returncode == 0, app.stderr
    assert len(app.stdout.split()) == 2


@pytest.mark.parametrize("unplugged_s", [0.5, 1.0])
def test_a_cut_connection_is_a_gap_of_exactly_what_was_sent_meanwhile(unplugged_s: float) -> None:
    """Received and missed are all that were sent since the first received, whatever happened between."""
    endpoint = free_tcp()
    with (
        program("publish", endpoint, "--every-ms", "5", "--total", "700") as process,
        closing(Cable(endpoint)) as cable,
    ):
        ready(process)
        items = iter(subscribe(cable.endpoint, timeout_s=30.0))
        found = [next(item for item in items if isinstance(item, Score))]
        cable.pull()
        time.sleep(unplugged_s)
        cable.plug()
        found += until_stop(items)
    scores = [item.seq for item in found if isinstance(item, Score)]
    gaps = [item for item in found if isinstance(item, Gap) and item.event_type == "score"]
    lost = {seq for gap in gaps for seq in range(gap.first_seq, gap.last_seq + 1)}

    assert len(lost) >= unplugged_s / 0.005 * 0.5
    assert lost | set(scores) == set(range(scores[0], 700))
    assert not lost & set(scores)
    assert scores == sorted(set(scores))


def test_with_replay_a_cut_connection_loses_nothing() -> None:
    endpoint = free_tcp()
    with (
        program("publish", endpoint, "--every-ms", "5", "--total", "600") as process,
        closing(Cable(endpoint)) as cable,
    ):
        ready(process)
        items = iter(subscribe(endpoint, timeout_s=30.0, replay=1))
        direct = next(item.replay for item in items if isinstance(item, Status))
        through = replay_cable(direct)
        try:
            items = watched(cable.endpoint, through)
            found = [next(item for item in items if isinstance(item, Score))]
            cable.pull()
            time.sleep(0.5)
            cable.plug()
            found += until_stop(items)
        finally:
            through.close()
    scores = [item.seq for item in found if isinstance(item, Score)]

    assert not [item for item in found if isinstance(item, Gap)]
    assert scores == list(range(scores[0], 600))


def replay_cable(replay: str) -> Cable:
    """A second cable, to the memory."""
    return Cable(replay)


def watched(endpoint: str, memory: Cable) -> Iterator[Any]:
    """A subscription whose memory is behind a cable too, since a subscriber asks the host it subscribed at."""
    original = client_module.Reader.queries

    def queries(self: Any, event: Event) -> Any:
        asked = original(self, event)
        if self.where:
            self.where = memory.endpoint
        return asked

    client_module.Reader.queries = queries  # type: ignore[method-assign]
    try:
        yield from subscribe(endpoint, timeout_s=30.0, replay=5)
    finally:
        client_module.Reader.queries = original  # type: ignore[method-assign]


def test_a_late_subscriber_gets_the_past_first_and_then_the_present_without_a_seam(endpoint: str) -> None:
    with program("publish", endpoint, "--every-ms", "5") as process:
        ready(process)
        next(item for item in subscribe(endpoint, timeout_s=10.0) if isinstance(item, Score) and item.seq >= 40)
        seqs: list[int] = []
        for item in subscribe(endpoint, timeout_s=10.0, replay=500):
            assert not isinstance(item, Gap)
            if isinstance(item, Score):
                seqs.append(item.seq)
            if len(seqs) > 150:
                break

    assert seqs == list(range(len(seqs)))


def restarts(endpoint: str, times: int) -> int:
    """How many of so many kills the subscriber tells as restarts; lost is at most the beginning of a new session."""
    told = 0
    items = iter(subscribe(endpoint, timeout_s=300.0))
    for number in range(times + 1):
        with program("publish", endpoint, "--every-ms", "5") as process:
            session = None if number else ""  # what the killed one said last may still be on its way
            for item in items:
                if isinstance(item, Restart):
                    told, session = told + 1, item.session
                assert not isinstance(item, Gap) or (item.first_seq, item.session) == (0, session)
                if isinstance(item, Score) and session is not None and item.seq > 3:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
    return told


def test_a_daemon_killed_and_started_again_is_a_restart_10_of_10(endpoint: str) -> None:
    assert restarts(endpoint, 10) == 10


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_a_daemon_killed_and_started_again_is_a_restart_50_of_50(endpoint: str, scheme: str) -> None:
    assert restarts(endpoint if scheme == "ipc" else free_tcp(), 50) == 50


def test_a_dead_daemon_is_known_within_12_s_and_a_bit(endpoint: str) -> None:
    with program("publish", endpoint) as process:
        ready(process)
        items = iter(subscribe(endpoint, timeout_s=20.0))
        next(item for item in items if isinstance(item, Score))
        process.send_signal(signal.SIGSTOP)  # a hung daemon keeps its connections
        died_s = time.monotonic()
        stale = next(item for item in items if isinstance(item, Stale))
        known_s = time.monotonic() - died_s

    assert stale.stream == "mic"
    assert 10.0 < known_s < 12.0


def test_nobody_at_the_endpoint_is_told_too(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sadstream.client.follower.STALE_S", 0.3)
    (stale,) = list(subscribe(endpoint, timeout_s=1.0))

    assert isinstance(stale, Stale)
    assert stale.stream is None


def test_a_slow_reader_may_ask_for_the_latest_only(endpoint: str) -> None:
    """Reading one event in 100 ms while 20 come: each is new, and skipping is no gap."""
    ages, seqs = [], []
    with program("publish", endpoint, "--every-ms", "5") as process:
        ready(process)
        for item in subscribe(endpoint, stream="mic", types=("score", "gap"), latest=True, timeout_s=10.0):
            assert isinstance(item, Score)
            ages.append(time.monotonic() - item.monotonic_s)
            seqs.append(item.seq)
            if len(seqs) == 12:
                break
            time.sleep(0.1)

    assert seqs == sorted(set(seqs))
    assert seqs[-1] - seqs[1] > 50
    assert sorted(ages[1:])[len(ages) // 2] < 0.1


def test_types_and_stream_are_filtered(endpoint: str) -> None:
    with program("publish", endpoint) as process:
        ready(process)
        for types in (("score",), ("status",), ("score", "gap")):
            item = next(iter(subscribe(endpoint, stream="mic", types=types, timeout_s=10.0)))
            assert item.type in types
        assert list(subscribe(endpoint, stream="mi", types=("score",), timeout_s=0.5)) == []


def test_async_and_plain_hear_the_same(endpoint: str) -> None:
    async def heard() -> list[Any]:
        found = []
        async for item in subscribe(endpoint, timeout_s=20.0, replay=500):
            found.append(item)
            if isinstance(item, Status) and item.state == "stopping":
                break
        return found

    with program("publish", endpoint, "--total", "150") as process:
        ready(process)
        found = asyncio.run(heard())
        plain = until_stop(iter(subscribe(endpoint, timeout_s=10.0, replay=500)))

    assert found == plain
    assert [item.seq for item in found if isinstance(item, Score)] == list(range(150))


@pytest.mark.parametrize(
    "options",
    [{"stream": "No!"}, {"types": ("weather",)}, {"latest": True}, {"latest": True, "stream": "mic", "replay": 5}],
    ids=str,
)
def test_what_cannot_be_asked_is_a_usage_error(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        subscribe(**options)


def test_who_is_turned_away_before_it_asks_for_the_past_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused socket has no peer, and a plain send on it waits for ever."""
    keys, _, stranger = keyed(tmp_path)
    endpoint, connect = free_tcp(), client_module._connect

    def connect_slowly(*asked: Any) -> bool:
        connected = connect(*asked)
        time.sleep(0.5)
        return connected

    monkeypatch.setattr(client_module, "_connect", connect_slowly)
    wake, other = socket.socketpair()
    with door(endpoint, keys=keys), wake, other, zmq.Context() as plain, zmq.asyncio.Context() as waiting:
        query, start = Query(last=1), time.monotonic()
        assert client_module._fetch(plain, endpoint, query, stranger, None) == []
        assert asyncio.run(client_module._fetch_async(waiting, endpoint, query, stranger, wake)) == []
        assert time.monotonic() - start < 5.0


@pytest.mark.parametrize("endpoint_text", ["nonsense", "tcp://", "tcp://127.0.0.1"])
def test_a_bad_endpoint_is_a_usage_error(endpoint_text: str) -> None:
    done = run("listen", endpoint_text, "--timeout", "1")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("replay", "endpoint_text", "expected"),
    [
        ("tcp://0.0.0.0:41234", "tcp://10.0.0.7:5556", "tcp://10.0.0.7:41234"),
        ("tcp://127.0.0.1:41234", "tcp://[::1]:5556", "tcp://[::1]:41234"),
        ("ipc:///run/x.replay", "ipc:///run/x", "ipc:///run/x.replay"),
        ("ipc:///run/x.replay", "ipc://mounted/x", "ipc://mounted/x.replay"),
        ("ipc:///elsewhere/past", "ipc:///run/x", "ipc:///elsewhere/past"),
        ("ipc:///etc/passwd", "tcp://10.0.0.7:5556", ""),
        ("tcp://evil:nonsense", "tcp://10.0.0.7:5556", ""),
        ("", "tcp://10.0.0.7:5556", ""),
    ],
)
def test_the_past_is_asked_for_only_where_we_subscribed(replay: str, endpoint_text: str, expected: str) -> None:
    assert replay_address(replay, endpoint_text) == expected


def test_standard_output_holds_events_alone_and_the_end_of_time_is_1(endpoint: str) -> None:
    with program("publish", endpoint, "--total", "40", "--every-ms", "20") as process:
        ready(process)
        done = run("listen", endpoint, "--json", "--timeout", "2", timeout=30)

    assert done.returncode == 1
    assert all(json.loads(line)["type"] in ("score", "status") for line in done.stdout.splitlines())
    assert "scores" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with sadstream and pyzmq and nothing else, as an app developer would make it."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for wanted in (["--no-deps", str(ROOT)], ["pyzmq"]):
        done = subprocess.run(
            [*install, *wanted], check=False, capture_output=True, text=True, timeout=240, env=environment
        )
        if done.returncode and "No matching distribution" in done.stderr:
            pytest.skip("no package index to install pyzmq from")
        assert done.returncode == 0, done.stderr
    return folder / "bin" / "python"


def test_the_client_needs_pyzmq_alone(bare: Path, endpoint: str) -> None:
    code = f"""
        import importlib.metadata, sys
        from sadstream.client import subscribe
        assert {{d.metadata["Name"] for d in importlib.metadata.distributions()}} <= {{"sadstream", "pyzmq"}}
        for event in subscribe({endpoint!r}, types=("score",), timeout_s=20, replay=3):
            print(event.p_sad)
            break
        assert not {{"torch", "numpy", "pydantic", "typer"}} & set(sys.modules)
    """
    with program("publish", endpoint) as process:
        ready(process)
        done = python(str(bare), code, cwd=bare.parent)

    assert done.returncode == 0, done.stderr
    assert 0.0 < float(done.stdout) < 1.0


def test_a_fake_daemon_and_made_up_events_need_pyzmq_alone_too(bare: Path, endpoint: str) -> None:
    code = f"""
        import sys
        from sadstream.client import subscribe
        from sadstream.testing import fake_daemon, score
        with fake_daemon({endpoint!r}) as daemon:
            daemon.send(score(0.9))
            with subscribe({endpoint!r}, types=("score",), timeout_s=20) as events:
                print(next(events).p_sad)
        assert not {{"torch", "numpy", "pydantic", "typer", "pytest"}} & set(sys.modules)
    """
    done = python(str(bare), code, cwd=bare.parent)

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 0.9


def test_a_command_beside_pyzmq_alone_is_one_line_and_the_fake_works(bare: Path, endpoint: str) -> None:
    for words in ([str(bare.with_name("sadstream"))], [str(bare), "-m", "sadstream"]):
        done = subprocess.run([*words, "fake"], capture_output=True, text=True, check=False, cwd=bare.parent)
        assert done.returncode == 69
        (line,) = done.stderr.splitlines()
        assert "python -m sadstream.testing" in line

    command = [str(bare), "-m", "sadstream.testing", "--endpoint", endpoint, "--speed", "60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=bare.parent) as fake:
        assert fake.stderr is not None
        assert endpoint in fake.stderr.readline()
        assert next(subscribe(endpoint, types=("score",), timeout_s=20.0)).type == "score"
        fake.kill()
