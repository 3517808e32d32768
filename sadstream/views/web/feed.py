"""What a daemon says, passed on to any number of readers as server-sent events; none can hold up another."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from urllib.parse import quote

from sadstream.client.follower import Finding
from sadstream.client.reader import Item
from sadstream.events import Episode, Score, Status, to_json
from sadstream.views.web.latest import LatestEvents
from sadstream.views.web.memory import FeedFilter, FeedItem, FeedMemory

KEPT = {"score": 500, "episode": 500, "status": 200, "finding": 200}  # what a page that opens is told first
WAITING = 2000  # items for a reader that does not read; then it loses the oldest, and is told
PIECE = 500  # items of the past in one piece
PING_S = 10.0  # a line at least this often, so that a dead connection is noticed
PING = ": still here\n\n"
RETRY_MS = 1000
ALL = FeedFilter(provisional=True)


class Feed:
    """The last items, and a queue of them for each reader; it belongs to one event loop."""

    def __init__(self, words: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.words_sent: bool | None = None  # the last score came with words, though we may not pass them on
        self.latest = LatestEvents(clock())
        self._words = words
        self._clock = clock
        self._memory = FeedMemory()
        self._last_id = ""
        self._findings = 0
        self._begun = asyncio.Event()
        self._readers: set[_ReaderQueue] = set()

    def take(self, item: Item) -> None:
        """Keep an item, and wake whoever waits for it."""
        if isinstance(item, Score):
            self.words_sent = item.text is not None
            item = item if self._words else replace(item, text=None)
        self.latest.take(item, self._clock())
        passed_on = self._passed_on(item)
        self._memory.keep(passed_on)
        self._begun.set()
        for reader in self._readers:
            reader.put(passed_on)

    async def lines(self, ping_s: float = PING_S) -> AsyncIterator[str]:
        """For the page: what is kept, in the order it came, `now`, then each item as it comes."""
        kept = self._memory.last_of(KEPT)
        with self._reader(ALL) as reader:
            yield f"retry: 500\nevent: hello\ndata: {{}}\n\n{_joined(kept)}"
            yield "event: now\ndata: {}\n\n"
            while True:
                yield await reader.next(ping_s)

    async def events(
        self, wanted: FeedFilter, last_id: str | None, count: int, ping_s: float = PING_S
    ) -> AsyncIterator[str]:
        """For programs: what came after `last_id`, else the last `count` events of each topic; then what comes.

        An id that is forgotten: `behind`, and all that is remembered.
        """
        yield f"retry: {RETRY_MS}\n\n"
        while last_id and not self._begun.is_set():  # the daemon's memory has not been heard yet
            try:
                await asyncio.wait_for(self._begun.wait(), ping_s)
            except TimeoutError:
                yield PING
        past = [item for item in self._past(last_id, count, wanted) if wanted.wants(item)]
        with self._reader(wanted) as reader:
            for at in range(0, len(past), PIECE):
                yield _joined(past[at : at + PIECE])
            while True:
                yield await reader.next(ping_s)

    @contextmanager
    def _reader(self, wanted: FeedFilter) -> Iterator["_ReaderQueue"]:
        """A queue that is filled while it is read."""
        queue = _ReaderQueue(wanted)
        self._readers.add(queue)
        try:
            yield queue
        finally:
            self._readers.discard(queue)

    def _past(self, last_id: str | None, count: int, wanted: FeedFilter) -> list[FeedItem]:
        if not last_id:
            silent = [self._found(finding, "") for finding in self.latest.stale(self._clock())]
            return [*self._memory.last(count, wanted), *silent]
        newer = self._memory.after(last_id)
        if newer is None:
            return [FeedItem("", "finding", "behind", None, _behind(None)), *self._memory.everything()]
        return newer

    def _passed_on(self, item: Item) -> FeedItem:
        if isinstance(item, Score | Status | Episode):
            self._last_id = f"{item.stream}.{quote(item.session, safe='')}.{item.type}.{item.seq}"
            self._findings = 0
            line = f"event: {item.type}\ndata: {to_json(item)}\nid: {self._last_id}\n\n"
            provisional = isinstance(item, Score) and bool(item.provisional)
            return FeedItem(self._last_id, item.type, item.type, item.stream, line, provisional)
        self._findings += 1
        return self._found(item, f"{self._last_id}~{self._findings}")

    def _found(self, finding: Finding, item_id: str) -> FeedItem:
        missed = {"missed": finding.missed} if finding.type == "gap" else {}
        body = json.dumps({"type": finding.type, **asdict(finding), **missed})
        line = f"event: {finding.type}\ndata: {body}\n" + (f"id: {item_id}\n\n" if item_id else "\n")
        return FeedItem(item_id, "finding", finding.type, finding.stream, line)


class _ReaderQueue:
    """Items that wait for one reader."""

    __slots__ = ("_items", "_lost", "_some", "_wanted")

    def __init__(self, wanted: FeedFilter) -> None:
        self._items: deque[FeedItem] = deque(maxlen=WAITING)
        self._some = asyncio.Event()
        self._wanted = wanted
        self._lost = 0

    def put(self, item: FeedItem) -> None:
        if self._wanted.wants(item):
            self._lost += len(self._items) == WAITING
            self._items.append(item)
            self._some.set()

    async def next(self, ping_s: float) -> str:
        try:
            await asyncio.wait_for(self._some.wait(), ping_s)
        except TimeoutError:
            return PING
        text = (_behind(self._lost) if self._lost else "") + _joined(self._items)
        self._items.clear()
        self._some.clear()
        self._lost = 0
        return text


def _behind(lost: int | None) -> str:
    """What is sent to a reader for which something was lost; None: nobody knows how much."""
    return f"event: behind\ndata: {json.dumps({'type': 'behind', 'lost': lost})}\n\n"


def _joined(items: "list[FeedItem] | deque[FeedItem]") -> str:
    return "".join(item.line for item in items)
