"""What a daemon says, passed on to any number of browsers as server-sent events; none can hold up another."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

from sadstream.client.follower import Finding
from sadstream.client.reader import Item
from sadstream.events import Episode, Event, Score, Status, to_json

KEPT = {"score": 500, "episode": 500, "status": 200, "finding": 200}  # what whoever joins is told first
WAITING = 2000  # lines for a browser that does not read; then it loses the oldest and is told to begin anew
PING_S = 10.0  # a line at least this often, so that a dead connection is noticed


class Feed:
    """The last items, and a line of them for each browser; it belongs to one event loop."""

    def __init__(self, words: bool) -> None:
        self.words_sent: bool | None = None  # the last score came with words, though we may not pass them on
        self._words = words
        self._number = 0
        self._kept: dict[str, deque[tuple[int, str]]] = {kind: deque(maxlen=size) for kind, size in KEPT.items()}
        self._readers: set[_BrowserQueue] = set()

    async def follow(self, items: AsyncIterator[Item]) -> None:
        """Pass on what comes, for ever."""
        async for item in items:
            self.take(item)

    def take(self, item: Item) -> None:
        """Keep an item, and wake whoever waits for it."""
        if isinstance(item, Score):
            self.words_sent = item.text is not None
        kind, line = _line(item, self._words)
        self._number += 1
        self._kept[kind].append((self._number, line))
        for reader in self._readers:
            reader.put(line)

    async def lines(self, ping_s: float = PING_S) -> AsyncIterator[str]:
        """What is kept, in the order it came, `now`, then each item as it comes."""
        reader = _BrowserQueue()
        self._readers.add(reader)
        try:
            kept = sorted(pair for lines in self._kept.values() for pair in lines)
            yield "retry: 500\nevent: hello\ndata: {}\n\n" + "".join(line for _, line in kept)
            yield "event: now\ndata: {}\n\n"
            while True:
                yield await reader.next(ping_s)
        finally:
            self._readers.discard(reader)


class _BrowserQueue:
    """Lines that wait for one browser."""

    __slots__ = ("_lines", "_lost", "_some")

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=WAITING)
        self._some = asyncio.Event()
        self._lost = False

    def put(self, line: str) -> None:
        self._lost = self._lost or len(self._lines) == WAITING
        self._lines.append(line)
        self._some.set()

    async def next(self, ping_s: float) -> str:
        try:
            await asyncio.wait_for(self._some.wait(), ping_s)
        except TimeoutError:
            return ": still here\n\n"
        text = ("event: behind\ndata: {}\n\n" if self._lost else "") + "".join(self._lines)
        self._lines.clear()
        self._some.clear()
        self._lost = False
        return text


def _line(item: Item, words: bool) -> tuple[str, str]:
    """Which kind it is kept as, and the item as a server-sent event."""
    if isinstance(item, Score | Status | Episode):
        return item.type, f"event: {item.type}\ndata: {_event(item, words)}\n\n"
    return "finding", f"event: {item.type}\ndata: {_finding(item)}\n\n"


def _event(event: Event, words: bool) -> str:
    return to_json(replace(event, text=None) if isinstance(event, Score) and not words else event)


def _finding(finding: Finding) -> str:
    missed = {"missed": finding.missed} if finding.type == "gap" else {}
    return json.dumps({"type": finding.type, **asdict(finding), **missed})
