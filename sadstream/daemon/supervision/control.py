"""The control socket's end in the daemon: it answers whoever asks, and waits for nobody."""

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sadstream.base.claim import expect_free
from sadstream.base.errors import BusyError
from sadstream.events.control import PATIENCE_S, DaemonReport, Word

REQUEST_BYTES = 64
CLIENTS = 16


def _own(folder: Path) -> None:
    """Make the folder, or raise PermissionError where somebody else has made it to listen in."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() and found.st_mode & 0o022:
        raise PermissionError(f"{folder} belongs to somebody else")


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    until_s: float
    said: bytes = b""


class ControlSocket:
    """A listening socket that never makes its owner wait."""

    def __init__(self, path: Path, answer: Callable[[Word], DaemonReport]) -> None:
        self._path = path
        self._answer = answer
        self._clients: dict[int, _Client] = {}

    def __enter__(self) -> "ControlSocket":
        self._poll = select.epoll()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _own(self._path.parent)
            expect_free(self._path)
            self._path.unlink(missing_ok=True)  # of a daemon that was killed
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
        except BusyError:
            self._close_all()
            raise
        except OSError as error:
            self._close_all()
            raise BusyError(f"{self._path}: cannot be bound: {error.strerror or error}; choose --publish") from None
        self._socket.listen(CLIENTS)
        self._poll.register(self._socket, select.EPOLLIN)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for client in list(self._clients.values()):
            self._close(client)
        self._close_all()
        self._path.unlink(missing_ok=True)

    def _close_all(self) -> None:
        self._socket.close()
        self._poll.close()

    def fileno(self) -> int:
        """Readable when `serve` has something to do."""
        return self._poll.fileno()

    def serve(self) -> None:
        """Answer whoever has asked, let go whoever asks nothing."""
        for fd, _ in self._poll.poll(0):
            if fd == self._socket.fileno():
                self._accept()
            else:
                self._hear(self._clients[fd])
        now_s = time.monotonic()
        for client in [client for client in self._clients.values() if client.until_s < now_s]:
            self._close(client)

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            client = _Client(connection, time.monotonic() + PATIENCE_S)
            self._clients[connection.fileno()] = client
            self._poll.register(connection, select.EPOLLIN)
            if len(self._clients) > CLIENTS:
                self._close(client)

    def _hear(self, client: _Client) -> None:
        try:
            said = client.connection.recv(REQUEST_BYTES)
        except OSError:
            said = b""
        client.said += said
        line, end, _ = client.said.partition(b"\n")
        if end:
            with suppress(OSError):
                client.connection.sendall(self._reply(line))
        if end or not said or len(client.said) >= REQUEST_BYTES:
            self._close(client)

    def _reply(self, line: bytes) -> bytes:
        for word in ("pause", "resume", "status"):
            if line.strip() == word.encode():
                return self._answer(word).to_json()
        return b"expected pause, resume or status\n"

    def _close(self, client: _Client) -> None:
        self._clients.pop(client.connection.fileno(), None)
        client.connection.close()
