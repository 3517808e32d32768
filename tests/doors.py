"""A door and its scorer without a cluster, in a thread of the test; and a room that knocks by hand."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np
import zmq
from fakes import Each, analysis
from numpy.typing import NDArray

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.base.samples import SAMPLE_RATE, to_float, to_pcm
from sadstream.cluster.door import Door
from sadstream.cluster.scorer import Scorer
from sadstream.daemon.remote.request import (
    ID_BYTES,
    Answer,
    HelloAnswer,
    SegmentRequest,
    hello_frames,
    read_answer,
    request_frames,
)
from sadstream.events.keys import Curve, ServerKeys, allow, client_curve, new_key, read_secret
from sadstream.scoring.analysis import Analysis

HELLO = HelloAnswer(model="0123456789ab", whisper="fake", device="cpu", licence="Apache-2.0")


def noise(seconds: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    """(n,) samples that 16 bits hold exactly."""
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE)) * 0.05
    return to_float(to_pcm(drawn.astype(np.float32)))


def request(seconds: float = 1.0, **changes: object) -> SegmentRequest:
    """What is said of `noise(seconds)`."""
    said = {"lane": 0, "t_start": 0.0, "t_end": seconds, "voiced": 0.5, "age_ms": 0.0, "wait_ms": 2000.0}
    return SegmentRequest(**(said | changes))  # type: ignore[arg-type]


class RunningDoor:
    """A door that answers until the block ends; `score` may be exchanged while it does."""

    def __init__(
        self,
        endpoint: str,
        keys: ServerKeys | None,
        score: Callable[..., Awaitable[list[bytes]]],
        calls: int = 2,
        hello: HelloAnswer = HELLO,
    ) -> None:
        self.endpoint = endpoint
        self.score = score
        self.ready = True
        self._keys = keys
        self._calls = calls
        self._hello = hello
        self.door: Door | None = None
        self._started = threading.Event()

    def __enter__(self) -> "RunningDoor":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # a test may have ended it
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._serve())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _serve(self) -> None:
        self.door = Door(self.endpoint, self._keys, self._scored, self._calls)
        self.door.hello = self._hello
        looking = asyncio.create_task(self._look(self.door))
        self._started.set()
        try:
            await self.door.serve()
        finally:
            looking.cancel()

    async def _scored(self, batch: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        return await self.score(*chain.from_iterable(batch))

    async def _look(self, door: Door) -> None:
        while True:
            if self.ready:
                door.ready_s = time.monotonic()
            else:
                door.ready_s = -100.0
            await asyncio.sleep(0.05)


@contextmanager
def door(
    endpoint: str,
    analyze: Callable[[Segment], Analysis | UnscoredSegment] = analysis,
    keys: ServerKeys | None = None,
) -> Iterator[RunningDoor]:
    """A door, and behind it a scorer that does to each segment what `analyze` does."""
    scorer = Scorer(Each(analyze), batch=1)
    with RunningDoor(endpoint, keys, scorer.score) as running:
        yield running


SEND_TIMEOUT_MS = 5_000  # whoever was turned away has nobody to send to


class Knocker:
    """A room by hand: one DEALER, whatever it likes to send."""

    def __init__(self, endpoint: str, curve: Curve | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        if curve is not None:
            self.socket.curve_serverkey, self.socket.curve_publickey, self.socket.curve_secretkey = curve
        self.socket.connect(endpoint)
        self._number = 0

    def __enter__(self) -> "Knocker":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def send(self, asked: SegmentRequest, samples: NDArray[np.float32]) -> bytes:
        """Send a segment; its number."""
        return self.send_raw(*request_frames(asked, samples))

    def send_raw(self, *frames: bytes) -> bytes:
        """Send any frames under a new number."""
        self._number += 1
        number = self._number.to_bytes(ID_BYTES, "big")
        self.socket.send_multipart([number, *frames])
        return number

    def hello(self) -> bytes:
        """Send a hello; its number."""
        return self.send_raw(*hello_frames())

    def answer(self, timeout_s: float = 5.0) -> tuple[bytes, Answer] | None:
        """The next answer with its number, or None."""
        if not self.socket.poll(round(1000 * timeout_s)):
            return None
        number, said = self.socket.recv_multipart()
        return number, read_answer(said)


def keyed(folder: Path) -> tuple[ServerKeys, Curve, Curve]:
    """A door's keys, those of a room that it allows, and those of a stranger."""
    server = new_key(folder / "serve.key")
    room = new_key(folder / "room.key")
    new_key(folder / "stranger.key")
    allow(folder / "rooms.keys", room, "kitchen")
    keys = ServerKeys(read_secret(folder / "serve.key"), folder / "rooms.keys")
    known, stranger = (client_curve(server, folder / f"{name}.key") for name in ("room", "stranger"))
    assert known is not None
    assert stranger is not None
    return keys, known, stranger
