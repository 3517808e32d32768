"""The last events, kept in memory for those who come late or back."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from sadstream.events import Event
from sadstream.events.query import Query, from_json
from sadstream.events.validation import WireError


@dataclass(frozen=True, slots=True)
class BufferedEvent:
    """An event as it went over the wire, and where it stands among all."""

    number: int
    stream: str
    type: str
    session: str
    seq: int
    frame: bytes


class ReplayBuffer:
    """The last `size` events of each topic; heartbeats push out heartbeats, never scores."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._topics: dict[tuple[str, str], deque[BufferedEvent]] = {}
        self._number = 0

    def keep(self, event: Event, frame: bytes) -> None:
        """Remember an event that was sent."""
        topic = self._topics.setdefault((event.stream, event.type), deque(maxlen=self._size))
        topic.append(BufferedEvent(self._number, event.stream, event.type, event.session, event.seq, frame))
        self._number += 1

    def select(self, query: Query) -> list[bytes]:
        """The frames that a query is after, in the order they were sent."""
        found = sorted(self._found(query), key=lambda event: event.number)
        return [event.frame for event in found]

    def answer(self, request: bytes) -> list[bytes]:
        """The frames of a reply: a JSON object that says how many events follow, or what was wrong; then these."""
        try:
            frames = self.select(from_json(request))
        except WireError as error:
            return [json.dumps({"v": 1, "error": str(error)}).encode()]
        return [json.dumps({"v": 1, "events": len(frames)}).encode(), *frames]

    def _found(self, query: Query) -> Iterator[BufferedEvent]:
        for (stream, event_type), topic in self._topics.items():
            if query.stream in (None, stream) and query.type in (None, event_type):
                matching = [event for event in topic if _matches(event, query)]
                yield from matching if query.last is None else matching[max(0, len(matching) - query.last) :]


def _matches(event: BufferedEvent, query: Query) -> bool:
    return (
        query.session in (None, event.session)
        and (query.first_seq is None or event.seq >= query.first_seq)
        and (query.last_seq is None or event.seq <= query.last_seq)
    )
