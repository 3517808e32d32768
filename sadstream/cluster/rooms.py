"""Rooms that nobody lives in: they knock as real ones would, and keep a ledger of what became of each segment."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
import zmq
import zmq.asyncio

from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import AudioFrame
from sadstream.config import Config
from sadstream.daemon.remote.request import (
    ID_BYTES,
    Answer,
    RefusedAnswer,
    ScoredAnswer,
    SegmentRequest,
    UnscoredAnswer,
    hello_frames,
    read_answer,
    request_frames,
)
from sadstream.events.validation import WireError

WAIT_S = 2.0  # for an answer, as a room does
SETTLE_S = 3.0  # at the end, for what is still on its way
CONNECTS_AT_ONCE = 50


@dataclass(slots=True)
class Ledger:
    """What became of every segment that one room sent."""

    sent: int = 0
    scored: int = 0
    unscored: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by why
    answered_ms: list[float] = field(default_factory=list)

    @property
    def difference(self) -> int:
        """Segments of which nothing is known."""
        return self.sent - self.scored - self.unscored - self.dropped.total()


@dataclass(frozen=True, slots=True)
class RoomsRequest:
    """How many rooms, how much they talk, and what happens to them."""

    endpoint: str
    rooms: int
    seconds: float
    rate: float  # segments a second, of all rooms together
    reconnects: int = 0  # of rooms, spread over the time
    seed: int = 0
    server_key: str | None = None  # each room makes itself a key; `allow` is told of it
    allow: Path | None = None


@dataclass(frozen=True, slots=True)
class RoomsReport:
    """The ledgers of all rooms, and how long the answers took."""

    ledgers: tuple[Ledger, ...]
    connected_s: float
    seconds: float

    @property
    def sent(self) -> int:
        """Segments that were sent."""
        return sum(one.sent for one in self.ledgers)

    @property
    def scored(self) -> int:
        """Segments that were scored."""
        return sum(one.scored for one in self.ledgers)

    @property
    def unscored(self) -> int:
        """Segments in which nobody spoke."""
        return sum(one.unscored for one in self.ledgers)

    @property
    def dropped(self) -> Counter[str]:
        """Segments that were lost, by why."""
        return sum((one.dropped for one in self.ledgers), Counter())

    @property
    def difference(self) -> int:
        """Segments that are not accounted for, of all rooms in which there are any."""
        return sum(abs(one.difference) for one in self.ledgers)

    def percentile_ms(self, share: float) -> float:
        """Within how many milliseconds so many of the answers came."""
        spent = sorted(ms for one in self.ledgers for ms in one.answered_ms)
        return spent[min(len(spent) - 1, int(share * len(spent)))] if spent else 0.0


def scene_segments() -> list[Segment]:
    """The bundled scene's segments: real speech, in the rhythm of real talk."""
    path = Path(str(files("sadstream.cli.demo") / "scene" / "scene.flac"))
    config = Config()
    segmenter = Segmenter(config.vad, config.segment)
    frames = (item for item in Recording(path, "mix").listen(lambda: False) if isinstance(item, AudioFrame))
    return [segment for frame in frames for segment in segmenter.feed(frame)] + segmenter.flush()


def run_rooms(wanted: RoomsRequest) -> RoomsReport:
    """Let them talk to their end."""
    return asyncio.run(_Street(wanted).run())


