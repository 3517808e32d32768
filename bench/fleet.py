"""What a door and its scorers carry: replicas that sleep, real ones, rooms until they wait, local beside remote.

    python bench/fleet.py --json docs/bench-fleet.json

Starts clusters of its own on loopback, one part after the other; --parts names some of them. Ten minutes on two cores
that have nothing else to do; on busy ones read ratios, not milliseconds.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.cluster import nodes, tokens
from sadstream.cluster.actors import Placement, ScorerReplica
from sadstream.cluster.rooms import RoomsRequest, run_rooms, scene_segments
from sadstream.cluster.scorer import Scorer
from sadstream.cluster.serve import DOOR, ServeRequest, deploy, handle
from sadstream.config import Config, parse, with_changes
from sadstream.daemon.loading import load_remote, load_with_fallback
from sadstream.daemon.remote.request import HelloAnswer
from sadstream.scoring.analysis import Analysis, Early
from sadstream.scoring.fusion.checkpoint import default_path, model_id

FIXED_S, EACH_S = 0.08, 0.03  # of the sleeping model, a batch and a segment: what tiny.en takes, without the processor
TALK_S = 12.0
TOKEN = Path(tempfile.mkdtemp(prefix="bench-fleet-")) / "token"  # Ray reads it once a process
PARTS = ("sleeping", "real", "rooms", "beside", "thousand")


class Sleeping:
    """A model that takes its time and no processor."""

    def __init__(self, fixed_s: float = FIXED_S, each_s: float = EACH_S) -> None:
        self._fixed_s = fixed_s
        self._each_s = each_s

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | UnscoredSegment]:
        time.sleep(self._fixed_s + self._each_s * len(segments))
        return [UnscoredSegment(0.5) for _ in segments]


class SleepingReplica:
    """As ScorerReplica, of a model that sleeps."""

    def __init__(self, config: Config, batch: int) -> None:
        self._scorer = Scorer(Sleeping(), batch)

    async def score(self, *frames: bytes) -> list[bytes]:
        return await self._scorer.score(*frames)

    async def hello(self) -> HelloAnswer:
        return HelloAnswer(model=model_id(default_path()), whisper="sleeping", device="none", licence="none")


class BatchReplica(SleepingReplica):
    """As a GPU would: a batch takes as long as one."""

    def __init__(self, config: Config, batch: int) -> None:
        super().__init__(config, batch)
        self._scorer = Scorer(Sleeping(0.05, 0.0), batch)


@contextmanager
def served(replicas: int, replica: type, cpus: float, batch: int = 1) -> Iterator[tuple[str, nodes.Node]]:
    """A cluster of its own with so many scorers behind a door on loopback."""
    token = tokens.make_token(TOKEN)
    node = nodes.start_head(nodes.NodeSettings(token, nodes.free_base_port(), cpus=64, resources='{"door": 1}'))
    try:
        library = nodes.connect(f"127.0.0.1:{node.settings.base_port}", token)
        endpoint = f"tcp://127.0.0.1:{_free_port()}"
        config = parse({"compute": {"device": "cpu", "threads": 1}}, "bench")
        deploy(ServeRequest(config, endpoint, token), config, Placement(replicas, replicas, cpus, 0.0, batch), replica)
        door = handle(DOOR)
        while not door.report.remote().result(timeout_s=30).ready:
            time.sleep(0.2)
        yield endpoint, node
        library.shutdown()
    finally:
        node.end()


def sleeping() -> dict[str, Any]:
    """Segments a second of 1, 2, 4 and 8 replicas that only sleep, three rooms each."""
    found = {}
    for replicas in (1, 2, 4, 8):
        with served(replicas, SleepingReplica, 1.0) as (endpoint, _):
            found[replicas] = _throughput(endpoint, 3 * replicas)
    return {"segments_s": found, "times_one": {n: rate / found[1] for n, rate in found.items()}}


def real() -> dict[str, Any]:
    """The same of real models, one thread each, as far as there are cores."""
    found = {}
    for replicas in range(1, len(os.sched_getaffinity(0)) + 1):
        with served(replicas, ScorerReplica, 1.0) as (endpoint, _):
            found[replicas] = _throughput(endpoint, 3 * replicas)
    return {"segments_s": found, "times_one": {n: rate / found[1] for n, rate in found.items()}}


def rooms() -> dict[str, Any]:
    """Rooms that talk a third of the time, more and more of them, until one answer in twenty takes over a second."""
    rows = []
    with served(len(os.sched_getaffinity(0)), ScorerReplica, 1.0) as (endpoint, _):
        for count in range(16, 129, 8):
            report = run_rooms(RoomsRequest(endpoint, count, 15.0, count * 0.3 / 2.36))
            rows.append(
                {"rooms": count, "segments_s": report.sent / 15.0, "p50_ms": report.percentile_ms(0.5),
                 "p95_ms": report.percentile_ms(0.95), "dropped": report.dropped.total()}
            )  # fmt: skip
            print(rows[-1], flush=True)
            if rows[-1]["p95_ms"] > 1000 or rows[-1]["dropped"] > report.sent / 20:
                break
    return {"rows": rows}


def beside() -> dict[str, Any]:
    """The same segments by models of this process and by those of a door, in turns, one thread each."""
    config = parse({"compute": {"device": "cpu", "threads": 1}, "model": {}}, "bench")
    own = load_with_fallback(config, lambda _: None).analyzer
    spent: dict[str, list[float]] = {"local": [], "remote": []}
    with served(1, ScorerReplica, 1.0) as (endpoint, _):
        changes = {"compute": {"device": "remote"}, "remote": {"endpoints": [endpoint], "fallback": "none"}}
        far = load_remote(with_changes(config, changes), lambda _: None).analyzer
        for n, segment in enumerate(scene_segments() * 6):
            for name, analyzer in (("local", own), ("remote", far))[:: 1 if n % 2 else -1]:
                start = time.perf_counter()
                analyzer.many([segment])
                spent[name].append(1000 * (time.perf_counter() - start))
    pairs = [b - a for a, b in zip(spent["local"], spent["remote"], strict=True)]
    return {
        "n": len(pairs),
        "local_p50_ms": statistics.median(spent["local"]),
        "remote_p50_ms": statistics.median(spent["remote"]),
        "difference_p50_ms": statistics.median(pairs),
        "difference_p95_ms": sorted(pairs)[int(0.95 * len(pairs))],
    }


def thousand(seconds: float = 180.0) -> dict[str, Any]:
    """1,000 rooms, 200 segments a second, 1,000 reconnects, a replica killed a minute; 4 take 16 at once in 50 ms."""
    kills: list[float] = []
    with served(4, BatchReplica, 1.0, batch=16) as (endpoint, node):
        stop = threading.Event()

        def kill() -> None:
            while not stop.wait(60.0 if kills else 30.0):
                below = psutil.Process(node.process.pid).children(recursive=True)
                scorers = [one for one in below if "sadstream:Scorer" in " ".join(one.cmdline())]
                scorers[len(kills) % len(scorers)].send_signal(signal.SIGKILL)
                kills.append(time.monotonic())

        thread = threading.Thread(target=kill)
        thread.start()
        report = run_rooms(RoomsRequest(endpoint, 1000, seconds, 200.0, reconnects=1000))
        stop.set()
        thread.join()
        door = handle(DOOR).report.remote().result(timeout_s=30)
    return {
        "sent": report.sent, "scored": report.scored, "unscored": report.unscored, "dropped": dict(report.dropped),
        "difference": report.difference, "kills": len(kills), "second_tries": door.second_tries,
        "p50_ms": report.percentile_ms(0.5), "p95_ms": report.percentile_ms(0.95), "connected_s": report.connected_s,
    }  # fmt: skip


def _throughput(endpoint: str, count: int) -> float:
    """Segments a second of rooms that each send the next as soon as the last is answered."""
    report = run_rooms(RoomsRequest(endpoint, count, TALK_S, rate=1000.0 * count))
    print(f"  {count} rooms: {report.scored + report.unscored} answered, {dict(report.dropped)}", flush=True)
    return (report.scored + report.unscored) / TALK_S


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    wanted = parser.parse_args()
    found = json.loads(wanted.json.read_text()) if wanted.json and wanted.json.exists() else {}
    for part in wanted.parts:
        found[part] = globals()[part]()
        print(part, json.dumps(found[part]), flush=True)
        if wanted.json:
            wanted.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.set_event_loop(None)
    main()
