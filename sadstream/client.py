"""The listening end of the wire, for apps: `for event in subscribe(): ...` (needs pyzmq alone)."""

import time
from collections.abc import Iterator
from typing import Any

from sadstream.events import DEFAULT_ENDPOINT, Event, WireError, from_wire, topic

EVENT_TYPES = ("score", "status", "episode")


def subscribe(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    stream: str | None = None,
    types: tuple[str, ...] = EVENT_TYPES,
    timeout_s: float | None = None,
) -> Iterator[Event]:
    """Events as they come, of one stream or of all, until `timeout_s` is up; reconnects by itself for ever.

    Frames that are not events of this contract are left out.
    """
    import zmq

    until = None if timeout_s is None else time.monotonic() + timeout_s
    context: Any = zmq.Context()
    socket = context.socket(zmq.SUB)
    try:
        for event_type in types:
            # Without a stream the prefix ends before its name.
            prefix = topic(event_type, stream) if stream else f"sad.{event_type}."
            socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())  # before connect: the first message counts too
        socket.connect(endpoint)
        while (left_ms := _left_ms(until)) is None or left_ms > 0:
            if not socket.poll(left_ms):
                continue
            try:
                event = from_wire(socket.recv())
            except WireError:
                continue
            if event is not None:
                yield event
    finally:
        socket.close(linger=0)
        context.term()


def _left_ms(until: float | None) -> int | None:
    return None if until is None else max(0, int(1000 * (until - time.monotonic())))
