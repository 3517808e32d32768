"""The sockets of one thread: bound, guarded by keys, bounded in what waits, and one poll over all of them."""

import os
import struct
from types import TracebackType

import zmq

from sadstream.base.claim import claim
from sadstream.base.errors import BusyError, ConfigError, UnavailableError
from sadstream.daemon.publishing.authenticator import ROOMS, ZAP_DOMAIN, ZapAuthenticator
from sadstream.events.endpoint import check, is_local
from sadstream.events.keys import NEEDS_KEYS, Curve, ServerKeys

LINGER_MS = 500  # measured: loses nothing to a healthy peer and bounds a stalled one
SEND_BUFFER = 65_536  # bytes the kernel holds for a slow subscriber over tcp: some 90 scores, not 10,000
HEARTBEAT_MS = 2000  # ZeroMQ's own, over tcp: a peer whose machine is gone is cut and its memory freed
HEARTBEAT_TIMEOUT_MS = 6000
FULL_MS = 10_000  # so is one that is there and takes nothing, because no heartbeat gets through a full buffer
HANDSHAKE_MS = 3000  # for whoever connects and says nothing
LONGEST_REQUEST = 4096  # bytes; a longer frame ends the connection that sends it
CONNECTIONS = 1024  # that may wait to be accepted: a thousand come back at once
RECONNECT_MS = (100, 2000)  # first wait and longest
EVENT = struct.Struct("=HI")  # of a monitor: what happened to a connection, and its value
HANDSHAKES = 64  # between two looks at what else there is: a flood delays nothing


class Sockets:
    """A ZeroMQ context with its sockets, and the locks of their paths; all belong to the thread that enters.

    keys: of those who listen, and of a gatherer's rooms; None: on this machine alone, everybody.
    """

    def __init__(self, keys: ServerKeys | None, room_keys: ServerKeys | None = None) -> None:
        given = {ZAP_DOMAIN: keys, ROOMS: room_keys}
        self.keys = {domain: known for domain, known in given.items() if known is not None}
        self._locks: list[int] = []

    def __enter__(self) -> "Sockets":
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        try:
            self._authenticator = ZapAuthenticator(self._context, self.keys)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        if self._authenticator.socket is not None:
            self.watch(self._authenticator.socket)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._context.destroy(linger=LINGER_MS)  # every socket, then the context
        while self._locks:
            os.close(self._locks.pop())

    def claim(self, endpoint: str) -> None:
        """Make the path of an ipc endpoint ours until the end; BusyError where it is somebody else's."""
        if endpoint.startswith("ipc://"):
            self._locks.append(claim(endpoint.removeprefix("ipc://")))

    def bound(
        self, kind: int, endpoint: str, waiting: int, longest: int = LONGEST_REQUEST, domain: bytes = ZAP_DOMAIN
    ) -> zmq.Socket[bytes]:
        """A socket bound to an endpoint, for which `waiting` messages of a peer may wait, each way.

        longest: bytes of a frame; domain: whose list says who may connect. BusyError for an address in use.
        """
        socket = self._made(kind, endpoint, waiting, longest)
        socket.setsockopt(zmq.BACKLOG, CONNECTIONS)
        self._authenticator.guard(socket, domain)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise BusyError(f"{endpoint}: in use by another program; stop it or choose --publish") from None
            raise UnavailableError(f"{endpoint}: cannot be bound: {error.strerror}; choose --publish") from None
        self.watch(socket)
        return socket

    def dialled(self, kind: int, endpoint: str, waiting: int, curve: Curve | None) -> zmq.Socket[bytes]:
        """A socket that connects to an endpoint for ever; what waits for a connection that is lost is thrown away."""
        socket = self._made(kind, endpoint, waiting, LONGEST_REQUEST)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS[0])
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS[1])
        if curve is not None:
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = curve
        return socket

    def bindable(self, endpoint: str, domain: bytes = ZAP_DOMAIN, needs: str = NEEDS_KEYS) -> str:
        """The endpoint; ConfigError for what is none, or would be open to other machines without keys."""
        try:
            found = check(endpoint)
        except ValueError as error:
            raise ConfigError(f"{endpoint}: {error}") from None
        if domain not in self.keys and not is_local(found):
            raise ConfigError(f"{endpoint}: {needs}")
        return found

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Let `wait` end when something can be read there."""
        self._poller.register(socket, zmq.POLLIN)

    def unwatch(self, socket: zmq.Socket[bytes]) -> None:
        """No more."""
        self._poller.unregister(socket)

    def wait(self, timeout_ms: int, *wake_fds: int) -> None:
        """Sleep until the time is up or a socket or `wake_fd` is readable, answering handshakes."""
        for wake_fd in wake_fds:
            self._poller.register(wake_fd, zmq.POLLIN)
        self._poller.poll(timeout_ms)
        self._authenticator.answer(HANDSHAKES)

    def _made(self, kind: int, endpoint: str, waiting: int, longest: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, longest)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.SNDHWM, waiting)
        if endpoint.startswith("tcp://"):
            socket.setsockopt(zmq.SNDBUF, SEND_BUFFER)
            socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
            socket.setsockopt(zmq.TCP_MAXRT, FULL_MS)
            socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        return socket


def monitored(monitor: zmq.Socket[bytes]) -> tuple[int, int]:
    """The next event of a monitor socket, and its value; pyzmq's own reader imports asyncio, which takes 5 MB."""
    event, value = EVENT.unpack(monitor.recv_multipart()[0])
    return event, value


def received(socket: zmq.Socket[bytes]) -> list[bytes] | None:
    """The next message's frames, None if none waits."""
    if not socket.poll(0):
        return None
    return socket.recv_multipart()
