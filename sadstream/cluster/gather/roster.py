"""Whose name is whose among the streams of many rooms: pure, no clock, no socket."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from sadstream.events import STALE_S, Event, Status
from sadstream.events.codec import FrameHead

STREAMS = 4096  # of all rooms together; one more is refused, or an invented name a second would fill the memory
FORGET_S = 3600.0  # of silence, after which a stream's past goes too


class Verdict(Enum):
    """What to do with an event."""

    NEW = auto()  # pass it on
    TAKEN_OVER = auto()  # pass it on, as the first of another session
    REPEATED = auto()  # heard before
    REFUSED = auto()  # its name is another session's
    CROWDED = auto()  # one stream too many


@dataclass(slots=True)
class HeardStream:
    """What was last heard of one stream."""

    session: str
    connection: bytes
    heard_s: float
    stopping: bool = False
    silent: bool = False  # said so
    refused: str = ""  # the session that was refused last
    seq: dict[str, int] = field(default_factory=dict)


class Roster:
    """Fed with the head of every event, it lets each through once and gives a name to one session at a time.

    A session has the name until its connection is gone, it said `stopping`, or nothing came of it for STALE_S: then the
    next session that speaks is the room started again. Until then another session is another room of the same name.

    connected: whether a connection is still there.
    """

    def __init__(self, connected: Callable[[bytes], bool]) -> None:
        self._connected = connected
        self._streams: dict[str, HeardStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __getitem__(self, stream: str) -> HeardStream:
        return self._streams[stream]

    def feed(self, head: FrameHead, event: Event | None, connection: bytes, now_s: float) -> Verdict:
        """What to do with an event that came in by this connection."""
        heard, verdict = self._streams.get(head.stream), Verdict.NEW
        if heard is None:
            if len(self._streams) >= STREAMS:
                return Verdict.CROWDED
            heard = self._streams[head.stream] = HeardStream(head.session, connection, now_s)
        elif heard.session != head.session:
            if not self._is_over(heard, connection, now_s):
                return Verdict.REFUSED
            verdict = Verdict.TAKEN_OVER
            heard = self._streams[head.stream] = HeardStream(head.session, connection, now_s)
        heard.connection, heard.heard_s, heard.silent = connection, now_s, False
        if head.seq <= heard.seq.get(head.type, -1):
            return Verdict.REPEATED
        heard.seq[head.type] = head.seq
        if isinstance(event, Status):
            heard.stopping = event.state == "stopping"
        return verdict

    def speaks(self, stream: str, now_s: float) -> bool:
        """Something came of it lately."""
        return now_s - self._streams[stream].heard_s <= STALE_S

    def fallen_silent(self, now_s: float) -> Iterator[str]:
        """The streams of which nothing came for longer than the heartbeat allows, each once."""
        for stream, heard in self._streams.items():
            if not heard.silent and now_s - heard.heard_s > STALE_S:
                heard.silent = True
                yield stream

    def forgotten(self, now_s: float) -> list[str]:
        """The streams that were silent for FORGET_S; they are no longer known."""
        gone = [stream for stream, heard in self._streams.items() if now_s - heard.heard_s > FORGET_S]
        for stream in gone:
            del self._streams[stream]
        return gone

    def _is_over(self, heard: HeardStream, connection: bytes, now_s: float) -> bool:
        return (
            heard.stopping
            or now_s - heard.heard_s > STALE_S
            or heard.connection == connection
            or not self._connected(heard.connection)
        )
