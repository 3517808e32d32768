"""Both ends of the wire as `bench/wire.py` measures them: sadstream's publisher and client, and pyzmq as it comes.

Run as a program it is one process of the measurement: a publisher (`KIND ENDPOINT JOB`), a listener that writes down
when each message came (`listen KIND ENDPOINT UNTIL_S`), or a process full of idle subscribers (`idlers ENDPOINT`).
No process lives longer than LIFE_S.
"""

import json
import math
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from sadstream.client import subscribe
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.events import Latency, Score, Status, to_wire

RATE_HZ = 200
IDLERS = 10
LIFE_S = 60.0


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
        opening = self._publisher.opening("mic", "status")
        self._publisher.send(Status(**opening, state="listening", reason="none", dropped=0, rtf=0.1))
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
    def received(endpoint: str, limit_s: float) -> Iterator[tuple[float, int]]:
        """The delay of each message in seconds, and its number, as the app gets it, for so long."""
        for item in subscribe(endpoint, types=("score",), timeout_s=limit_s):
            yield time.monotonic() - item.monotonic_s, item.seq

    @staticmethod
    def joined(endpoint: str, limit_s: float) -> object:
        """The first message of a new subscription, None if none came in time."""
        return next(iter(subscribe(endpoint, timeout_s=limit_s)), None)


class Bare:
    """pyzmq as it comes: PUB, SUB, a stamp and padding to the length of a score."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        opening = {"stream": "mic", "session": "a" * 16, "seq": 1000, "monotonic_s": 12345.678901}
        self._padding = b"x" * (len(to_wire(score(opening | {"time": "2030-01-31T12:00:00.000Z"}, 1000))) - 16)
        self.number = 0

    def __enter__(self) -> "Bare":
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
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
    def received(endpoint: str, limit_s: float) -> Iterator[tuple[float, int]]:
        """The delay of each message in seconds, and its number, for so long."""
        context = zmq.Context()
        until = time.monotonic() + limit_s
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(endpoint)
            try:
                while socket.poll(max(0, math.ceil(1000 * (until - time.monotonic())))):
                    sent_s, number = struct.unpack_from("dq", socket.recv())
                    yield time.monotonic() - sent_s, number
            finally:
                socket.close(linger=0)
                context.term()

    @classmethod
    def joined(cls, endpoint: str, limit_s: float) -> object:
        """The first message of a new subscription, None if none came in time."""
        delays = cls.received(endpoint, limit_s)
        first = next(delays, None)
        delays.close()  # type: ignore[attr-defined]
        return first


KINDS: dict[str, Any] = {"ours": Ours, "bare": Bare}


def publish(kind: str, endpoint: str, job: str) -> None:
    """The publishing process; jobs: steady (RATE_HZ), idle (a status only), bursts and flood (as many as told).

    A told number of messages is answered by a line: the resident memory in KiB, the last message's number.
    """
    with KINDS[kind](endpoint) as end:
        print("ready", flush=True)
        until = time.monotonic() + LIFE_S
        if job == "steady":
            _steady(end, until)
        elif job == "idle":
            while time.monotonic() < until:
                end.wait(0.2)
        else:
            _as_told(end, until, pause_every=20 if job == "flood" else 0)


def _steady(end: Any, until: float) -> None:
    due = time.monotonic()
    while due < until:
        due += 1 / RATE_HZ
        while (left := due - time.monotonic()) > 0:
            end.wait(left)
        end.send()


def _as_told(end: Any, until: float, pause_every: int) -> None:
    """Until the first request something is sent now and then, so that a subscriber knows that it has joined."""
    asked, told = sys.stdin.fileno(), False
    while time.monotonic() < until:
        end.wait(0.02, asked)
        if not zmq.select([asked], [], [], 0)[0]:
            if not told:
                end.send()
            continue
        line = os.read(asked, 100)
        if not line:
            return
        for count in line.split():
            for number in range(int(count)):
                end.send()
                if pause_every and number % pause_every == 0:
                    end.wait(0.002)
            told = True
            print(resident_kib(os.getpid()), end.number - 1, flush=True)


def listen(kind: str, endpoint: str, until_s: float) -> None:
    """Writes "ready" at the first message and, at a time of the monotonic clock, all that came as one JSON list.

    Each: when it came, its delay in ms, its number.
    """
    came = []
    for delay_s, number in KINDS[kind].received(endpoint, min(LIFE_S, until_s - time.monotonic())):
        if not came:
            print("ready", flush=True)
        came.append((round(time.monotonic(), 4), round(1000 * delay_s, 4), number))
        if came[-1][0] >= until_s:
            break
    print(json.dumps(came), flush=True)


def idlers(endpoint: str) -> None:
    """A process with IDLERS plain subscribers that read the first message and no more."""
    contexts = [zmq.Context() for _ in range(IDLERS)]
    sockets = [context.socket(zmq.SUB) for context in contexts]
    for socket in sockets:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.RCVTIMEO, int(1000 * LIFE_S))
        socket.connect(endpoint)
    for socket in sockets:
        socket.recv()
    print("ready", flush=True)
    time.sleep(LIFE_S)


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["listen", kind_, endpoint_, until_]:
            listen(kind_, endpoint_, float(until_))
        case ["idlers", endpoint_]:
            idlers(endpoint_)
        case [kind_, endpoint_, job_]:
            publish(kind_, endpoint_, job_)
