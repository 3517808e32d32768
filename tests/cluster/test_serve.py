"""A real cluster with real models behind a real door: what rooms hear of it, and what becomes of it when parts die."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from daemon import END_S, heard, run, scores, start
from doors import Knocker, noise, request

from sadstream.base.samples import to_float
from sadstream.cluster import nodes, tokens
from sadstream.cluster.rooms import scene_segments
from sadstream.daemon.pipeline.door_connection import DoorConnection
from sadstream.daemon.remote.reachability import Reachability
from sadstream.daemon.remote.request import ScoredAnswer, SegmentRequest, UnscoredAnswer
from sadstream.events.keys import Curve, client_curve

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.models, pytest.mark.usefixtures("real_models")]

SCENE = "sadstream/cli/demo/scene/scene.flac"
READY_S = 240.0
CLOCKS = ("time", "monotonic_s", "session", "latency_ms", "compute", "file")
CANARY = b"sad-canary-4f2a!"  # 16 bytes of sound
CONTROL = b"sad-control-9c1d"
BESIDE = """
import sys
from pathlib import Path
from sadstream.base.samples import to_float
from sadstream.cluster.actors import CUDA_BATCH
from sadstream.cluster.nodes import connect
from sadstream.cluster.serve import SCORER, handle
from sadstream.daemon.remote.request import SegmentRequest, request_frames

ray = connect("127.0.0.1:{port}", Path("{token}"))
asked = SegmentRequest(lane=0, t_start=0.0, t_end=3.0, voiced=1.0, age_ms=0.0, wait_ms=60000.0)
batch = request_frames(asked, to_float({canary!r} * 6000)) * CUDA_BATCH
assert len(handle(SCORER).score.remote(*batch).result(timeout_s=60)) == CUDA_BATCH
kept = ray.put({control!r} * 20000)
print("put", flush=True)
sys.stdin.read()
"""
SAID = (b"by the door", "by the door".encode("utf-16-le"))


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running `sadstream serve`."""

    process: "subprocess.Popen[str]"
    endpoint: str
    folder: Path
    base_port: int
    server: str

    @property
    def curve(self) -> Curve:
        found = client_curve(self.server, self.folder / "room.key")
        assert found is not None
        return found

    def actors(self, name: str) -> list[psutil.Process]:
        """The processes of a deployment."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in below if f"sadstream:{name}" in " ".join(_line(one))]

    def config(self, folder: Path, **publish: Any) -> Path:
        path = folder / "room.toml"
        path.write_text(
            '[compute]\ndevice = "remote"\n'
            f'[remote]\nendpoints = ["{self.endpoint}"]\nserver_key = "{self.server}"\n'
            f'secret_key = "{self.folder}/room.key"\nfallback = "none"\n'
            f"[publish]\ntext = {json.dumps(publish.get('text', False))}\n"
        )
        return path

    def status(self) -> dict[str, Any]:
        done = self.command("--status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        own = ["--token", str(self.folder / "token"), "--ray-port", str(self.base_port)]
        return run("serve", *words, *own, env=os.environ)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    server, room = (run("keys", "new", str(folder / f"{name}.key")).stdout.strip() for name in ("serve", "room"))
    run("keys", "allow", room, "--name", "kitchen", "--to", str(folder / "rooms.keys"))
    endpoint, base_port = f"tcp://127.0.0.1:{free_port()}", nodes.free_base_port()
    words = ["--secret-key", str(folder / "serve.key"), "--allow", str(folder / "rooms.keys"), "--replicas", "2"]
    words += ["--listen", endpoint, "--token", str(folder / "token"), "--ray-port", str(base_port)]
    process = start("serve", *words, env=os.environ, cwd=folder)
    try:
        await_ready(process)
        yield Cluster(process, endpoint, folder, base_port, server)
    finally:
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert not [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def await_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    late = threading.Timer(READY_S, process.kill)
    late.start()
    line = process.stdout.readline()
    late.cancel()
    assert line.startswith("serve: ready: "), line + (process.stderr.read() if process.stderr else "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_its_status_says_who_scores(cluster: Cluster) -> None:
    found = cluster.status()

    assert (found["machines"], found["replicas"], found["scores"]) == (1, 2, True)
    assert found["door"]["hello"]["whisper"] == "tiny.en"


@pytest.fixture(scope="module")
def local() -> list[dict[str, Any]]:
    """What this machine's models say of the scene."""
    done = run("score", SCENE)
    assert done.returncode == 0, done.stderr
    return [without_clocks(json.loads(line)) for line in done.stdout.splitlines()]


def without_clocks(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in CLOCKS}


def test_a_rooms_events_are_those_of_its_own_models(
    cluster: Cluster, local: list[dict[str, Any]], endpoint: str, tmp_path: Path
) -> None:
    words = ["--config", str(cluster.config(tmp_path)), "--source", str(Path(SCENE).resolve()), "--pace", "fast"]
    events = scores(heard(endpoint, *words))

    assert [without_clocks(event) for event in events] == local
    assert {event["compute"] for event in events} == {"remote"}
    assert all(event["latency_ms"]["remote"] >= 0 for event in events)


