"""The listening end of the wire, for apps: `for event in subscribe(): ...` (needs pyzmq alone).

A reader gets typed events, each once, and findings between them: a gap with its exact size, a restart, silence.
"""

import socket
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sadstream.base.errors import UsageError
from sadstream.client.closing import ClosingSignal
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item, Reader, SubscriptionRequest
from sadstream.events import DEFAULT_ENDPOINT, EVENT_TYPES, STREAM_NAME, Event, from_wire, topic
from sadstream.events.keys import Curve, client_curve
from sadstream.events.query import NOTE, Query
from sadstream.events.types import NAME_EXPECTED
from sadstream.events.validation import WireError

if TYPE_CHECKING:
    import zmq
    import zmq.asyncio

S = TypeVar("S", bound="zmq.Socket[Any]")
ALL_TYPES = (*EVENT_TYPES, Gap.type, Restart.type, Stale.type)
RECONNECT_MS = (100, 2000)  # first wait and longest: a restarted daemon is heard while its models still load
HEARTBEAT_MS = 2000  # ZeroMQ's own, over tcp: finds a peer whose machine is gone
REPLAY_TIMEOUT_MS = 1000
WOKEN_S = 0.005  # until a task that was woken has freed its sockets


class Subscription:
    """Events and findings, for `for` and for `async for`; sockets open at the first and are freed at the end.

    The end is whichever comes first: the time is up, `close`, the end of its `with` or `async with`, or nobody has it.
    It is one reader's at a time; `close` may come from any thread.
    """

    def __init__(
        self,
        plain: Callable[[ClosingSignal], Generator[Item]],
        asynchronous: Callable[[ClosingSignal], AsyncGenerator[Item]],
    ) -> None:
        self._closing, self._closing_async = ClosingSignal(), ClosingSignal()
        self._plain = plain(self._closing)
        self._async = asynchronous(self._closing_async)

    def __iter__(self) -> "Subscription":
        return self

    def __next__(self) -> Item:
        try:
            if not self._closing.is_set:
                item = next(self._plain)
                if not self._closing.is_set:
                    return item
            self._plain.close()
        except ValueError:  # another thread is closing it at this moment
            if not self._closing.is_set:
                raise
        raise StopIteration

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Item:
        try:
            if not self._closing_async.is_set:
                item = await anext(self._async)
                if not self._closing_async.is_set:
                    return item
            await self._async.aclose()
        except RuntimeError:  # another task is closing it at this moment
            if not self._closing_async.is_set:
                raise
        raise StopAsyncIteration

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *what: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> "Subscription":
        return self

    async def __aexit__(self, *what: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.aclose()

    def close(self) -> None:
        """End it: a loop that waits, in whatever thread, ends at once and frees the sockets; once is enough.

        An `async for` ends too; whoever wants its sockets freed by then awaits `aclose`.
        """
        self._closing.set()
        self._closing_async.set()
        with suppress(ValueError):  # its thread is at work in it, has been woken and frees them
            self._plain.close()

    async def aclose(self) -> None:
        """The same, and the sockets are freed when it returns."""
        import asyncio

        self.close()
        while True:
            try:
                return await self._async.aclose()
            except RuntimeError:  # its task is at work in it, has been woken and frees them
                await asyncio.sleep(WOKEN_S)


def subscribe(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    stream: str | None = None,
    types: Sequence[str] = ALL_TYPES,
    timeout_s: float | None = None,
    latest: bool = False,
    replay: int = 0,
    provisional: bool = False,
    server_key: str | None = None,
    secret_key: str | Path | None = None,
) -> Subscription:
    """Events and findings as they come, of one stream or of all, until `timeout_s` is up; reconnects by itself.

    stream: only this one. types: any of score, status, episode, gap, restart, stale.
    latest: for a slow reader, the newest event of each type (of one stream) instead of every event; no gaps then.
    replay: on joining the last so many events of each topic first; and gaps are filled from the daemon's memory.
    provisional: where the daemon publishes a score of the sound alone before the whole one of a segment, that too.
    server_key, secret_key: the daemon's public key, and the file with ours, where it listens on a network.
    Frames that are not events of this contract are left out. Raises UsageError for what cannot be asked.
    """
    if stream is not None and STREAM_NAME.fullmatch(stream) is None:
        raise UsageError(f"stream {stream!r}: {NAME_EXPECTED}")
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
        provisional=provisional,
    )
    return Subscription(partial(_plain, request, timeout_s), partial(_async, request, timeout_s))


def past(replay: str, query: Query, curve: Curve | None = None) -> list[Event]:
    """Events that a daemon remembers, oldest first; `replay` as its status says. Empty if nobody answers in 1 s."""
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        return _fetch(context, replay, query, curve, None)
    finally:
        context.term()


