"""`sadstream gather`: rooms dial in, and what they say leaves at one endpoint, each frame as its room made it."""

import faulthandler
import logging
import os
import resource
import time
from collections import OrderedDict
from contextlib import ExitStack, suppress

import zmq

from sadstream.base import logs
from sadstream.base.boundary import one_line
from sadstream.base.errors import BusyError, ConfigError
from sadstream.cluster.gather.roster import STREAMS, Roster, Verdict
from sadstream.config import Config
from sadstream.daemon.publishing.authenticator import ROOMS
from sadstream.daemon.publishing.outlet import Outlet
from sadstream.daemon.publishing.replay_buffer import ReplayBuffer
from sadstream.daemon.publishing.sockets import Sockets
from sadstream.daemon.publishing.uplink import REFUSED_NAME
from sadstream.daemon.supervision.signals import Signals
from sadstream.daemon.supervision.systemd import Notifier
from sadstream.events.codec import FrameHead, read_head
from sadstream.events.keys import GATHER_NEEDS_KEYS, ServerKeys, has_credentials, server_keys
from sadstream.events.query import to_note
from sadstream.events.validation import WireError

log = logging.getLogger("sadstream")

TICK_MS = 200  # the longest the loop sleeps
LOOK_S = 1.0  # between two looks at who fell silent
FRAMES = 100  # between two looks at who joins: a flood delays nobody for long
ROOM_FRAMES = 128  # of one room that wait in ZeroMQ; then it is its network, and its memory, that hold the rest
EVENTS_WAITING = 16_384  # for one slow subscriber: three topics of a thousand rooms at a join, five times
MOST_EVENTS = 5000  # in one answer about the past, of all rooms together
LONGEST_FRAME = 16_384  # bytes; a score with its words is a tenth of it. A longer one ends the connection
COUNTED_PEERS = 1000  # addresses whose faults are counted one by one
FILES = 65_536  # a connection each


