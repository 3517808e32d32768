"""The last events, kept in memory for those who come late or back."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from sadstream.events import Event
from sadstream.events.codec import FrameHead
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
    lost: bool  # never to be sent, but to whoever asks for it


class ReplayBuffer:
    """The last `size` events of each topic; heartbeats push out heartbeats, never scores.

    most: of one answer, in which each topic then has an equal share; none: all that was asked for.
    """

    def __init__(self, size: int, most: int | None = None) -> None:
        self._size = size
        self.most = most
        self._topics: dict[tuple[str, str], deque[BufferedEvent]] = {}
        self.number = 0  # of the next event

    def keep(self, event: Event | FrameHead, frame: bytes, lost: bool = False) -> None:
        """Remember an event that was sent, or `lost`."""
        topic = self._topics.setdefault((event.stream, event.type), deque(maxlen=self._size))
        topic.append(BufferedEvent(self.number, event.stream, event.type, event.session, event.seq, frame, lost))
        self.number += 1

    def since(self, number: int) -> list[BufferedEvent]:
        """What is remembered from this number on, oldest first."""
        newer = (event for topic in self._topics.values() for event in _from(topic, number))
        return sorted(newer, key=lambda event: event.number)

    def forget(self, stream: str) -> None:
        """Its past is no longer asked for."""
        for topic in [topic for topic in self._topics if topic[0] == stream]:
            del self._topics[topic]

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
        topics = [
            topic
            for (stream, event_type), topic in self._topics.items()
            if query.stream in (None, stream) and query.type in (None, event_type)
        ]
        limits = [query.last, None if self.most is None else max(1, self.most // max(1, len(topics)))]
        limit = min((limit for limit in limits if limit is not None), default=None)
        for topic in topics:
            yield from islice((event for event in reversed(topic) if _matches(event, query)), limit)


def _from(topic: deque[BufferedEvent], number: int) -> Iterator[BufferedEvent]:
    return takewhile(lambda event: event.number >= number, reversed(topic))


def _matches(event: BufferedEvent, query: Query) -> bool:
    return (
        query.session in (None, event.session)
        and (query.first_seq is None or event.seq >= query.first_seq)
        and (query.last_seq is None or event.seq <= query.last_seq)
    )
