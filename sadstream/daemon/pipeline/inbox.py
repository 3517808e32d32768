"""Where segments wait for the analyser, and which of them give way."""

import threading
from collections import deque
from collections.abc import Sequence

from sadstream.daemon.messages import QueuedSegment, SourceEnded

QUEUE_SEGMENTS = 2  # waiting for the analyser, a stream; more would only be older


class Inbox:
    """At most QUEUE_SEGMENTS segments a stream between its reader and the analyser.

    A stream that cannot wait loses its oldest segment; one that can makes its reader wait.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        self._waiting: dict[str, deque[QueuedSegment | SourceEnded]] = {stream: deque() for stream in streams}
        self._changed = threading.Condition()
        self._closed = False
        self._roused = False

    @property
    def is_empty(self) -> bool:
        """No segment waits, and one still may come."""
        with self._changed:
            return not self._closed and not any(self._waiting.values())

    def rouse(self) -> None:
        """Say that a segment is under way."""
        with self._changed:
            self._roused = True
            self._changed.notify_all()

    def wait(self, timeout_s: float | None) -> bool:
        """True as soon as a segment waits, or is under way since the last look, or none ever will be."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._closed or self._roused or any(self._waiting.values()), timeout_s
            )
            self._roused = False
            return found

    def wait_for_room(self, stream: str, timeout_s: float) -> bool:
        """True as soon as a segment of this stream would push no other out (or never will again)."""
        with self._changed:
            queue = self._waiting[stream]
            return self._changed.wait_for(lambda: self._closed or len(queue) < QUEUE_SEGMENTS, timeout_s)

    def put(self, item: QueuedSegment | SourceEnded) -> bool:
        """Add a segment; True if an older one of its stream was dropped for it."""
        with self._changed:
            queue = self._waiting[item.stream]
            full = isinstance(item, QueuedSegment) and len(queue) >= QUEUE_SEGMENTS
            if full:
                queue.popleft()
            queue.append(item)
            self._changed.notify_all()
            return full and not self._closed

    def take(self, most: int) -> list[QueuedSegment | SourceEnded]:
        """The segments that wait longest, at most one of each stream; none when the inbox is closed.

        It waits for the first and for no other, so that a lone segment is never late.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            if self._closed:
                return []
            heads = sorted((queue for queue in self._waiting.values() if queue), key=_put_s)
            items = [queue.popleft() for queue in heads[:most]]
            self._changed.notify_all()
            return items

    def waiting(self, stream: str) -> int:
        """How many segments of this stream wait."""
        with self._changed:
            return sum(isinstance(item, QueuedSegment) for item in self._waiting[stream])

    def close(self) -> None:
        """Let every reader and the analyser go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _put_s(queue: "deque[QueuedSegment | SourceEnded]") -> float:
    head = queue[0]
    return head.put_s if isinstance(head, QueuedSegment) else 0.0
