"""Where rooms knock: one ROUTER socket, keys and an allow-list, and what becomes of each segment until its answer."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import zmq
import zmq.asyncio

from sadstream.base.errors import BusyError, ConfigError, UnavailableError
from sadstream.cluster.fair_queue import FairQueue, WaitingSegment
from sadstream.cluster.nodes import INLINE_BYTES
from sadstream.daemon.publishing.authenticator import ZAP_DOMAIN, ZAP_ENDPOINT
from sadstream.daemon.publishing.sockets import HANDSHAKE_MS, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from sadstream.daemon.remote.reachability import AWAY_S
from sadstream.daemon.remote.request import (
    HEADER_BYTES,
    ID_BYTES,
    LONGEST_FRAME,
    Answer,
    HelloAnswer,
    RefusedAnswer,
    answer_frame,
    read_answer,
    read_request,
)
from sadstream.events import endpoint as address
from sadstream.events.keys import AllowList, ServerKeys, zap_answer
from sadstream.events.validation import WireError

log = logging.getLogger("sadstream")

assert LONGEST_FRAME < INLINE_BYTES, "a segment would go through Ray's store, and from there to the disk"

MOST_WAITING_A_SLOT = 4  # more would be older than a room waits
ERRORS_CUT = 10  # of one room within CUT_S
CUT_S = 60.0  # in which a room that sends garbage is not heard
REPLIES_WAITING = 64  # for one room that does not read
MEASURED = 2000  # segments of which the percentiles are taken

NOBODY = HelloAnswer(model="", whisper="", device="", licence="", ready=False)

Score = Callable[[bytes, bytes], Awaitable[bytes]]  # header and audio in, an answer's frame out


@dataclass(frozen=True, slots=True)
class DoorReport:
    """What a door has done, for whoever asks."""

    rooms: int  # heard of in the last seconds
    waiting: int
    working: int
    scored: int
    unscored: int
    busy: int
    late: int
    errors: int
    second_tries: int
    segments_s: float  # answered a second, over the last 30
    p50_ms: float
    p95_ms: float
    ready: bool
    hello: HelloAnswer | None


@dataclass(slots=True)
class _Visitor:
    """What is known of one room."""

    heard_s: float
    errors: deque[float] = field(default_factory=lambda: deque(maxlen=ERRORS_CUT))

    def is_cut(self, now_s: float) -> bool:
        return len(self.errors) == ERRORS_CUT and now_s - self.errors[0] < CUT_S


class Door:
    """Rooms' requests in, their answers out; `score` is asked for each, and a second time if whoever scored it died.

    slots: how many segments are in work at once. Without `keys` only programs of this machine can knock.
    """

    def __init__(self, endpoint: str, keys: ServerKeys | None, score: Score, slots: int) -> None:
        self.hello: HelloAnswer | None = None  # as soon as somebody can score
        self.ready_s = -AWAY_S  # when it was last seen that somebody can
        self._score = score
        self._queue = FairQueue(slots, MOST_WAITING_A_SLOT * slots)
        self._rooms: dict[bytes, _Visitor] = {}
        self._counts: Counter[str] = Counter()
        self._answered: deque[tuple[float, float]] = deque(maxlen=MEASURED)  # when, and after how many ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: zmq.asyncio.Context = zmq.asyncio.Context()
        self._allowed = AllowList(keys.allowed) if keys else None
        if keys is not None:
            self._handshakes = self._context.socket(zmq.REP)
            self._handshakes.bind(ZAP_ENDPOINT)
        self._socket = self._bound(endpoint, keys)

    async def serve(self) -> None:
        """Answer until cancelled."""
        jobs = [asyncio.create_task(self._receive())]
        if self._allowed is not None:
            jobs.append(asyncio.create_task(self._let_in()))
        try:
            await asyncio.gather(*jobs)
        finally:
            for task in (*jobs, *self._tasks):
                task.cancel()
            self._context.destroy(linger=0)

    def resize(self, slots: int) -> None:
        """From now on so many segments are in work at once."""
        self._queue.resize(slots, MOST_WAITING_A_SLOT * slots)

    def report(self) -> DoorReport:
        """What it has done so far."""
        now_s = time.monotonic()
        recent = sum(now_s - at_s < 30.0 for at_s, _ in self._answered)
        spent = sorted(ms for _, ms in self._answered)
        counts = self._counts
        return DoorReport(
            rooms=sum(now_s - room.heard_s < AWAY_S for room in self._rooms.values()),
            waiting=self._queue.waiting, working=self._queue.working, scored=counts["scored"],
            unscored=counts["unscored"], busy=counts["busy"], late=counts["late"], errors=counts["error"],
            second_tries=counts["second"], segments_s=recent / 30.0, p50_ms=_at(spent, 0.5), p95_ms=_at(spent, 0.95),
            ready=self.is_ready, hello=self.hello,
        )  # fmt: skip

    @property
    def is_ready(self) -> bool:
        """Somebody can score, as far as was seen lately."""
        return self.hello is not None and time.monotonic() - self.ready_s < AWAY_S

    def _bound(self, endpoint: str, keys: ServerKeys | None) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0), (zmq.MAXMSGSIZE, LONGEST_FRAME), (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS), (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.SNDHWM, REPLIES_WAITING), (zmq.BACKLOG, 1024), (zmq.IPV6, int("[" in endpoint)),
        ):  # fmt: skip
            socket.setsockopt(option, value)
        if keys is not None:
            socket.curve_server = True
            socket.curve_secretkey = keys.secret
            socket.zap_domain = ZAP_DOMAIN
        _bind(socket, endpoint)
        return socket

    async def _let_in(self) -> None:
        assert self._allowed is not None
        while True:
            reply = zap_answer(await self._handshakes.recv_multipart(), self._allowed)
            await self._handshakes.send_multipart([b""] if reply is None else reply)

    async def _receive(self) -> None:
        while True:
            frames: Sequence[zmq.Frame] = await self._socket.recv_multipart(copy=False)
            now_s = time.monotonic()
            route, *rest = (frame.bytes for frame in frames)
            who = _who(frames[-1]) or route
            room = self._rooms.setdefault(who, _Visitor(now_s))
            if room.is_cut(now_s):
                continue
            room.heard_s = now_s
            try:
                await self._take(who, route, rest, now_s)
            except WireError as error:
                self._counts["error"] += 1
                room.errors.append(now_s)
                if rest and len(rest[0]) == ID_BYTES:
                    await self._reply(route, rest[0], RefusedAnswer(why="error", what=str(error)[:200]))

    async def _take(self, room: bytes, route: bytes, frames: list[bytes], now_s: float) -> None:
        if len(frames) not in (2, 3) or len(frames[0]) != ID_BYTES or len(frames[1]) > HEADER_BYTES:
            raise WireError(f"{len(frames)} frames: expected an id of {ID_BYTES} bytes, a header and the sound")
        request = read_request(frames[1])
        if request is None:
            await self._reply(route, frames[0], self._greeting())
        elif len(frames) != 3:
            raise WireError("a segment without its sound")
        elif self._queue.feed(WaitingSegment(room, route, frames[0], frames[1], request, frames[2], now_s)):
            await self._dispatch()
        else:
            self._counts["busy"] += 1
            await self._reply(route, frames[0], RefusedAnswer(why="busy"))

    def _greeting(self) -> HelloAnswer:
        return replace(self.hello or NOBODY, ready=self.is_ready)

    async def _dispatch(self) -> None:
        work, late = self._queue.take(time.monotonic())
        for segment in late:
            self._counts["late"] += 1
            await self._reply(segment.route, segment.id, RefusedAnswer(why="late"))
        for segment in work:
            task = asyncio.create_task(self._work(segment))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, segment: WaitingSegment) -> None:
        answer: Answer = RefusedAnswer(why="late")
        frame = answer_frame(answer)
        try:
            async with asyncio.timeout(segment.remaining_s(time.monotonic())):
                answer, frame = await self._scored(segment)
        except TimeoutError:
            pass
        finally:
            self._queue.done(segment)
        self._counts[answer.why if isinstance(answer, RefusedAnswer) else answer.kind] += 1
        now_s = time.monotonic()
        if not isinstance(answer, RefusedAnswer):
            self.ready_s = now_s
            self._answered.append((now_s, 1000 * (now_s - segment.received_s)))
        await self._send(segment.route, segment.id, frame)
        await self._dispatch()

    async def _scored(self, segment: WaitingSegment) -> tuple[Answer, bytes]:
        """Its answer, and the same as it came; of a second replica where the first one died.

        To score is a pure function, so twice is harmless. What an exception says is never repeated: it may hold words.
        """
        for again in (True, False):
            try:
                frame = await self._score(segment.header, segment.audio)
                return read_answer(frame), frame
            except Exception as error:
                log.warning("a segment was not scored: %s%s", type(error).__name__, "; tried again" if again else "")
                self._counts["second"] += again
        refused = RefusedAnswer(why="error", what="nobody could score it")
        return refused, answer_frame(refused)

    async def _reply(self, route: bytes, number: bytes, answer: Answer) -> None:
        await self._send(route, number, answer_frame(answer))

    async def _send(self, route: bytes, number: bytes, frame: bytes) -> None:
        with suppress(zmq.ZMQError):  # the room is gone, or does not read
            await self._socket.send_multipart([route, number, frame], zmq.NOBLOCK)


def expect_keys(endpoint: str, keys: ServerKeys | None) -> None:
    """ConfigError where other machines could knock, and speech would cross the network in plain."""
    if keys is None and not address.is_local(endpoint):
        raise ConfigError(
            f"--listen {endpoint}: speech would cross the network in plain; make a key (`sadstream keys new "
            "serve.key`), allow a room (`sadstream keys allow KEY --to rooms.keys`), and name both with --secret-key "
            "and --allow"
        )


def expect_free(endpoint: str) -> None:
    """BusyError or UnavailableError where no door can be."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        _bind(socket, endpoint)


def _bind(socket: "zmq.Socket[bytes] | zmq.asyncio.Socket", endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise BusyError(f"{endpoint}: in use by another program; stop it or choose --listen") from None
        raise UnavailableError(f"{endpoint}: cannot be bound: {error.strerror}; choose --listen") from None


def _who(frame: zmq.Frame) -> bytes:
    """The key that a message came by; nothing where there are none."""
    try:
        return str(frame.get("User-Id")).encode()
    except zmq.ZMQError:
        return b""


def _at(spent: Sequence[float], share: float) -> float:
    return spent[min(len(spent) - 1, int(share * len(spent)))] if spent else 0.0
