"""Whose segments are scored next, and who is told that there is no room: pure, told the time."""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from sadstream.daemon.remote.request import SegmentRequest

IN_FLIGHT = 2  # of one stream of one room, one in work and one that waits; the third is refused
ROOM_IN_FLIGHT = 16  # of one room, however many streams it says it has
ROUNDS = 4  # of batches that wait at most, whatever is measured
NEWEST = 0.2  # what one call counts in the mean of what calls take
OLDEST_S = 6.0  # a segment that is older than this is worth nothing to anybody


@dataclass(frozen=True, slots=True, eq=False)
class WaitingSegment:
    """A request in the door's hands."""

    room: bytes  # whose it is
    route: bytes  # the connection that it came by
    id: bytes
    header: bytes  # as it came
    request: SegmentRequest  # what it says
    audio: bytes
    received_s: float

    @property
    def stream(self) -> tuple[bytes, int]:
        """Which of whose streams it is of."""
        return self.room, self.request.lane

    def remaining_s(self, now_s: float) -> float:
        """How long somebody still waits for its answer."""
        waited_s = now_s - self.received_s
        return min(self.request.wait_ms / 1000, OLDEST_S - self.request.age_ms / 1000) - waited_s


class FairQueue:
    """Segments of many rooms in, batches out: the rooms by turns, one of each stream at a time, in order.

    calls: batches in work at once; batch: segments in one of them at most. While a call is free nothing waits, so a
    batch is as long as the load makes it. What would not be answered in time, as calls went lately, is not taken in.
    """

    def __init__(self, calls: int, batch: int) -> None:
        self.resize(calls, batch)
        self._rooms: OrderedDict[bytes, deque[WaitingSegment]] = OrderedDict()
        self._in_flight: Counter[tuple[bytes, int]] = Counter()
        self._of_room: Counter[bytes] = Counter()
        self._in_work: set[tuple[bytes, int]] = set()
        self._out = 0  # calls
        self._call_s = 0.0  # what one takes
        self.waiting = 0

    def resize(self, calls: int, batch: int) -> None:
        """From now on so many in work; what is there already stays."""
        self._calls, self._batch = calls, batch

    @property
    def working(self) -> int:
        """How many are in work."""
        return len(self._in_work)

    def feed(self, segment: WaitingSegment, now_s: float) -> bool:
        """True if it waits now; False if there is no room for it."""
        full = (
            self.waiting >= ROUNDS * self._calls * self._batch
            or self._in_flight[segment.stream] >= IN_FLIGHT
            or self._of_room[segment.room] >= ROOM_IN_FLIGHT
            or (self._out >= self._calls and self._answered_s() > segment.remaining_s(now_s))
        )
        if full:
            return False
        self._rooms.setdefault(segment.room, deque()).append(segment)
        self._in_flight[segment.stream] += 1
        self._of_room[segment.room] += 1
        self.waiting += 1
        return True

    def take(self, now_s: float) -> tuple[list[WaitingSegment], list[WaitingSegment]]:
        """The next batch if a call is free, and those that nobody waits for any more; `done` is due for the batch."""
        work: list[WaitingSegment] = []
        late: list[WaitingSegment] = []
        if self._out >= self._calls:
            return work, late
        while len(work) < self._batch and (segment := self._next()) is not None:
            if segment.remaining_s(now_s) <= 0:
                self._leave(segment)
                late.append(segment)
            else:
                self._in_work.add(segment.stream)
                work.append(segment)
        self._out += bool(work)
        return work, late

    def done(self, batch: Sequence[WaitingSegment], spent_s: float) -> None:
        """They are answered, or given up, after so long."""
        self._out -= 1
        self._call_s += (spent_s - self._call_s) * (NEWEST if self._call_s else 1.0)
        for segment in batch:
            self._in_work.discard(segment.stream)
            self._leave(segment)

    def _answered_s(self) -> float:
        """When one more would be answered: after the batches before it, and its own."""
        return self._call_s * (1 + math.ceil((self.waiting + 1) / self._batch) / self._calls)

    def _next(self) -> WaitingSegment | None:
        """The first of the room whose turn it is, of a stream with none in work."""
        for room, waiting in self._rooms.items():
            segment = next((one for one in waiting if one.stream not in self._in_work), None)
            if segment is None:
                continue
            waiting.remove(segment)
            self.waiting -= 1
            self._rooms.move_to_end(room)
            if not waiting:
                del self._rooms[room]
            return segment
        return None

    def _leave(self, segment: WaitingSegment) -> None:
        self._in_flight[segment.stream] -= 1
        self._of_room[segment.room] -= 1
        if not self._in_flight[segment.stream]:
            del self._in_flight[segment.stream]
        if not self._of_room[segment.room]:
            del self._of_room[segment.room]