def test_replicas_that_are_killed_cost_no_segment(cluster: Cluster) -> None:
    """Four rooms send one segment after the other while each scorer is killed in turn."""
    segments, answers, go_on = scene_segments(), [], True

    def talk(lane: int, room: Knocker) -> None:
        n = 0
        while go_on:
            segment, n = segments[n % len(segments)], n + 1
            said = {"t_start": segment.t_start, "t_end": segment.t_end, "wait_ms": 6000.0}
            room.send(SegmentRequest(lane=lane, voiced=0.5, age_ms=0.0, **said), segment.heard)
            answers.append((room.answer(7.0) or (b"", None))[1])

    rooms = [Knocker(cluster.endpoint, cluster.curve) for _ in range(4)]
    threads = [threading.Thread(target=talk, args=pair) for pair in enumerate(rooms)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    first, second = cluster.actors("Scorer")
    first.kill()
    deadline_s = time.monotonic() + 60
    while len({one.pid for one in cluster.actors("Scorer")} - {first.pid, second.pid}) < 1:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    time.sleep(1.0)
    go_on = False
    for thread in threads:
        thread.join()
    for room in rooms:
        room.__exit__(None, None, None)

    assert len(answers) > 8
    assert [answer for answer in answers if not isinstance(answer, ScoredAnswer | UnscoredAnswer)] == []


def test_a_door_that_is_killed_is_noticed_at_once_and_back_by_itself(cluster: Cluster) -> None:
    link = DoorConnection([cluster.endpoint], cluster.curve, Reachability(1))
    assert link.start(10.0)
    (process,) = cluster.actors("Door")
    process.kill()
    killed_s = time.monotonic()
    try:
        while link.is_up:
            assert time.monotonic() - killed_s < 2.0
            time.sleep(0.01)
        while not link.is_up:
            assert time.monotonic() - killed_s < 40.0
            time.sleep(0.05)
    finally:
        link.close()


def test_what_rooms_send_and_what_was_said_is_nowhere(cluster: Cluster, tmp_path: Path) -> None:
    """Not in Ray's store, its spill folder and its logs, nor in core files; what is put there is found.

    Neither one by one through the door nor as a GPU's whole batch of the longest segments there are.
    """
    sound = to_float(CANARY * 6000)
    with Knocker(cluster.endpoint, cluster.curve) as room:
        for n in range(24):
            room.send(request(3.0, lane=n % 8, wait_ms=6000.0), sound)
        assert [room.answer(20.0) is not None for _ in range(24)] == [True] * 24
        said = []
        for segment in scene_segments()[:3]:
            asked = {"t_start": segment.t_start, "t_end": segment.t_end, "wait_ms": 6000.0, "words": True}
            room.send(SegmentRequest(lane=0, voiced=0.5, age_ms=0.0, **asked), segment.heard)
            said.append((room.answer(20.0) or (b"", None))[1])
    assert any(isinstance(one, ScoredAnswer) and SAID[0].decode() in (one.words or "") for one in said)

    code = BESIDE.format(port=cluster.base_port, token=cluster.folder / "token", canary=CANARY, control=CONTROL)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as control:
        assert control.stdout is not None
        assert control.stdout.readline() == "put\n"
        places = list(kept_by(cluster))
        found = {
            what: [name for name, content in places if what in content] for what in (CANARY * 2, CONTROL * 2, *SAID)
        }
        control.communicate()

    assert found.pop(CONTROL * 2), [name for name, _ in places]
    assert found == {CANARY * 2: [], SAID[0]: [], SAID[1]: []}


def kept_by(cluster: Cluster) -> Iterator[tuple[str, bytes]]:
    """Every file that a cluster's processes keep, named or not: logs, store, spilled objects, cores."""
    (folder,) = {one for one in nodes.SHARED_MEMORY.glob("sadray-*") if _is_of(one, cluster)}
    for path in (*folder.rglob("*"), *cluster.folder.rglob("core*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()
    for process in psutil.Process(cluster.process.pid).children(recursive=True):
        for opened in Path(f"/proc/{process.pid}/fd").glob("*"):
            if str(nodes.SHARED_MEMORY) in str(opened.readlink()):  # the store has no name any more
                yield str(opened.readlink()), opened.read_bytes()


def _is_of(folder: Path, cluster: Cluster) -> bool:
    return any(
        str(folder) in " ".join(_line(one)) for one in psutil.Process(cluster.process.pid).children(recursive=True)
    )


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_no_port_but_the_doors_answers_without_the_token(cluster: Cluster) -> None:
    """Everything that the cluster listens on is asked as a browser would, and as another cluster's member would."""
    ports = set()
    for process in psutil.Process(cluster.process.pid).children(recursive=True):
        ports |= {c.laddr.port for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    own = int(cluster.endpoint.rpartition(":")[2])
    assert own in ports
    assert len(ports) > 5

    answers = {port: over_http(port) for port in ports - {own}}
    assert {port: said for port, said in answers.items() if b" 200 " in said} == {}
    wrong = cluster.folder / "another.token"
    tokens.make_token(wrong)
    done = run("serve", "--status", "--token", str(wrong), "--ray-port", str(cluster.base_port), env=os.environ)
    assert done.returncode == 69
    assert "does not let us in" in done.stderr


def over_http(port: int) -> bytes:
    said = b""
    for path in ("/", "/metrics", "/api/version", "/api/jobs/"):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=0.3) as plain:
                plain.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                plain.settimeout(0.3)
                said += plain.recv(400)
        except OSError:
            continue
    return said


def test_a_second_one_on_the_same_ports_is_refused_and_says_which(cluster: Cluster) -> None:
    done = cluster.command("--listen", f"tcp://127.0.0.1:{free_port()}", "--replicas", "1")

    assert done.returncode == 73
    assert f"port {cluster.base_port} is in use" in done.stderr


def test_sound_without_speech_is_unscored(cluster: Cluster) -> None:
    with Knocker(cluster.endpoint, cluster.curve) as room:
        room.send(request(1.0, wait_ms=6000.0), noise(1.0) * np.float32(0.01))
        found = room.answer(END_S)

    assert found is not None
    assert isinstance(found[1], UnscoredAnswer)
