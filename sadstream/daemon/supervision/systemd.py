"""systemd's notify protocol: ready, status, watchdog; silent where no supervisor listens."""

import os
import socket
import time
from contextlib import suppress

PINGS = 4  # a watchdog interval; systemd asks for at least two


class Notifier:
    """Datagrams to the socket in NOTIFY_SOCKET (a path, or @name in the abstract namespace)."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s()
        self._pinged_s = 0.0
        self._status = ""

    def ready(self) -> None:
        """The models are warm and capture flows, or is declared absent."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def status(self, line: str) -> None:
        """What `systemctl status` shows; sent when it changes."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def progress(self) -> None:
        """Call it as often as there is progress: the watchdog hears of it a few times an interval."""
        now_s = time.monotonic()
        if self.watchdog_s is not None and now_s - self._pinged_s >= self.watchdog_s / PINGS:
            self._pinged_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), self._address)


def _watchdog_s() -> float | None:
    """The interval that systemd set for this very process."""
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    usec = os.environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdigit() and int(usec) and pid == str(os.getpid()) else None
