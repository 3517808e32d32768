"""The publishing end of the wire: sequence numbers, last values for those who join, one owner of the socket."""

import logging
import os
import secrets
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import zmq

from sadstream.base.claim import claim
from sadstream.base.errors import BusyError, ConfigError, SadstreamError, UnavailableError
from sadstream.daemon.publishing.authenticator import ZapAuthenticator
from sadstream.daemon.publishing.replay_buffer import ReplayBuffer
from sadstream.events import E, Score, Status, to_wire, topic
from sadstream.events.endpoint import beside, check, is_local
from sadstream.events.keys import NEEDS_KEYS, ServerKeys
from sadstream.events.types import EventName, envelope

log = logging.getLogger("sadstream")

LINGER_MS = 500  # measured: loses nothing to a healthy peer and bounds a stalled one
# For one slow subscriber. ZeroMQ learns of what was taken in steps of half of it, so a burst of half is always safe:
# the three topics of 64 streams at a join are 192.
EVENTS_WAITING = 512
ANSWERS_WAITING = 2  # for one slow reader of the past
SEND_BUFFER = 65_536  # bytes the kernel holds for a slow subscriber over tcp: some 90 scores, not 10,000
HEARTBEAT_MS = 2000  # ZeroMQ's own, over tcp: a peer whose machine is gone is cut and its memory freed
HEARTBEAT_TIMEOUT_MS = 6000
FULL_MS = 10_000  # so is one that is there and takes nothing, because no heartbeat gets through a full buffer
HANDSHAKE_MS = 3000  # for whoever connects and says nothing
LONGEST_REQUEST = 4096  # bytes; a longer frame ends the connection that sends it
LONGEST_TOPIC = 64  # "sad.episode." and 32 letters, and room to spare
ANSWERS = 64  # joins and handshakes, and queries below, between two looks at the scores: a flood delays nothing
QUERIES = 8
SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"  # first byte of what XPUB reads


@dataclass(slots=True)
class _LastSent:
    """What a stream said last, for whoever joins now."""

    sequence: dict[str, int] = field(default_factory=dict)
    frames: dict[str, bytes] = field(default_factory=dict)


