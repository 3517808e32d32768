"""What was said lately, in its order and each under an id, for whoever comes late or back; pure."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

SIZE = 500  # of each topic, as a daemon remembers
MOST = 20_000  # of all topics together, 14 MB: a thousand rooms at 300 events a second come back within a minute


@dataclass(frozen=True, slots=True)
class FeedItem:
    """An event or a finding as a server-sent event."""

    id: str
    kind: str  # score, status, episode or finding
    name: str  # of the server-sent event
    stream: str | None
    line: str
    provisional: bool = False  # a score of the sound alone, after which the whole one comes


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """What somebody wants to hear: of one stream or of all, and events of these names."""

    stream: str | None = None
    names: frozenset[str] | None = None
    provisional: bool = False

    def wants(self, item: FeedItem) -> bool:
        """This item too; what is of no stream in particular is of every one."""
        return (
            (self.stream is None or item.stream in (None, self.stream))
            and (self.names is None or item.name in self.names)
            and (self.provisional or not item.provisional)
        )


class FeedMemory:
    """The last `size` items of each topic, and `most` of all."""

    def __init__(self, size: int = SIZE, most: int = MOST) -> None:
        self._size = size
        self._most = most
        self._items: OrderedDict[str, FeedItem] = OrderedDict()
        self._topics: dict[tuple[str, str | None], deque[str]] = {}

    def keep(self, item: FeedItem) -> None:
        """Remember an item as the newest."""
        topic = self._topics.setdefault((item.kind, item.stream), deque())
        if self._items.pop(item.id, None) is not None:  # two daemons by turns under one name
            topic.remove(item.id)
        self._items[item.id] = item
        topic.append(item.id)
        if len(topic) > self._size:
            del self._items[topic.popleft()]
        elif len(self._items) > self._most:
            _, oldest = self._items.popitem(last=False)
            self._topics[oldest.kind, oldest.stream].popleft()

    def after(self, item_id: str) -> list[FeedItem] | None:
        """What came after an item, oldest first; None where that item is not remembered.

        A finding's id, `ID~N`, is known to the server that found it alone; elsewhere it stands for what came before it.
        """
        known = item_id if item_id in self._items else item_id.partition("~")[0]
        if known not in self._items:
            return None
        newer: list[FeedItem] = []
        for item in reversed(self._items.values()):
            if item.id == known:
                break
            newer.append(item)
        return newer[::-1]

    def everything(self) -> list[FeedItem]:
        """All that is remembered, oldest first."""
        return list(self._items.values())

    def last(self, count: int, wanted: FeedFilter) -> list[FeedItem]:
        """The last so many events of each topic that are wanted, oldest first, without what was found."""
        chosen: set[str] = set()
        for (kind, _), topic in self._topics.items():
            if kind != "finding":
                chosen.update(islice((one for one in reversed(topic) if wanted.wants(self._items[one])), count))
        return [item for item in self._items.values() if item.id in chosen]

    def last_of(self, counts: Mapping[str, int]) -> list[FeedItem]:
        """The last items of each kind, of all streams together, oldest first."""
        left = dict(counts)
        newest: list[FeedItem] = []
        for item in reversed(self._items.values()):
            if left[item.kind]:
                left[item.kind] -= 1
                newest.append(item)
        return newest[::-1]
