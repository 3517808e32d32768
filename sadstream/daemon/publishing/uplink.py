"""The way from a room to a gatherer: it dials out, so that the room opens no port, and waits for nobody."""

import logging
import time
from collections import deque

import zmq

from sadstream.base import logs
from sadstream.base.boundary import one_line
from sadstream.base.errors import ConfigError
from sadstream.daemon.publishing.replay_buffer import BufferedEvent, ReplayBuffer
from sadstream.daemon.publishing.sockets import Sockets, monitored, received
from sadstream.events.endpoint import check, is_local
from sadstream.events.keys import DIAL_NEEDS_KEYS, Curve

log = logging.getLogger("sadstream")

FRAMES_WAITING = 256  # in ZeroMQ; what does not fit waits in the memory
LEAST_EVENTS = 16  # of each topic, where nobody else may ask for the past
REPEAT_S = 60.0  # what was sent so long before a connection was lost may not have arrived, and is sent again
SLOW_S = 5.0  # without a connection from the start: then it is said
LONGEST_NAME = 32
REDIAL_S = 5.0  # after a refused handshake, after which libzmq itself gives up
ANSWERS = 16  # of the gatherer, between two looks at the events
REFUSED_NAME = b"refused "  # how its answer begins where a stream's name is another room's; an empty one only probes
GREETED = zmq.Event.HANDSHAKE_SUCCEEDED
REFUSED = zmq.Event.HANDSHAKE_FAILED_AUTH
FAILED = zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
LOST = zmq.Event.DISCONNECTED


class Uplink:
    """Sends what the publisher remembers, in order; what a lost connection may have swallowed once more.

    endpoint: of the gatherer; curve: the keys for one on another machine. A gatherer that is away or stalled delays
    nothing: events wait in the memory, which is bounded, and what it forgets is counted and said.
    """

    least_events = LEAST_EVENTS

    def __init__(self, endpoint: str, curve: Curve | None = None) -> None:
        try:
            self.endpoint = check(endpoint)
        except ValueError as error:
            raise ConfigError(f"{endpoint}: {error}") from None
        if curve is None and not is_local(self.endpoint):
            raise ConfigError(f"{endpoint}: {DIAL_NEEDS_KEYS}")
        self.connected = False
        self._curve = curve
        self._next = 0  # number of the next event to be read out of the memory
        self._waiting: deque[BufferedEvent] = deque()  # read, and not sent
        self._safe = 0  # all before this number was sent longer ago than REPEAT_S
        self._sent: deque[tuple[float, int]] = deque()  # when, and the number after it
        self._said_away = False
        self._redial_s: float | None = None

    def dial(self, sockets: Sockets, memory: ReplayBuffer) -> None:
        """Begin to connect."""
        self._sockets, self._memory = sockets, memory
        self._since_s = time.monotonic()
        self._open()

    def pump(self) -> None:
        """Look at the connection, and send what waits as far as it is taken at once."""
        now_s = time.monotonic()
        self._follow(now_s)
        if not self.connected:
            return
        self._hear()
        while self._socket.poll(0, zmq.POLLOUT) and self._send_one(now_s):
            pass

    def _open(self) -> None:
        self._socket = self._sockets.dialled(zmq.DEALER, self.endpoint, FRAMES_WAITING, self._curve)
        self._monitor = self._socket.get_monitor_socket(GREETED | REFUSED | FAILED | LOST)
        self._sockets.watch(self._monitor)
        try:
            self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            raise ConfigError(
                f"publish.to = {self.endpoint}: cannot be dialled: {error.strerror}; name a host"
            ) from None
        self._redial_s = None

    def _close(self) -> None:
        self._sockets.unwatch(self._monitor)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def _hear(self) -> None:
        """What the gatherer answers, which is nothing where all is well."""
        for _ in range(ANSWERS):
            message = received(self._socket)
            if message is None:
                return
            if message[0].startswith(REFUSED_NAME):
                name = message[0].removeprefix(REFUSED_NAME).decode(errors="replace")[:LONGEST_NAME]
                log.warning(
                    "gatherer %s: it hears another room called %s, and not this one; rename one", self.endpoint,
                    one_line(name), extra=logs.about(self.endpoint, name),
                )  # fmt: skip

    def _send_one(self, now_s: float) -> bool:
        if not self._waiting:
            self._read()
        if not self._waiting:
            return False
        event = self._waiting[0]
        if not event.lost:
            try:
                self._socket.send(event.frame, zmq.NOBLOCK)
            except zmq.Again:
                return False
        self._waiting.popleft()
        self._sent.append((now_s, event.number + 1))
        while self._sent[0][0] < now_s - REPEAT_S:
            self._safe = self._sent.popleft()[1]
        return True

    def _read(self) -> None:
        """Take over what the memory has that was not sent yet."""
        found = self._memory.since(self._next)
        forgotten = self._memory.number - self._next - len(found)
        if forgotten:
            log.warning("gatherer %s: %d events were forgotten before it was back", self.endpoint, forgotten)
        self._waiting.extend(found)
        self._next = self._memory.number

    def _follow(self, now_s: float) -> None:
        """What became of the connection."""
        while self._monitor.poll(0):
            event = monitored(self._monitor)[0]
            if event == GREETED:
                self._up()
            elif event == REFUSED:
                self._away("it does not know our key: on its machine `sadstream keys allow` adds it")
                self._redial_s = now_s + REDIAL_S
            elif self.connected:
                self._down()
                self._away("the connection is lost")
            if event & FAILED:
                self._redial_s = now_s + REDIAL_S
        if not self.connected and now_s - self._since_s > SLOW_S:
            keyed = "" if self._curve is None else ", or has another key than publish.to_server_key"
            self._away(f"it cannot be reached{keyed}")
        if self._redial_s is not None and now_s >= self._redial_s:
            self._close()
            self._open()

    def _up(self) -> None:
        self.connected, self._redial_s = True, None
        log.info("gatherer %s: connected", self.endpoint, extra=logs.about(self.endpoint))
        self._said_away = False

    def _down(self) -> None:
        """Begin again where what was sent is sure to have arrived; what the memory forgot since then did."""
        self.connected = False
        self._waiting.clear()
        self._sent.clear()
        remembered = self._memory.since(self._safe)
        self._waiting.extend(event for event in remembered if event.number < self._next)

    def _away(self, why: str) -> None:
        """Say it, once until it is back."""
        if not self._said_away:
            self._said_away = True
            log.warning("gatherer %s: %s; the room goes on, and it is tried again", self.endpoint, why,
                        extra=logs.about(self.endpoint))  # fmt: skip
