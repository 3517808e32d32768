"""How quick the wire is: sadstream's publisher and client beside a bare pyzmq PUB/SUB pair, in turns, in one run.

python bench/wire.py [--seconds 4] [--turns 3] [--json FILE]

Latency: from `monotonic_s` in the event (before it becomes JSON) to the typed event in the app's hand; bare: from a
stamp in a frame of the same length to the frame in hand. Both ends in processes of their own, 200 messages a second.
Messages a second: bursts of BURST, below every high-water mark, the next when the last was acknowledged; none is lost.
Join: from making the subscription to the first message. Memory: what the publisher grows by for each of 10
subscribers that are frozen (SIGSTOP) while 10,000 events are sent, which are 8 hours at one per 3 s.
"""

import argparse
import json
import math
import os
import platform
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from sadstream.client import subscribe
from sadstream.events import Latency, Score, to_wire
from sadstream.publish import Publisher

RATE_HZ = 200
BURST = 200
BURSTS = 40
JOINS = 60
STALLED = 10
STALLED_EVENTS = 10_000
SEND_S = 60.0  # longest that a child lives


def score(opening: dict[str, Any], number: int) -> Score:
    """An event of everyday length."""
    return Score(
        **opening,
        segment=number, t_start=2.0 * number, t_end=2.0 * number + 1.98, p_sad=1 / (1 + math.exp(0.716385)),
        threshold=0.41, sad=False, bias_logit=-2.197225, audio_logit=1.223451, text_logit=0.257389, offset_logit=0.0,
        text_used=True, text_reason="none", voiced=0.786667, dropped=0, model="0123456789ab",
        latency_ms=Latency(queue=0.312, vad=0.21, whisper=412.532, text=9.412, fusion=6.511, publish=0.2, total=431.6),
    )  # fmt: skip


