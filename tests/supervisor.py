"""A supervisor that plays systemd: it binds the notify socket, kills on a missed watchdog, restarts and counts."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Supervisor:
    """One service with Type=notify, Restart=always, WatchdogSec=`watchdog_s`; leaving the block ends it."""

    def __init__(self, folder: Path, command: Sequence[str], watchdog_s: float = 30.0) -> None:
        self.messages: list[tuple[float, str]] = []
        self.exits: list[int] = []
        self.missed = 0  # watchdogs
        self.pid = 0  # none runs
        self._command = command
        self._watchdog_s = watchdog_s
        self._over = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path = folder / "notify"
        self._socket.bind(str(self._path))
        self._socket.settimeout(0.05)
        self.log = folder / "daemon.log"
        self._thread = threading.Thread(target=self._supervise)

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def said(self, part: str) -> int:
        """How many messages held this so far."""
        return sum(part in message for _, message in self.messages)

    def until(self, true: Callable[[], Any], limit_s: float = 30.0) -> None:
        """Wait until it is so."""
        end_s = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end_s, (self.messages[-5:], self.exits, self.log.read_text()[-2000:])
            time.sleep(0.02)

    def _supervise(self) -> None:
        while not self._over.is_set():
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ
                    | {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(int(1e6 * self._watchdog_s))},
                )
            self.pid = process.pid
            self._watch(process)
            self.pid = 0
            self.exits.append(process.returncode)
            if not self._over.is_set():
                time.sleep(0.05)

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        ready, fed_s = False, time.monotonic()
        while process.poll() is None:
            message = self._receive()
            if message is not None:
                self.messages.append((time.monotonic(), message))
                ready = ready or "READY=1" in message
                fed_s = time.monotonic() if "WATCHDOG=1" in message or "READY=1" in message else fed_s
            if ready and time.monotonic() - fed_s > self._watchdog_s:
                self.missed += 1
                process.send_signal(signal.SIGABRT)
            if self._over.is_set():
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
        process.wait()
        while (message := self._receive()) is not None:
            self.messages.append((time.monotonic(), message))

    def _receive(self) -> str | None:
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return None
