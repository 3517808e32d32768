"""Where rooms knock: one ROUTER socket, keys and an allow-list, and what becomes of each segment until its answer."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import zmq

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

MESSAGES = 32  # between two looks at what else there is to do: a flood keeps nobody's answer
VISITORS = 4096  # that are remembered
ERRORS_CUT = 10  # of one room within CUT_S
CUT_S = 60.0  # in which a room that sends garbage is not heard
REPLIES_WAITING = 64  # for one room that does not read
MEASURED = 2000  # segments of which the percentiles are taken

LATE = RefusedAnswer(why="late")
NOBODY = HelloAnswer(model="", whisper="", device="", licence="", ready=False)

# Header and audio of each segment in, as many answers' frames out.
Score = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[Sequence[bytes]]]


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

    Without `keys` only programs of this machine can knock.
    """

    def __init__(self, endpoint: str, keys: ServerKeys | None, score: Score, calls: int = 1, batch: int = 1) -> None:
        self.hello: HelloAnswer | None = None  # as soon as somebody can score
        self.ready_s = -AWAY_S  # when it was last seen that somebody can
        self._score = score
        self._queue = FairQueue(calls, batch)
        self._rooms: OrderedDict[bytes, _Visitor] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._answered: deque[tuple[float, float]] = deque(maxlen=MEASURED)  # when, and after how many ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._allowed = AllowList(keys.allowed) if keys else None
        if keys is not None:
            self._handshakes = self._context.socket(zmq.REP)
            self._handshakes.bind(ZAP_ENDPOINT)
        self._socket = self._bound(endpoint, keys)

    async def serve(self) -> None:
        """Answer until cancelled."""
        self._intake = _Intake(self._socket, self._hear)
        intakes = [self._intake]
        if self._allowed is not None:
            intakes.append(_Intake(self._handshakes, self._let_in))
        try:
            await asyncio.gather(*(intake.failed for intake in intakes))
        finally:
            for intake in intakes:
                intake.end()
            for task in self._tasks:
                task.cancel()
            self._context.destroy(linger=0)

    def resize(self, calls: int, batch: int) -> None:
        """From now on so many batches are in work at once, each of so many segments at most."""
        self._queue.resize(calls, batch)

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

    def _bound(self, endpoint: str, keys: ServerKeys | None) -> "zmq.Socket[bytes]":
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

    def _let_in(self, frames: Sequence[zmq.Frame]) -> None:
        assert self._allowed is not None
        reply = zap_answer([frame.bytes for frame in frames], self._allowed)
        self._handshakes.send_multipart([b""] if reply is None else reply)

    def _hear(self, frames: Sequence[zmq.Frame]) -> None:
        now_s = time.monotonic()
        route, *rest = (frame.bytes for frame in frames)
        who = route if self._allowed is None else _who(frames[-1])
        room = self._visitor(who, now_s)
        if room.is_cut(now_s):
            return
        room.heard_s = now_s
        try:
            self._take(who, route, rest, now_s)
        except WireError as error:
            self._counts["error"] += 1
            room.errors.append(now_s)
            if rest and len(rest[0]) == ID_BYTES:
                self._reply(route, rest[0], RefusedAnswer(why="error", what=str(error)[:200]))

    def _visitor(self, who: bytes, now_s: float) -> _Visitor:
        room = self._rooms.setdefault(who, _Visitor(now_s))
        self._rooms.move_to_end(who)
        if len(self._rooms) > VISITORS:
            self._rooms.popitem(last=False)
        return room

    def _take(self, room: bytes, route: bytes, frames: list[bytes], now_s: float) -> None:
        if len(frames) not in (2, 3) or len(frames[0]) != ID_BYTES or len(frames[1]) > HEADER_BYTES:
            raise WireError(f"{len(frames)} frames: expected an id of {ID_BYTES} bytes, a header and the sound")
        request = read_request(frames[1])
        if request is None:
            self._reply(route, frames[0], self._greeting())
        elif len(frames) != 3:
            raise WireError("a segment without its sound")
        elif self._queue.feed(WaitingSegment(room, route, frames[0], frames[1], request, frames[2], now_s), now_s):
            self._dispatch()
        else:
            self._counts["busy"] += 1
            self._reply(route, frames[0], RefusedAnswer(why="busy"))

    def _greeting(self) -> HelloAnswer:
        return replace(self.hello or NOBODY, ready=self.is_ready)

    def _dispatch(self) -> None:
        """Send out batches while calls are free."""
        while True:
            batch, late = self._queue.take(time.monotonic())
            for segment in late:
                self._counts["late"] += 1
                self._reply(segment.route, segment.id, LATE)
            if not batch:
                return
            task = asyncio.create_task(self._work(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, batch: Sequence[WaitingSegment]) -> None:
        start_s = time.monotonic()
        try:
            async with asyncio.timeout(max(segment.remaining_s(start_s) for segment in batch)):
                answers = await self._scored(batch)
        except TimeoutError:
            answers = _as_sent([LATE] * len(batch))
        finally:
            self._queue.done(batch, time.monotonic() - start_s)
        now_s = time.monotonic()
        for segment, (answer, frame) in zip(batch, answers, strict=True):
            self._counts[answer.why if isinstance(answer, RefusedAnswer) else answer.kind] += 1
            if not isinstance(answer, RefusedAnswer):
                self.ready_s = now_s
                self._answered.append((now_s, 1000 * (now_s - segment.received_s)))
            self._send(segment.route, segment.id, frame)
        self._dispatch()

    async def _scored(self, batch: Sequence[WaitingSegment]) -> list[tuple[Answer, bytes]]:
        """Their answers, and the same as they came; of a second replica where the first one died.

        To score is a pure function, so twice is harmless. What an exception says is never repeated: it may hold words.
        """
        for again in (True, False):
            try:
                frames = await self._score([(segment.header, segment.audio) for segment in batch])
                return [(read_answer(frame), frame) for _, frame in zip(batch, frames, strict=True)]
            except Exception as error:
                tried = "; tried again" if again else ""
                log.warning("%d segment(s) not scored: %s%s", len(batch), type(error).__name__, tried)
                self._counts["second"] += again * len(batch)
        return _as_sent([RefusedAnswer(why="error", what="nobody could score it")] * len(batch))

    def _reply(self, route: bytes, number: bytes, answer: Answer) -> None:
        self._send(route, number, answer_frame(answer))

    def _send(self, route: bytes, number: bytes, frame: bytes) -> None:
        with suppress(zmq.ZMQError):  # the room is gone, or does not read
            self._socket.send_multipart([route, number, frame], zmq.NOBLOCK)
        self._intake.look()


class _Intake:
    """Hands on what a socket has, a few messages at a time, in the running event loop; `failed` when that fails.

    pyzmq's own asyncio sockets take a message at a time, at 90 us each, and keep the loop for as long as a flood lasts.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", take: Callable[[Sequence[zmq.Frame]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._socket = socket
        self._take = take
        self._looks = False
        self._file = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._file, self.look)
        self.look()

    def look(self) -> None:
        """Look soon: the file tells of what came only once, and any other use of the socket may swallow that."""
        if not self._looks:
            self._looks = True
            self._loop.call_soon(self._turn)

    def end(self) -> None:
        """Take no more."""
        self._looks = True
        self.failed.cancel()
        self._loop.remove_reader(self._file)

    def _turn(self) -> None:
        self._looks = False
        try:
            for _ in range(MESSAGES):
                self._take(self._socket.recv_multipart(zmq.NOBLOCK, copy=False))
        except zmq.Again:
            return
        except Exception as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        self.look()


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


def _bind(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise BusyError(f"{endpoint}: in use by another program; stop it or choose --listen") from None
        raise UnavailableError(f"{endpoint}: cannot be bound: {error.strerror}; choose --listen") from None


def _as_sent(answers: Sequence[Answer]) -> list[tuple[Answer, bytes]]:
    return [(answer, answer_frame(answer)) for answer in answers]


def _who(frame: zmq.Frame) -> bytes:
    """The key that a message came by; nothing where there are none."""
    try:
        return str(frame.get("User-Id")).encode()
    except zmq.ZMQError:
        return b""


def _at(spent: Sequence[float], share: float) -> float:
    return spent[min(len(spent) - 1, int(share * len(spent)))] if spent else 0.0
