"""The listening end of the wire, for apps: `for event in subscribe(): ...` (needs pyzmq alone).

A reader gets typed events, each once, and findings between them: a gap with its exact size, a restart, silence.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sadstream.base.errors import UsageError
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item, Reader, SubscriptionRequest
from sadstream.events import DEFAULT_ENDPOINT, EVENT_TYPES, STREAM_NAME, Event, from_wire, topic
from sadstream.events.keys import Curve, client_curve
from sadstream.events.query import NOTE, Query
from sadstream.events.validation import WireError

if TYPE_CHECKING:
    import zmq
    import zmq.asyncio

S = TypeVar("S", bound="zmq.Socket[Any]")
ALL_TYPES = (*EVENT_TYPES, Gap.type, Restart.type, Stale.type)
RECONNECT_MS = (100, 2000)  # first wait and longest: a restarted daemon is heard while its models still load
HEARTBEAT_MS = 2000  # ZeroMQ's own, over tcp: finds a peer whose machine is gone
REPLAY_TIMEOUT_MS = 1000


class Subscription:
    """Events and findings, for `for` and for `async for`; sockets open at the first and close at the end."""

    def __init__(self, request: SubscriptionRequest, timeout_s: float | None) -> None:
        self._plain = _plain(request, timeout_s)
        self._async = _async(request, timeout_s)

    def __iter__(self) -> Iterator[Item]:
        return self._plain

    def __next__(self) -> Item:
        return next(self._plain)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._async


def subscribe(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    stream: str | None = None,
    types: Sequence[str] = ALL_TYPES,
    timeout_s: float | None = None,
    latest: bool = False,
    replay: int = 0,
    server_key: str | None = None,
    secret_key: str | Path | None = None,
) -> Subscription:
    """Events and findings as they come, of one stream or of all, until `timeout_s` is up; reconnects by itself.

    stream: only this one. types: any of score, status, episode, gap, restart, stale.
    latest: for a slow reader, the newest event of each type (of one stream) instead of every event; no gaps then.
    replay: on joining the last so many events of each topic first; and gaps are filled from the daemon's memory.
    server_key, secret_key: the daemon's public key, and the file with ours, where it listens on a network.
    Frames that are not events of this contract are left out. Raises UsageError for what cannot be asked.
    """
    if stream is not None and STREAM_NAME.fullmatch(stream) is None:
        raise UsageError(f"stream {stream!r}: expected lower case letters, digits and dashes, at most 32")
    unknown = set(types) - set(ALL_TYPES)
    if unknown:
        raise UsageError(f"types {', '.join(sorted(unknown))}: expected some of {', '.join(ALL_TYPES)}")
    if latest and (stream is None or replay):
        raise UsageError("latest: expected one stream and no replay; the newest event is of one stream")
    request = SubscriptionRequest(
        endpoint=endpoint,
        stream=stream,
        types=frozenset(types),
        latest=latest,
        replay=replay,
        curve=client_curve(server_key, secret_key),
    )
    return Subscription(request, timeout_s)


def past(replay: str, query: Query, curve: Curve | None = None) -> list[Event]:
    """Events that a daemon remembers, oldest first; `replay` as its status says. Empty if nobody answers in 1 s."""
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        return _fetch(context, replay, query, curve)
    finally:
        context.term()


def _plain(request: SubscriptionRequest, timeout_s: float | None) -> Iterator[Item]:
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets: list[zmq.Socket[bytes]] = []
    try:
        poller = zmq.Poller()
        for socket in _connected(context, request, sockets):
            poller.register(socket, zmq.POLLIN)
        reader = Reader(request, timeout_s)
        while (wait_ms := reader.wait_ms()) is not None:
            ready = poller.poll(wait_ms)
            for socket, _ in ready:
                event = _event(frame := socket.recv())
                if event is None:
                    reader.note(frame)
                    continue
                answers = [_fetch(context, reader.where, query, request.curve) for query in reader.queries(event)]
                yield from reader.take(answers, event)
            if not ready:
                yield from reader.quiet()
    finally:
        for socket in sockets:
            socket.close(linger=0)
        context.term()


async def _async(request: SubscriptionRequest, timeout_s: float | None) -> AsyncIterator[Item]:
    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context()
    sockets: list[zmq.asyncio.Socket] = []
    try:
        poller = zmq.asyncio.Poller()
        for socket in _connected(context, request, sockets):
            poller.register(socket, zmq.POLLIN)
        reader = Reader(request, timeout_s)
        while (wait_ms := reader.wait_ms()) is not None:
            ready = await poller.poll(wait_ms)
            for socket, _ in ready:
                event = _event(frame := await socket.recv())
                if event is None:
                    reader.note(frame)
                    continue
                answers = [await _fetch_async(context, reader.where, q, request.curve) for q in reader.queries(event)]
                for item in reader.take(answers, event):
                    yield item
            if not ready:
                for item in reader.quiet():
                    yield item
    finally:
        for socket in sockets:
            socket.close(linger=0)
        context.term()


def _connected(context: "zmq.Context[S]", request: SubscriptionRequest, sockets: "list[S]") -> "list[S]":
    """One socket for every event; or, for the latest only, one a type, in which the newest replaces the rest."""
    import zmq

    for types in [(t,) for t in request.wire_types] if request.latest else [request.wire_types]:
        socket = context.socket(zmq.SUB)
        sockets.append(socket)
        if request.latest:
            socket.setsockopt(zmq.CONFLATE, 1)
        if request.replay:
            socket.setsockopt(zmq.SUBSCRIBE, NOTE)
        for event_type in types:
            # Before connecting: the first message counts too. Without a stream the prefix ends before its name.
            prefix = topic(event_type, request.stream) if request.stream else f"sad.{event_type}."
            socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        if not _connect(socket, request.endpoint, request.curve):
            raise UsageError(f"{request.endpoint}: expected tcp://HOST:PORT or ipc:///path")
    return sockets


def _connect(socket: "zmq.Socket[Any]", endpoint: str, curve: Curve | None) -> bool:
    import zmq

    first_ms, longest_ms = RECONNECT_MS
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, first_ms)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, longest_ms)
    if endpoint.startswith("tcp://"):
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    if curve is not None:
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = curve
    try:
        socket.connect(endpoint)
    except zmq.ZMQError:
        return False
    return True


def _event(frame: bytes) -> Event | None:
    try:
        return from_wire(frame)
    except WireError:
        return None


def _answer(frames: list[bytes]) -> list[Event]:
    return [event for frame in frames[1:] if (event := _event(frame)) is not None]


def _fetch(context: "zmq.Context[zmq.Socket[bytes]]", replay: str, query: Query, curve: Curve | None) -> list[Event]:
    import zmq

    with context.socket(zmq.REQ) as socket:
        if not _connect(socket, replay, curve):
            return []
        socket.send(query.to_json())
        return _answer(socket.recv_multipart()) if socket.poll(REPLAY_TIMEOUT_MS) else []


async def _fetch_async(context: "zmq.asyncio.Context", replay: str, query: Query, curve: Curve | None) -> list[Event]:
    import zmq

    with context.socket(zmq.REQ) as socket:
        if not _connect(socket, replay, curve):
            return []
        await socket.send(query.to_json())
        return _answer(await socket.recv_multipart()) if await socket.poll(REPLAY_TIMEOUT_MS) else []
