"""What is true now of each stream: its last events, how long it has been silent, what was lost; pure."""

from dataclasses import dataclass

from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item
from sadstream.events import STALE_S, Episode, Event, Score, Status
from sadstream.events.types import is_heard

NAMED = 5  # streams in the one line about health


@dataclass(slots=True)
class LatestOfStream:
    """The last event of each type; `heard_s` on the clock of whoever takes."""

    heard_s: float
    score: Score | None = None
    status: Status | None = None
    episode: Episode | None = None
    lost: int = 0  # events on the wire, of all types
    restarts: int = 0

    def silent_s(self, now_s: float) -> float:
        """How long nothing has come."""
        return now_s - self.heard_s

    def is_stale(self, now_s: float) -> bool:
        """Longer than the heartbeat allows."""
        return self.silent_s(now_s) > STALE_S

    def is_heard(self, now_s: float) -> bool:
        """It is there, and somebody could be heard in its audio."""
        said = self.status
        return not self.is_stale(now_s) and said is not None and is_heard(said.state, said.reason)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether any stream is heard, and one line about it."""

    good: bool
    line: str


class LatestEvents:
    """Fed with items as they come."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self.streams: dict[str, LatestOfStream] = {}

    def take(self, item: Item, now_s: float) -> None:
        """Take over what an item says."""
        if item.stream is None:
            return
        latest = self.streams.setdefault(item.stream, LatestOfStream(now_s))
        match item:
            case Gap():
                latest.lost += item.missed
            case Restart():
                latest.restarts += 1
            case Stale():
                pass
            case _:
                _take_event(latest, item, now_s)

    def stale(self, now_s: float) -> list[Stale]:
        """What somebody who joins now would not know otherwise: who is silent."""
        if not self.streams and now_s - self._began_s > STALE_S:
            return [Stale(stream=None, silent_s=now_s - self._began_s, last_state=None)]
        return [
            Stale(
                stream=name,
                silent_s=latest.silent_s(now_s),
                last_state=None if latest.status is None else latest.status.state,
            )
            for name, latest in self.streams.items()
            if latest.is_stale(now_s)
        ]

    def health(self, now_s: float) -> Health:
        """Good only while at least one stream is heard."""
        heard = [name for name, latest in self.streams.items() if latest.is_heard(now_s)]
        if heard:
            return Health(True, f"heard: {_listed(heard)}")
        if not self.streams:
            return Health(False, f"nothing is heard: no daemon in {now_s - self._began_s:.0f} s")
        why = [f"{name}: {_trouble(latest, now_s)}" for name, latest in self.streams.items()]
        return Health(False, f"nothing is heard: {_listed(why)}")


def _take_event(latest: LatestOfStream, event: Event, now_s: float) -> None:
    latest.heard_s = now_s
    match event:
        case Score():
            latest.score = latest.score if event.provisional else event
        case Status():
            latest.status = event
        case Episode():
            latest.episode = event


def _trouble(latest: LatestOfStream, now_s: float) -> str:
    if latest.is_stale(now_s):
        return f"silent for {latest.silent_s(now_s):.0f} s"
    if latest.status is None:
        return "no status yet"
    return f"{latest.status.state} ({latest.status.reason})"


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
