"""What a subscription makes of events: which past to ask for, what the caller wants to see (no socket)."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from sadstream.client.follower import Finding, Follower, Gap
from sadstream.events import EVENT_TYPES, Event, Score, Status
from sadstream.events import endpoint as address
from sadstream.events.keys import Curve
from sadstream.events.query import Query, from_note

HELD_EVENTS = 1000  # until the first status says where the past is kept
TICK_S = 60.0  # longest sleep

Item = Event | Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRequest:
    """Where to listen, to what, and how."""

    endpoint: str
    stream: str | None
    types: frozenset[str]
    latest: bool
    replay: int
    curve: Curve | None
    provisional: bool = False

    @property
    def wire_types(self) -> tuple[str, ...]:
        """What is asked of the daemon: always the status too, because its heartbeat tells silence from death."""
        return tuple(t for t in EVENT_TYPES if t in self.types or t == Status.type)


class Reader:
    """Between the sockets and the follower: which past to ask for, and what the caller wants to see."""

    def __init__(self, request: SubscriptionRequest, timeout_s: float | None) -> None:
        now = time.monotonic()
        self._request = request
        self._until = float("inf") if timeout_s is None else now + timeout_s
        self._follower = Follower(request.wire_types, now, count_gaps=not request.latest)
        self._held: list[Event] | None = [] if request.replay else None
        self.where = ""  # the past is kept, as the daemon's status says, or a gatherer's note
        self._gathered = False

    def wait_ms(self) -> int | None:
        """How long to sleep at most; None when the time is up."""
        now = time.monotonic()
        if now >= self._until:
            return None
        return 1 + max(0, int(1000 * (min(self._follower.due_s(), now + TICK_S, self._until) - now)))

    def note(self, frame: bytes) -> None:
        """Take a frame that is no event: a gatherer's note says where the past is, and statuses no longer do."""
        replay = from_note(frame)
        if replay is not None:
            self._gathered = True
            self.where = replay_address(replay, self._request.endpoint)

    def queries(self, event: Event) -> list[Query]:
        """What to ask `where` before this event is taken."""
        request = self._request
        if isinstance(event, Status) and not self._gathered:
            self.where = "" if event.replay is None else replay_address(event.replay, request.endpoint)
        if not (request.replay and self.where):
            return []
        if self._held is not None:
            return [Query(stream=request.stream, last=request.replay)]
        return [
            Query(
                stream=gap.stream,
                type=gap.event_type,
                session=gap.session,
                first_seq=gap.first_seq,
                last_seq=gap.last_seq,
            )
            for gap in self._follower.missing(event)
        ]

    def take(self, answers: list[list[Event]], event: Event) -> Iterator[Item]:
        """What the caller sees of an event, and of the past that came before it."""
        events = [old for answer in answers for old in answer if old.type in self._request.wire_types]
        if self._held is not None:
            self._held.append(event)
            if not (isinstance(event, Status) or self._gathered) and len(self._held) < HELD_EVENTS:
                return
            events, self._held = events + self._held, None
        else:
            events.append(event)
        now = time.monotonic()
        for one in events:
            yield from filter(self._is_wanted, self._follower.feed(one, now))

    def quiet(self) -> Iterator[Item]:
        """What the caller sees when nothing came."""
        yield from filter(self._is_wanted, self._follower.tick(time.monotonic()))

    def _is_wanted(self, item: Item) -> bool:
        if isinstance(item, Gap) and item.event_type not in self._request.types:
            return False
        if isinstance(item, Score) and item.provisional and not self._request.provisional:
            return False
        return item.type in self._request.types


def replay_address(replay: str, endpoint: str) -> str:
    """Where to ask for the past, or nothing; of a tcp address only the port counts, the host is `endpoint`'s.

    A socket beside the daemon's is beside `endpoint` too, whatever the path of its folder: a container has its own.
    """
    scheme = endpoint.partition("://")[0]
    port = replay.rpartition(":")[2]
    if not replay.startswith(f"{scheme}://"):
        return ""
    if scheme != "tcp":
        beside = address.beside(endpoint)
        return beside if PurePath(beside).name == PurePath(replay).name else replay
    return f"{endpoint.rpartition(':')[0]}:{port}" if port.isascii() and port.isdigit() else ""
