"""What a reader of the wire knows: repetitions, gaps counted exactly, restarts, silence (no clock, no socket)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sadstream.events import STALE_S, Event, EventName, Score, State, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Events of one topic that did not arrive: `first_seq` to `last_seq`, both lost."""

    type: ClassVar[Literal["gap"]] = "gap"

    stream: str
    session: str
    event_type: EventName
    first_seq: int
    last_seq: int

    @property
    def missed(self) -> int:
        """How many."""
        return self.last_seq - self.first_seq + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The daemon of a stream is a new one; numbers begin again, and what the old one said last is unknown."""

    type: ClassVar[Literal["restart"]] = "restart"

    stream: str
    session: str
    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """Nothing came for longer than the heartbeat allows: dead, unreachable, or ended when it last said so.

    Without a stream: nothing was ever heard at this endpoint.
    """

    type: ClassVar[Literal["stale"]] = "stale"

    stream: str | None
    silent_s: float
    last_state: State | None


Finding = Gap | Restart | Stale


@dataclass(slots=True)
class _LastHeard:
    """What was last heard of one stream."""

    session: str
    heard_s: float
    from_start: bool = False  # its session began while we listened, so number 0 is owed too
    seq: dict[str, int] = field(default_factory=dict)
    state: State | None = None
    stale: bool = False


class Follower:
    """Fed with events in the order they arrive, it lets each through once and says what is wrong in between."""

    def __init__(self, types: Iterable[str], now_s: float, count_gaps: bool = True) -> None:
        self._types = frozenset(types)
        self._began_s = now_s
        self._count_gaps = count_gaps
        self._streams: dict[str, _LastHeard] = {}
        self._nobody = False

    def feed(self, event: Event, now_s: float) -> Iterator[Event | Finding]:
        """The event, after what it reveals; nothing for a repetition."""
        heard = self._streams.get(event.stream)
        if heard is None or heard.session != event.session:
            self._streams[event.stream] = _LastHeard(event.session, now_s, from_start=heard is not None)
            if heard is not None:
                yield Restart(stream=event.stream, session=event.session, previous=heard.session)
            heard = self._streams[event.stream]
        heard.heard_s, heard.stale = now_s, False
        for gap in self.missing(event):
            heard.seq[gap.event_type] = gap.last_seq
            yield gap
        if event.seq <= heard.seq.get(event.type, -1):
            return  # said again to somebody who joined
        heard.seq[event.type] = event.seq
        if isinstance(event, Status):
            heard.state = event.state
        yield event

    def missing(self, event: Event) -> list[Gap]:
        """What should have come before this event and did not."""
        heard = self._streams.get(event.stream)
        if heard is None or not self._count_gaps:
            return []
        # Of a session that began while we listened everything is owed, of another what follows its first event.
        known = heard.seq if heard.session == event.session else {}
        owed = heard.from_start or heard.session != event.session
        expected: list[tuple[EventName, int]] = [(event.type, event.seq - 1)]
        if isinstance(event, Status) and event.last_score_seq is not None:
            expected.append((Score.type, event.last_score_seq))  # the last scores may be lost with nothing after them
        return [
            Gap(
                stream=event.stream,
                session=event.session,
                event_type=event_type,
                first_seq=known.get(event_type, -1) + 1,
                last_seq=last_seq,
            )
            for event_type, last_seq in expected
            if event_type in self._types and (event_type in known or owed) and last_seq > known.get(event_type, -1)
        ]

    def tick(self, now_s: float) -> Iterator[Stale]:
        """Who has fallen silent by now, each said once; call it when nothing is waiting to be read."""
        if not self._streams and not self._nobody and now_s - self._began_s > STALE_S:
            self._nobody = True
            yield Stale(stream=None, silent_s=now_s - self._began_s, last_state=None)
        for name, heard in self._streams.items():
            if not heard.stale and now_s - heard.heard_s > STALE_S:
                heard.stale = True
                yield Stale(stream=name, silent_s=now_s - heard.heard_s, last_state=heard.state)

    def due_s(self) -> float:
        """When `tick` may next have something to say."""
        waiting = [heard.heard_s for heard in self._streams.values() if not heard.stale]
        if not self._streams and not self._nobody:
            waiting = [self._began_s]
        return min(waiting, default=float("inf")) + STALE_S