class Publisher:
    """A bound XPUB socket, and beside it the daemon's memory of what it sent; all sockets belong to one thread.

    endpoint: ipc:///path or tcp://HOST:PORT; other hosts than this machine's need `keys`.
    replay: endpoint of the memory, `auto` for one beside `endpoint`, or `off`; replay_events: kept of each topic.
    """

    def __init__(
        self, endpoint: str, keys: ServerKeys | None = None, replay: str = "auto", replay_events: int = 500
    ) -> None:
        self.endpoint = _bindable(endpoint, keys)
        self.session = secrets.token_hex(8)
        self.replay: str | None = None  # where it can be asked for, once bound
        self._keys = keys
        wanted = replay if replay_events else "off"
        self._replay_wanted = wanted if wanted in ("auto", "off") else _bindable(wanted, keys)
        self._replay_buffer = ReplayBuffer(replay_events)
        self._streams: dict[str, _LastSent] = {}
        self._locks: list[int] = []
        self._topics: set[bytes] = set()

    @property
    def has_score_subscriber(self) -> bool:
        """Somebody listens to scores now."""
        return any(t.startswith(b"sad.score.") or b"sad.score.".startswith(t) for t in self._topics)

    def __enter__(self) -> "Publisher":
        for endpoint in (self.endpoint, self._replay_wanted):
            if endpoint.startswith("ipc://"):
                try:
                    self._locks.append(claim(endpoint.removeprefix("ipc://")))
                except SadstreamError:
                    self._let_go()
                    raise
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        try:
            self._authenticator = ZapAuthenticator(self._context, self._keys)
            self._socket = self._bound(zmq.XPUB, self.endpoint)
            self._replay_socket = self._bound_replay()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        for socket in (self._socket, self._replay_socket, self._authenticator.socket):
            if socket is not None:
                self._poller.register(socket, zmq.POLLIN)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._context.destroy(linger=LINGER_MS)  # every socket, then the context
        self._let_go()

    def _let_go(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def wait(self, timeout_ms: int, *wake_fds: int) -> None:
        """Sleep until the time is up or a `wake_fd` is readable, answering whoever joins or asks meanwhile."""
        for wake_fd in wake_fds:
            self._poller.register(wake_fd, zmq.POLLIN)
        self._poller.poll(timeout_ms)
        self._authenticator.answer(ANSWERS)
        self.answer_joins()
        self.answer_queries()

    def answer_joins(self) -> None:
        """Send the current status and last events to every subscription that came in: nobody starts blind."""
        joined = set()
        for _ in range(ANSWERS):
            message = _received(self._socket)
            if message is None:
                break
            prefix = message[0][1:]
            if len(message) != 1 or len(prefix) > LONGEST_TOPIC:
                continue
            if message[0][:1] == SUBSCRIBE:
                joined.add(prefix)
                self._topics.add(prefix)
            elif message[0][:1] == UNSUBSCRIBE:
                self._topics.discard(prefix)
        for last in self._streams.values() if joined else ():
            for _, frame in sorted(last.frames.items()):  # the status comes last, since it speaks of the score
                if frame.startswith(tuple(joined)):
                    self._socket.send(frame)

    def answer_queries(self) -> None:
        """Give those who ask what they missed, as far as it is remembered; at most QUERIES at a time."""
        if self._replay_socket is None:
            return
        for _ in range(QUERIES):
            message = _received(self._replay_socket)
            if message is None:
                return
            if len(message) == 3 and not message[1]:  # who asks, an empty frame, the request
                self._replay_socket.send_multipart([*message[:2], *self._replay_buffer.answer(message[2])])

    def opening(self, stream: str, event_type: EventName) -> dict[str, Any]:
        """The fields of a topic's next event that are the publisher's to know; its number is used up.

        Beside the envelope a status names the last score's number, and where the past can be asked for.
        """
        sequence = self._last(stream).sequence
        seq = sequence[event_type] = sequence.get(event_type, -1) + 1
        fields = envelope(stream, self.session, seq)
        if event_type == Status.type:
            fields |= {"last_score_seq": sequence.get(Score.type), "replay": self.replay}
        return fields

    def send(self, event: E, lost: bool = False) -> E:
        """Send an event that begins with an `opening`; one that is `lost` is remembered but goes to nobody."""
        frame = to_wire(event)
        self._replay_buffer.keep(event, frame)
        self._last(event.stream).frames[topic(event.type, event.stream)] = frame
        if not lost:
            self._socket.send(frame)
        return event

    def _last(self, stream: str) -> _LastSent:
        return self._streams.setdefault(stream, _LastSent())

    def _bound(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_REQUEST)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        if kind == zmq.XPUB:
            socket.setsockopt(zmq.SNDHWM, EVENTS_WAITING)
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # every join is seen, also the second of the same topic
        else:
            socket.setsockopt(zmq.SNDHWM, ANSWERS_WAITING)
        if endpoint.startswith("tcp://"):
            socket.setsockopt(zmq.SNDBUF, SEND_BUFFER)
            socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
            socket.setsockopt(zmq.TCP_MAXRT, FULL_MS)
            socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        self._authenticator.guard(socket)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise BusyError(f"{endpoint}: in use by another program; stop it or choose --publish") from None
            raise UnavailableError(f"{endpoint}: cannot be bound: {error.strerror}; choose --publish") from None
        return socket

    def _bound_replay(self) -> zmq.Socket[bytes] | None:
        if self._replay_wanted == "off":
            return None
        automatic = self._replay_wanted == "auto"
        try:
            socket = self._bound(zmq.ROUTER, beside(self.endpoint) if automatic else self._replay_wanted)
        except (BusyError, UnavailableError) as error:
            if not automatic:
                raise
            log.warning("no replay: %s", error)
            return None
        self.replay = socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        return socket


def _bindable(endpoint: str, keys: ServerKeys | None) -> str:
    try:
        found = check(endpoint)
    except ValueError as error:
        raise ConfigError(f"{endpoint}: {error}") from None
    if keys is None and not is_local(found):
        raise ConfigError(f"{endpoint}: {NEEDS_KEYS}")
    return found


def _received(socket: zmq.Socket[bytes]) -> list[bytes] | None:
    """The next message's frames, None if none waits."""
    if not socket.poll(0):
        return None
    return socket.recv_multipart()
