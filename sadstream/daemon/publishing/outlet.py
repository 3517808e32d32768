"""Where events leave for whoever listens: last values for those who join, the past for those who ask."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable

import zmq

from sadstream.base.errors import BusyError, UnavailableError
from sadstream.daemon.publishing.replay_buffer import ReplayBuffer
from sadstream.daemon.publishing.sockets import Sockets, received
from sadstream.events import Event, topic
from sadstream.events.codec import FrameHead
from sadstream.events.endpoint import beside

log = logging.getLogger("sadstream")

ANSWERS_WAITING = 2  # for one slow reader of the past
LONGEST_TOPIC = 64  # "sad.episode." and 32 letters, and room to spare
ANSWERS = 64  # joins, and queries below, between two looks at the scores: a flood delays nothing
QUERIES = 8
SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"  # first byte of what XPUB reads


class Outlet:
    """A bound XPUB socket, and beside it the memory of what was sent.

    endpoint: ipc:///path or tcp://HOST:PORT; other hosts than this machine's need keys.
    replay: endpoint of the memory, `auto` for one beside `endpoint`, or `off`.
    waiting: events for one slow subscriber. ZeroMQ learns of what was taken in steps of half of it, so a burst of half
    is always safe.
    """

    def __init__(self, sockets: Sockets, endpoint: str, replay: str, memory: ReplayBuffer, waiting: int) -> None:
        self.endpoint = sockets.bindable(endpoint)
        self.replay: str | None = None  # where the memory can be asked, once bound
        self._sockets = sockets
        self._replay_wanted = replay if replay in ("auto", "off") else sockets.bindable(replay)
        self._memory = memory
        self._waiting = waiting
        self._last: dict[str, dict[str, bytes]] = {}  # what each stream said last, by topic, for whoever joins now
        self._topics: Counter[bytes] = Counter()  # by how many

    @property
    def has_score_subscriber(self) -> bool:
        """Somebody listens to scores now."""
        return any(t.startswith(b"sad.score.") or b"sad.score.".startswith(t) for t in self._topics)

    def bind(self) -> None:
        """Make its sockets, after both paths are ours."""
        for endpoint in (self.endpoint, self._replay_wanted):
            self._sockets.claim(endpoint)
        self._socket = self._sockets.bound(zmq.XPUB, self.endpoint, self._waiting)
        # Nobody is subscribed before `answer_joins` says so: nothing sent meanwhile comes before its first frames.
        self._socket.setsockopt(zmq.XPUB_MANUAL, 1)
        self._replay_socket = self._bound_replay()

    def answer_joins(self, first: Iterable[bytes] = (), is_told: Callable[[str], bool] = lambda _: True) -> None:
        """Subscribe whoever asked for it, and send them the current status and last events: nobody starts blind.

        first: frames that go before these; is_told: whether a stream's are still worth it.
        """
        joined = set()
        for _ in range(ANSWERS):
            message = received(self._socket)
            if message is None:
                break
            prefix = message[0][1:]
            if len(message) != 1 or len(prefix) > LONGEST_TOPIC:
                continue
            if message[0][:1] == SUBSCRIBE:
                joined.add(prefix)
                self._topics[prefix] += 1
                self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
            elif message[0][:1] == UNSUBSCRIBE:
                self._leave(prefix)
        if not joined:
            return
        for frame in first:
            self._socket.send(frame)
        for stream, last in self._last.items():
            for _, frame in sorted(last.items()):  # the status comes last, since it speaks of the score
                if frame.startswith(tuple(joined)) and is_told(stream):
                    self._socket.send(frame)

    def answer_queries(self) -> None:
        """Give those who ask what they missed, as far as it is remembered; at most QUERIES at a time."""
        if self._replay_socket is None:
            return
        for _ in range(QUERIES):
            message = received(self._replay_socket)
            if message is None:
                return
            if len(message) == 3 and not message[1]:  # who asks, an empty frame, the request
                self._replay_socket.send_multipart([*message[:2], *self._memory.answer(message[2])])

    def send(self, event: Event | FrameHead, frame: bytes, lost: bool = False) -> None:
        """Send an event's frame and remember it; one that is `lost` is remembered but goes to nobody."""
        self._memory.keep(event, frame, lost)
        self._last.setdefault(event.stream, {})[topic(event.type, event.stream)] = frame
        if not lost:
            self._socket.send(frame)

    def forget(self, stream: str) -> None:
        """Whoever joins is no longer told of it."""
        self._last.pop(stream, None)

    def _leave(self, prefix: bytes) -> None:
        self._socket.setsockopt(zmq.UNSUBSCRIBE, prefix)
        self._topics[prefix] -= 1
        if self._topics[prefix] <= 0:
            del self._topics[prefix]

    def _bound_replay(self) -> zmq.Socket[bytes] | None:
        if self._replay_wanted == "off":
            return None
        automatic = self._replay_wanted == "auto"
        try:
            endpoint = beside(self.endpoint) if automatic else self._replay_wanted
            socket = self._sockets.bound(zmq.ROUTER, endpoint, ANSWERS_WAITING)
        except (BusyError, UnavailableError) as error:
            if not automatic:
                raise
            log.warning("no replay: %s", error)
            return None
        self.replay = socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        return socket
