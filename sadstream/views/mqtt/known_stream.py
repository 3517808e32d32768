"""What is true of one stream now, out of what its daemon said (no clock: the daemon's own tells how old a score is)."""

import json
from dataclasses import dataclass

from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item
from sadstream.events import Episode, Event, Score, Status

MAY_TELL = ("mood", "emotions", "valence", "arousal")  # not every checkpoint does
QUIET_S = 30.0  # a segment has 3 s at most and is scored in 2, so that after these nobody has talked for a while


@dataclass(slots=True)
class KnownStream:
    """Fed with a stream's events and findings, it says whether its daemon is there and what it last said."""

    there: bool = False
    lost: int = 0  # events of all types
    tells: frozenset[str] = frozenset()  # of MAY_TELL, what its scores have carried
    _status: Status | None = None
    _score: Score | None = None
    _episode: bool = False
    _latest_s: float = 0.0  # of the daemon's clock

    def feed(self, item: Item) -> None:
        """Take what came."""
        match item:
            case Gap():
                self.lost += item.missed
            case Restart():
                self._status, self._score, self._episode, self._latest_s = None, None, False, 0.0
            case Stale():
                self.there = False
            case _:
                self._hear(item)

    def _hear(self, event: Event) -> None:
        self.there = True
        self._latest_s = max(self._latest_s, event.monotonic_s)
        match event:
            case Status():
                self._status, self.there = event, event.state != "stopping"
            case Episode():
                self._episode = event.phase != "end"
            case Score() if not event.provisional:  # the whole one follows
                self._score = event
                self.tells |= {name for name in MAY_TELL if getattr(event, name) is not None}

    @property
    def is_known(self) -> bool:
        """A status came, as the first thing that whoever joins is told."""
        return self._status is not None

    @property
    def is_sad(self) -> bool:
        """The last segment was, and was not long ago."""
        score = self._score
        return score is not None and score.sad and self._latest_s - score.monotonic_s <= QUIET_S

    def state(self) -> str:
        """All of it as one line of JSON; null where nothing is known yet."""
        status, score = self._status, self._score
        body = {
            "p_sad": None if score is None else score.p_sad,
            "mood": None if score is None else score.mood,
            "sad": self.is_sad,
            "episode": self._episode,
            "state": None if status is None else status.state,
            "reason": None if status is None else status.reason,
            "paused": status is not None and status.state == "paused",
            "dropped": None if status is None else status.dropped,
            "lost": self.lost,
        }
        return json.dumps(body | self._felt(), separators=(",", ":"))

    def _felt(self) -> dict[str, object]:
        """What the scores tell beside sad, the likeliest emotion by itself."""
        found: dict[str, object] = {name: getattr(self._score, name, None) for name in MAY_TELL if name in self.tells}
        likeliest = None if self._score is None else self._score.likeliest
        return found | ({"emotion": likeliest and likeliest[0]} if "emotions" in self.tells else {})