class Gatherer:
    """Binds two endpoints and moves frames from one to the other; one thread, and it waits for nobody."""

    def __init__(self, config: Config) -> None:
        publish, gather = config.publish, config.gather
        self.events = 0  # passed on
        self.refused = 0  # of a name that was another room's
        self.garbage = 0
        self._sockets = Sockets(*_keys(config))
        self._listen = self._sockets.bindable(gather.listen, ROOMS, GATHER_NEEDS_KEYS)
        self.memory = ReplayBuffer(publish.replay_events, MOST_EVENTS)
        replay = publish.replay if publish.replay_events else "off"
        self._outlet = Outlet(self._sockets, publish.endpoint, replay, self.memory, EVENTS_WAITING)
        self._roster = Roster(self._is_connected)
        self._faults: OrderedDict[str, int] = OrderedDict()  # by address
        self._notifier = Notifier()
        self._looked_s = 0.0

    @property
    def replay(self) -> str | None:
        """Where the past can be asked for, once bound."""
        return self._outlet.replay

    def __enter__(self) -> "Gatherer":
        self._sockets.__enter__()
        try:
            self._outlet.bind()
            self._bind_rooms()
        except BaseException:
            self._sockets.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._sockets.__exit__(None, None, None)

    def run(self) -> None:
        """Pass on until a signal asks for the end."""
        with ExitStack() as open_things:
            wake_fd, signal_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            open_things.callback(os.close, wake_fd)
            open_things.callback(os.close, signal_fd)
            signals = open_things.enter_context(Signals(signal_fd))
            open_things.enter_context(self)
            log.info("gathers at %s, passes on at %s", self._listen, self._outlet.endpoint)
            self._notifier.ready()
            while not signals.stop_wanted:
                self.turn(TICK_MS, wake_fd)
                with suppress(BlockingIOError):
                    os.read(wake_fd, 4096)
                if signals.take_reload():
                    log.info("nothing to read again: allow-lists are read at each handshake, the rest at the start")
            log.info("stopping (signal): %s", self._summary())
            self._notifier.stopping()

    def turn(self, timeout_ms: int, *wake_fds: int, ahead_s: float = 0.0) -> None:
        """Sleep until something comes or the time is up; pass on what came, and answer who joins or asks.

        ahead_s: added to the clock by tests that will not wait.
        """
        self._sockets.wait(timeout_ms, *wake_fds)
        now_s = time.monotonic() + ahead_s
        self._outlet.answer_joins((to_note(self._outlet.replay),), lambda stream: self._roster.speaks(stream, now_s))
        for _ in range(FRAMES):
            if not self._rooms.poll(0):
                break
            self._hear(self._rooms.recv_multipart(copy=False), now_s)
        self._outlet.answer_queries()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._look(now_s)
        self._notifier.progress()

    def _bind_rooms(self) -> None:
        self._sockets.claim(self._listen)
        try:
            self._rooms = self._sockets.bound(zmq.ROUTER, self._listen, ROOM_FRAMES, LONGEST_FRAME, ROOMS)
        except BusyError:
            raise BusyError(f"{self._listen}: in use by another program; stop it or choose --listen") from None
        self._rooms.setsockopt(zmq.ROUTER_MANDATORY, 1)  # who is gone cannot be asked, and that is the answer

    def _hear(self, message: list[zmq.Frame], now_s: float) -> None:
        """Take what one room sent."""
        if len(message) != 2:
            self._fault(message[-1], "more than one frame")
            return
        frame = message[1].bytes
        try:
            head, event = read_head(frame)
        except WireError as error:
            self._fault(message[1], str(error))
            return
        verdict = self._roster.feed(head, event, message[0].bytes, now_s)
        if verdict in (Verdict.NEW, Verdict.TAKEN_OVER):
            self._pass_on(head, frame, verdict)
        elif verdict is Verdict.REFUSED:
            self._refuse(head, message)
        elif verdict is Verdict.CROWDED:
            self._fault(message[1], f"more than {STREAMS} streams")

    def _pass_on(self, head: FrameHead, frame: bytes, verdict: Verdict) -> None:
        if verdict is Verdict.TAKEN_OVER:
            self._outlet.forget(head.stream)  # a joiner is told of one session
            log.info("%s: started again (session %s)", head.stream, _shown(head.session))
        self._outlet.send(head, frame)
        self.events += 1

    def _refuse(self, head: FrameHead, message: list[zmq.Frame]) -> None:
        """Count an event whose name is taken; said once of each session, here and to its room."""
        self.refused += 1
        heard = self._roster[head.stream]
        if heard.refused != head.session:
            heard.refused = head.session
            log.warning(
                "%s: a second room of this name, at %s (session %s), is refused while session %s speaks; rename one",
                head.stream, _peer(message[1]), _shown(head.session), _shown(heard.session),
                extra=logs.about(head.stream),
            )  # fmt: skip
            with suppress(zmq.ZMQError):
                self._rooms.send_multipart([message[0].bytes, REFUSED_NAME + head.stream.encode()], zmq.NOBLOCK)

    def _fault(self, where: zmq.Frame, what: str) -> None:
        """Count what is no event of ours; said once of each address."""
        self.garbage += 1
        peer = _peer(where)
        faults = self._faults.pop(peer, 0) + 1
        self._faults[peer] = faults
        if faults == 1:
            log.warning("%s: what it sends is left out: %s; said once", peer, one_line(what), extra=logs.about(peer))
        if len(self._faults) > COUNTED_PEERS:
            self._faults.popitem(last=False)

    def _look(self, now_s: float) -> None:
        """Who fell silent, and how it all is."""
        for stream in self._roster.fallen_silent(now_s):
            level = logging.INFO if self._roster[stream].stopping else logging.WARNING
            log.log(level, "%s: silent; who joins is not told of it", stream, extra=logs.about(stream))
        for stream in self._roster.forgotten(now_s):
            self._outlet.forget(stream)
            self.memory.forget(stream)
        self._notifier.status(self._summary())

    def _summary(self) -> str:
        faults = ", ".join(f"{count} from {peer}" for peer, count in list(self._faults.items())[-3:])
        return (
            f"{len(self._roster)} streams, {self.events} events passed on, {self.refused} refused for their name, "
            f"{self.garbage} left out{f' ({faults})' if faults else ''}"
        )

    def _is_connected(self, connection: bytes) -> bool:
        try:
            self._rooms.send_multipart([connection, b""], zmq.NOBLOCK)
        except zmq.Again:
            return True  # it is there, and does not read
        except zmq.ZMQError:
            return False
        return True


def gather(config: Config) -> None:
    """Serve until the end; what goes wrong is raised."""
    if config.publish.to is not None:
        raise ConfigError("publish.to: expected none; a gatherer passes on to whoever listens, and dials nobody")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold words, where a room publishes them
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with suppress(OSError, ValueError, RuntimeError):
        faulthandler.enable()
    logs.set_up(config.service.log_level)
    Gatherer(config).run()


def _keys(config: Config) -> tuple[ServerKeys | None, ServerKeys | None]:
    """Who may listen, and which rooms may say something: the rooms' own list, or the same."""
    secret, listeners, rooms = config.publish.secret_key, config.publish.allow, config.gather.allow
    only_rooms = listeners is None and rooms is not None and not has_credentials()
    return None if only_rooms else server_keys(secret, listeners), server_keys(secret, rooms or listeners)


def _peer(frame: zmq.Frame) -> str:
    """The address that a frame came from; over ipc the user, group and process."""
    try:
        return str(frame.get("Peer-Address")) or "a local room"
    except zmq.ZMQError:
        return "a local room"


def _shown(session: str) -> str:
    return one_line(session[:16])
