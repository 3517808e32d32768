"""The publishing end of the wire: sequence numbers, and all who are told: listeners here, a gatherer elsewhere."""

import secrets
from types import TracebackType
from typing import Any

from sadstream.daemon.publishing.outlet import Outlet
from sadstream.daemon.publishing.replay_buffer import ReplayBuffer
from sadstream.daemon.publishing.sockets import Sockets
from sadstream.daemon.publishing.uplink import Uplink
from sadstream.events import E, Score, Status, to_wire
from sadstream.events.keys import ServerKeys
from sadstream.events.types import EventName, envelope

EVENTS_WAITING = 512  # for one slow subscriber; of 64 streams a join alone is 192


class Publisher:
    """A bound XPUB socket, and beside it the daemon's memory of what it sent; all sockets belong to one thread.

    endpoint: ipc:///path or tcp://HOST:PORT; other hosts than this machine's need `keys`.
    replay: endpoint of the memory, `auto` for one beside `endpoint`, or `off`; replay_events: kept of each topic.
    uplink: the way to a gatherer, if there is one.
    """

    def __init__(
        self,
        endpoint: str,
        keys: ServerKeys | None = None,
        replay: str = "auto",
        replay_events: int = 500,
        uplink: Uplink | None = None,
    ) -> None:
        self.session = secrets.token_hex(8)
        self._memory = ReplayBuffer(replay_events or (0 if uplink is None else uplink.least_events))
        self._sockets = Sockets(keys)
        self._outlet = Outlet(self._sockets, endpoint, replay if replay_events else "off", self._memory, EVENTS_WAITING)
        self._uplink = uplink
        self._sequence: dict[tuple[str, str], int] = {}  # the last number of each topic

    @property
    def endpoint(self) -> str:
        """Where it is bound."""
        return self._outlet.endpoint

    @property
    def replay(self) -> str | None:
        """Where its memory can be asked, once bound."""
        return self._outlet.replay

    @property
    def has_score_subscriber(self) -> bool:
        """Somebody listens to scores now."""
        return self._outlet.has_score_subscriber or (self._uplink is not None and self._uplink.connected)

    def __enter__(self) -> "Publisher":
        self._sockets.__enter__()
        try:
            self._outlet.bind()
            if self._uplink is not None:
                self._uplink.dial(self._sockets, self._memory)
        except BaseException:
            self._sockets.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *what: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._sockets.__exit__(None, None, None)

    def wait(self, timeout_ms: int, *wake_fds: int) -> None:
        """Sleep until the time is up or a `wake_fd` is readable, answering whoever joins or asks meanwhile."""
        self._sockets.wait(timeout_ms, *wake_fds)
        self.answer_joins()
        self.answer_queries()
        if self._uplink is not None:
            self._uplink.pump()

    def answer_joins(self) -> None:
        """Send the current status and last events to every subscription that came in: nobody starts blind."""
        self._outlet.answer_joins()

    def answer_queries(self) -> None:
        """Give those who ask what they missed, as far as it is remembered."""
        self._outlet.answer_queries()

    def opening(self, stream: str, event_type: EventName) -> dict[str, Any]:
        """The fields of a topic's next event that are the publisher's to know; its number is used up.

        Beside the envelope a status names the last score's number, and where the past can be asked for.
        """
        seq = self._sequence[stream, event_type] = self._sequence.get((stream, event_type), -1) + 1
        fields = envelope(stream, self.session, seq)
        if event_type == Status.type:
            fields |= {"last_score_seq": self._sequence.get((stream, Score.type)), "replay": self.replay}
        return fields

    def send(self, event: E, lost: bool = False) -> E:
        """Send an event that begins with an `opening`; one that is `lost` is remembered but goes to nobody."""
        self._outlet.send(event, to_wire(event), lost)
        if self._uplink is not None:
            self._uplink.pump()
        return event