class Ours:
    """The publisher of the daemon and the client library."""

    def __init__(self, endpoint: str) -> None:
        self._publisher = Publisher(endpoint)
        self.number = 0

    def __enter__(self) -> "Ours":
        self._publisher.__enter__()
        self._publisher.send_status("mic", "listening", "none", 0, 0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.__exit__(None, None, None)

    def send(self) -> None:
        """One event."""
        self._publisher.send(score(self._publisher.opening("mic", "score"), self.number))
        self.number += 1

    def wait(self, seconds: float, *wake_fds: int) -> None:
        """Until the time is up or somebody calls."""
        self._publisher.wait(max(0, math.ceil(1000 * seconds)), *wake_fds)

    @staticmethod
    def received(endpoint: str) -> Iterator[tuple[float, int]]:
        """The delay of each message in seconds, and its number, as the app gets it."""
        for item in subscribe(endpoint, types=("score",), timeout_s=SEND_S):
            yield time.monotonic() - item.monotonic_s, item.seq

    @staticmethod
    def joined(endpoint: str) -> object:
        """The first message of a new subscription."""
        return next(iter(subscribe(endpoint, timeout_s=SEND_S)))


class Bare:
    """pyzmq as it comes: PUB, SUB, a stamp and padding to the length of a score."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        opening = {"stream": "mic", "session": "a" * 16, "seq": 1000, "monotonic_s": 12345.678901}
        self._padding = b"x" * (len(to_wire(score(opening | {"time": "2030-01-31T12:00:00.000Z"}, 1000))) - 16)
        self.number = 0

    def __enter__(self) -> "Bare":
        self._context: Any = zmq.Context()
        self._socket: Any = self._context.socket(zmq.PUB)
        self._socket.bind(self._endpoint)
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def send(self) -> None:
        """One frame."""
        self._socket.send(struct.pack("dq", time.monotonic(), self.number) + self._padding)
        self.number += 1

    def wait(self, seconds: float, *wake_fds: int) -> None:
        """Until the time is up or somebody calls."""
        poller = zmq.Poller()
        for fd in wake_fds:
            poller.register(fd, zmq.POLLIN)
        if wake_fds:
            poller.poll(max(0, math.ceil(1000 * seconds)))
        else:
            time.sleep(max(0.0, seconds))

    @staticmethod
    def received(endpoint: str) -> Iterator[tuple[float, int]]:
        """The delay of each message in seconds, and its number."""
        context: Any = zmq.Context()
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(endpoint)
            try:
                while True:
                    frame = socket.recv()
                    sent_s, number = struct.unpack_from("dq", frame)
                    yield time.monotonic() - sent_s, number
            finally:
                socket.close(linger=0)
                context.term()

    @classmethod
    def joined(cls, endpoint: str) -> object:
        """The first message of a new subscription."""
        delays = cls.received(endpoint)
        first = next(delays)
        delays.close()  # type: ignore[attr-defined]
        return first


KINDS: dict[str, Any] = {"ours": Ours, "bare": Bare}


def child(kind: str, endpoint: str, job: str) -> None:
    """The publishing process; jobs: steady (RATE_HZ), idle (a status only), bursts and flood.

    The last two send what they are told to, and now and then something until the first request.
    """
    with KINDS[kind](endpoint) as end:
        print("ready", flush=True)
        until = time.monotonic() + SEND_S
        due = time.monotonic()
        asked, started = sys.stdin.fileno(), False
        while time.monotonic() < until:
            if job == "steady":
                due += 1 / RATE_HZ
                while (left := due - time.monotonic()) > 0:
                    end.wait(left)
                end.send()
            elif job == "idle":
                end.wait(0.2, asked)
            else:
                end.wait(0.02, asked)
                if not zmq.select([asked], [], [], 0)[0]:
                    if not started:
                        end.send()
                    continue
                line = os.read(asked, 100).decode().split()
                for count in line:
                    for number in range(int(count)):
                        end.send()
                        if job == "flood" and number % 20 == 0:
                            end.wait(0.002)
                    started = True
                    print(resident_kib(), end.number - 1, flush=True)


def frozen(endpoint: str) -> None:
    """A process with STALLED plain subscribers that read the first message and no more."""
    contexts: list[Any] = [zmq.Context() for _ in range(STALLED)]
    sockets: list[Any] = [context.socket(zmq.SUB) for context in contexts]
    for socket in sockets:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(endpoint)
    for socket in sockets:
        socket.recv()
    print("ready", flush=True)
    time.sleep(SEND_S)


def resident_kib() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """This program in another role, ready, and killed at the end."""
    command = [sys.executable, __file__, "--role", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as running:
        try:
            if arguments[0] != "frozen":
                assert running.stdout is not None
                assert running.stdout.readline() == "ready\n"
            yield running
        finally:
            running.kill()


def told(running: subprocess.Popen[str], count: int) -> tuple[int, int]:
    """Have so many messages sent; the publisher's memory after them, in KiB, and the last one's number."""
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(f"{count} ")
    running.stdin.flush()
    kib, number = running.stdout.readline().split()
    return int(kib), int(number)


def latency(kind: str, endpoint: str, seconds: float) -> list[float]:
    """Delays in ms, without the first quarter of a second."""
    with process(kind, endpoint, "steady"):
        delays = KINDS[kind].received(endpoint)
        until = time.monotonic() + seconds + 0.25
        found = [1000 * delay_s for delay_s in take_until(delays, until)]
        delays.close()
    return found[RATE_HZ // 4 :]


def take_until(delays: Iterator[tuple[float, int]], until: float) -> Iterator[float]:
    for delay_s, _ in delays:
        yield delay_s
        if time.monotonic() >= until:
            return


def rate(kind: str, endpoint: str) -> float:
    """Messages a second from end to end, none lost."""
    with process(kind, endpoint, "bursts") as running:
        delays = KINDS[kind].received(endpoint)
        next(delays)  # now the subscription has arrived
        _, last = told(running, 1)
        while next(delays)[1] < last:
            pass
        began = time.monotonic()
        for _ in range(BURSTS):
            assert running.stdin is not None
            running.stdin.write(f"{BURST} ")
            running.stdin.flush()
            for _ in range(BURST):
                next(delays)
        spent = time.monotonic() - began
        delays.close()
    return BURSTS * BURST / spent


def joins(kind: str, endpoint: str) -> list[float]:
    """Milliseconds from subscribing to the first message: ours of an idle daemon, bare of one that always talks."""
    found = []
    with process(kind, endpoint, "idle" if kind == "ours" else "steady"):
        for _ in range(JOINS):
            began = time.monotonic()
            KINDS[kind].joined(endpoint)
            found.append(1000 * (time.monotonic() - began))
    return found


def memory(kind: str, endpoint: str) -> float:
    """KiB that the publisher grows by for a frozen subscriber."""
    grown = []
    for stalled in (False, True):
        with process(kind, endpoint, "flood") as running, process("frozen", endpoint) as others:
            if stalled:
                told(running, 200)
                while not zmq.select([others.stdout], [], [], 0.1)[0]:
                    told(running, 20)
                others.send_signal(signal.SIGSTOP)
            else:
                others.kill()
                time.sleep(0.2)
            before, _ = told(running, 1000)
            after, _ = told(running, STALLED_EVENTS)
            grown.append(after - before)
    return max(0.0, (grown[1] - grown[0]) / STALLED)


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and how many."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 4), "p99": round(cuts[98], 4), "n": len(values)}


def measure(seconds: float, turns: int) -> dict[str, Any]:
    """Every figure of both transports and kinds; the kinds take turns, so that noise meets both."""
    report: dict[str, Any] = {"machine": machine(), "rate_hz": RATE_HZ}
    with tempfile.TemporaryDirectory(prefix="bench-wire-") as folder:
        for transport in ("tcp", "ipc"):
            numbers = iter(range(1000))
            place: Callable[[], str] = (
                free_tcp
                if transport == "tcp"
                else lambda folder=folder, numbers=numbers: f"ipc://{folder}/{next(numbers)}"
            )
            delays: dict[str, list[float]] = {kind: [] for kind in KINDS}
            rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
            waits: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for _ in range(turns):
                for kind in KINDS:
                    delays[kind] += latency(kind, place(), seconds)
                    rates[kind].append(rate(kind, place()))
                    waits[kind] += joins(kind, place())
            report[transport] = {
                kind: {
                    "latency_ms": quantiles(delays[kind]),
                    "messages_s": round(statistics.median(rates[kind])),
                    "join_ms": quantiles(waits[kind]),
                    "kib_per_stalled": round(memory(kind, place()), 1),
                }
                for kind in KINDS
            }
    return report


def free_tcp() -> str:
    """An endpoint of this machine that nobody uses."""
    context: Any = zmq.Context()
    with context.socket(zmq.PUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
    context.term()
    return f"tcp://127.0.0.1:{port}"


def machine() -> dict[str, Any]:
    """Where and of what the figures are."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True)
    return {
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "libzmq": zmq.zmq_version(),
        "pyzmq": zmq.pyzmq_version(),
        "commit": commit.stdout.strip(),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{'':34}{'ours':>12}{'bare pyzmq':>12}{'ratio':>8}"]
    rows = [
        ("latency p50, ms", ("latency_ms", "p50")), ("latency p99, ms", ("latency_ms", "p99")),
        ("messages a second", ("messages_s",)), ("join to first message p50, ms", ("join_ms", "p50")),
        ("join to first message p99, ms", ("join_ms", "p99")), ("KiB per stalled subscriber", ("kib_per_stalled",)),
    ]  # fmt: skip
    for transport in ("tcp", "ipc"):
        for name, path in rows:
            ours, bare = (digged(report[transport][kind], path) for kind in ("ours", "bare"))
            ratio = f"{ours / bare:8.2f}" if bare else ""
            lines.append(f"{transport + ' ' + name:34}{ours:12.3f}{bare:12.3f}{ratio}")
    return "\n".join(lines)


def digged(values: Any, path: tuple[str, ...]) -> float:
    for key in path:
        values = values[key]
    return float(values)


def main() -> None:
    """The whole run, or one role in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn of latency")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, *rest = arguments.role
        frozen(*rest) if role == "frozen" else child(role, *rest)
        return
    report = measure(arguments.seconds, arguments.turns)
    print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