class _Street:
    """All rooms of a run, in one event loop."""

    def __init__(self, wanted: RoomsRequest) -> None:
        self._wanted = wanted
        self._segments = scene_segments()
        self._gaps = _gaps(self._segments)
        self._random = np.random.default_rng(wanted.seed)
        self._context = zmq.asyncio.Context()
        self._context.setsockopt(zmq.MAX_SOCKETS, 2 * wanted.rooms + 64)
        self._rooms = [_SimulatedRoom(self._context, wanted, n) for n in range(wanted.rooms)]

    async def run(self) -> RoomsReport:
        wanted, start_s = self._wanted, time.monotonic()
        _allow(wanted, self._rooms)
        at_once = asyncio.Semaphore(CONNECTS_AT_ONCE)
        await asyncio.gather(*(room.connect(at_once) for room in self._rooms))
        connected_s = time.monotonic() - start_s
        until_s = time.monotonic() + wanted.seconds
        talks = [asyncio.create_task(self._talk(room, until_s)) for room in self._rooms]
        moves = asyncio.create_task(self._reconnect(until_s))
        await asyncio.gather(*talks, moves)
        await asyncio.sleep(SETTLE_S)
        for room in self._rooms:
            room.close()
        self._context.destroy(linger=0)
        return RoomsReport(tuple(room.ledger for room in self._rooms), connected_s, wanted.seconds)

    async def _talk(self, room: "_SimulatedRoom", until_s: float) -> None:
        mean_s = self._wanted.rooms / self._wanted.rate
        await asyncio.sleep(float(self._random.uniform(0, min(mean_s, self._wanted.seconds))))
        number = int(self._random.integers(len(self._segments)))
        while time.monotonic() < until_s:
            number = (number + 1) % len(self._segments)
            start_s = time.monotonic()
            await room.ask(self._segments[number])
            pause_s = self._gaps[number] * mean_s - (time.monotonic() - start_s)
            await asyncio.sleep(max(0.0, min(pause_s, until_s - time.monotonic())))

    async def _reconnect(self, until_s: float) -> None:
        for n in range(self._wanted.reconnects):
            left = self._wanted.reconnects - n
            await asyncio.sleep(max(0.0, until_s - time.monotonic()) / left)
            self._rooms[int(self._random.integers(len(self._rooms)))].open()


class _SimulatedRoom:
    """One room: a connection, one segment under way at a time, and its ledger."""

    def __init__(self, context: zmq.asyncio.Context, wanted: RoomsRequest, number: int) -> None:
        self.ledger = Ledger()
        self._context = context
        self._wanted = wanted
        self._numbers = secrets.randbelow(1 << 30) + number
        self._socket: zmq.asyncio.Socket | None = None
        self.public, self._secret = zmq.curve_keypair() if wanted.server_key else (b"", b"")

    def open(self) -> None:
        """Connect anew; what is under way is lost."""
        self.close()
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        if self._wanted.server_key:
            socket.curve_serverkey = self._wanted.server_key.encode()
            socket.curve_publickey, socket.curve_secretkey = self.public, self._secret
        socket.connect(self._wanted.endpoint)
        self._socket = socket

    def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def connect(self, at_once: asyncio.Semaphore) -> None:
        """Until the door has answered a hello."""
        async with at_once:
            self.open()
            for _ in range(10):
                if await self._exchange(hello_frames(), WAIT_S) is not None:
                    return
        raise UnavailableError(f"{self._wanted.endpoint}: no answer; is `sadstream serve` running there?")

    async def ask(self, segment: Segment) -> None:
        """Send a segment and write down what became of it."""
        request = SegmentRequest(
            lane=0, t_start=segment.t_start, t_end=segment.t_end, voiced=segment.voiced, age_ms=0.0,
            wait_ms=1000 * WAIT_S,
        )  # fmt: skip
        start_s = time.monotonic()
        self.ledger.sent += 1
        answer = await self._exchange(request_frames(request, segment.heard), WAIT_S)
        match answer:
            case ScoredAnswer():
                self.ledger.scored += 1
            case UnscoredAnswer():
                self.ledger.unscored += 1
            case RefusedAnswer(why=why):
                self.ledger.dropped[why] += 1
                return
            case _:
                self.ledger.dropped["no answer"] += 1
                return
        self.ledger.answered_ms.append(1000 * (time.monotonic() - start_s))

    async def _exchange(self, frames: Sequence[bytes], wait_s: float) -> Answer | None:
        self._numbers += 1
        number, socket = self._numbers.to_bytes(ID_BYTES, "big"), self._socket
        assert socket is not None
        try:
            async with asyncio.timeout(wait_s):
                await socket.send_multipart([number, *frames])
                while not socket.closed:
                    found, said = await socket.recv_multipart()
                    if found == number:
                        return read_answer(said)
        except (TimeoutError, zmq.ZMQError, asyncio.CancelledError, WireError):
            return None  # late, or this room has been connected anew
        return None


def _gaps(segments: Sequence[Segment]) -> list[float]:
    """The times between segments' ends, as shares of their mean."""
    ends = [0.0, *(segment.t_end for segment in segments)]
    gaps = np.diff(ends)
    return [float(gap) for gap in gaps / gaps.mean()]


def _allow(wanted: RoomsRequest, rooms: Sequence[_SimulatedRoom]) -> None:
    if wanted.server_key is None or wanted.allow is None:
        return
    with wanted.allow.open("a") as file:
        for n, room in enumerate(rooms):
            file.write(f"{room.public.decode()} simulated-{n}\n")