def _plain(request: SubscriptionRequest, timeout_s: float | None, closing: ClosingSignal) -> Generator[Item]:
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets: list[zmq.Socket[bytes]] = []
    wake = closing.opened()
    try:
        poller = zmq.Poller()
        for one in (wake, *_connected(context, request, sockets)):
            poller.register(one, zmq.POLLIN)
        reader = Reader(request, timeout_s)
        while not closing.is_set and (wait_ms := reader.wait_ms()) is not None:
            ready = [one for one, _ in poller.poll(wait_ms) if isinstance(one, zmq.Socket)]
            for one in ready:
                event = _event(frame := one.recv())
                if event is None:
                    reader.note(frame)
                    continue
                answers = [_fetch(context, reader.where, query, request.curve, wake) for query in reader.queries(event)]
                yield from reader.take(answers, event)
            if not (ready or closing.is_set):
                yield from reader.quiet()
    finally:
        _free(context, sockets, wake, closing)


async def _async(request: SubscriptionRequest, timeout_s: float | None, closing: ClosingSignal) -> AsyncGenerator[Item]:
    import asyncio

    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context()
    sockets: list[zmq.asyncio.Socket] = []
    wake = closing.opened()
    try:
        poller = zmq.asyncio.Poller()
        for one in (wake, *_connected(context, request, sockets)):
            poller.register(one, zmq.POLLIN)
        reader = Reader(request, timeout_s)
        while not closing.is_set and (wait_ms := reader.wait_ms()) is not None:
            ready = [one for one, _ in await poller.poll(wait_ms) if isinstance(one, zmq.asyncio.Socket)]
            for one in ready:
                event = _event(frame := await one.recv())
                if event is None:
                    reader.note(frame)
                    continue
                answers = [
                    await _fetch_async(context, reader.where, q, request.curve, wake) for q in reader.queries(event)
                ]
                for item in reader.take(answers, event):
                    yield item
            if not (ready or closing.is_set):
                for item in reader.quiet():
                    yield item
    except asyncio.CancelledError:
        # The poll lets go of `wake` in the loop's next round, and complains of one that is closed.
        await asyncio.sleep(0)
        raise
    finally:
        _free(context, sockets, wake, closing)


def _free(context: "zmq.Context[S]", sockets: "list[S]", wake: socket.socket, closing: ClosingSignal) -> None:
    for one in sockets:
        one.close(linger=0)
    context.term()
    wake.close()
    closing.free()


def _connected(context: "zmq.Context[S]", request: SubscriptionRequest, sockets: "list[S]") -> "list[S]":
    """One socket for every event; or, for the latest only, one a type, in which the newest replaces the rest."""
    import zmq

    for types in [(t,) for t in request.wire_types] if request.latest else [request.wire_types]:
        one = context.socket(zmq.SUB)
        sockets.append(one)
        if request.latest:
            one.setsockopt(zmq.CONFLATE, 1)
        if request.replay:
            one.setsockopt(zmq.SUBSCRIBE, NOTE)
        for event_type in types:
            # Before connecting: the first message counts too. Without a stream the prefix ends before its name.
            prefix = topic(event_type, request.stream) if request.stream else f"sad.{event_type}."
            one.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        if not _connect(one, request.endpoint, request.curve):
            raise UsageError(f"{request.endpoint}: expected tcp://HOST:PORT or ipc:///path")
    return sockets


def _connect(one: "zmq.Socket[Any]", endpoint: str, curve: Curve | None) -> bool:
    import zmq

    first_ms, longest_ms = RECONNECT_MS
    one.setsockopt(zmq.LINGER, 0)
    one.setsockopt(zmq.RECONNECT_IVL, first_ms)
    one.setsockopt(zmq.RECONNECT_IVL_MAX, longest_ms)
    if endpoint.startswith("tcp://"):
        one.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        one.setsockopt(zmq.IPV6, int("[" in endpoint))
    if curve is not None:
        one.curve_serverkey, one.curve_publickey, one.curve_secretkey = curve
    try:
        one.connect(endpoint)
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


def _fetch(
    context: "zmq.Context[zmq.Socket[bytes]]",
    replay: str,
    query: Query,
    curve: Curve | None,
    wake: socket.socket | None,
) -> list[Event]:
    import zmq

    with context.socket(zmq.REQ) as asking:
        if not _connect(asking, replay, curve):
            return []
        try:
            asking.send(query.to_json(), zmq.NOBLOCK)
        except zmq.Again:  # turned away already: a socket without a peer would wait for ever
            return []
        poller = zmq.Poller()
        for one in (asking, wake) if wake is not None else (asking,):
            poller.register(one, zmq.POLLIN)
        poller.poll(REPLAY_TIMEOUT_MS)
        return _answer(asking.recv_multipart()) if asking.poll(0) else []


async def _fetch_async(
    context: "zmq.asyncio.Context", replay: str, query: Query, curve: Curve | None, wake: socket.socket
) -> list[Event]:
    import zmq
    import zmq.asyncio

    with context.socket(zmq.REQ) as asking:
        if not _connect(asking, replay, curve):
            return []
        try:
            await asking.send(query.to_json(), zmq.NOBLOCK)
        except zmq.Again:
            return []
        poller = zmq.asyncio.Poller()
        for one in (asking, wake):
            poller.register(one, zmq.POLLIN)
        ready = [one for one, _ in await poller.poll(REPLAY_TIMEOUT_MS)]
        return _answer(await asking.recv_multipart()) if asking in ready else []
