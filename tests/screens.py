"""A terminal of the test's own: a program in a pseudo-terminal, its screen read as people see it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyte

READ_S = 0.05
WAIT_S = 30.0


class Terminal:
    """A command on a screen of `columns` by `rows`."""

    def __init__(
        self, command: Sequence[str], columns: int = 80, rows: int = 24, term: str = "xterm-256color", **env: str
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.said = b""
        self._ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(theirs)
        self._theirs = theirs  # kept open, so that what the program leaves behind can be read
        plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=plain | {"TERM": term, "LC_ALL": "C.UTF-8"} | env, preexec_fn=_own_terminal,  # noqa: PLW1509  no thread
        )  # fmt: skip

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def text(self) -> str:
        """The screen as it stands."""
        return "\n".join(row.rstrip() for row in self.screen.display)

    @property
    def restored(self) -> bool:
        """Modes as they were, the cursor in sight, the first screen back."""
        left, entered = self.said.rfind(b"\x1b[?1049l"), self.said.rfind(b"\x1b[?1049h")
        shown, hidden = self.said.rfind(b"\x1b[?25h"), self.said.rfind(b"\x1b[?25l")
        return termios.tcgetattr(self._theirs) == self.modes and left >= entered and shown >= hidden

    def read(self, seconds: float = READ_S) -> None:
        """Take what the program writes for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and select.select([self._ours], [], [], left)[0]:
            piece = os.read(self._ours, 65_536)
            self.said += piece
            self._stream.feed(piece)

    def until(self, found: Callable[[str], bool] | str, seconds: float = WAIT_S) -> str:
        """The screen as soon as it shows this; AssertionError with the screen where it never does."""
        shows = found if callable(found) else lambda text: found in text
        until = time.monotonic() + seconds
        while not shows(self.text):
            assert time.monotonic() < until, f"not in {seconds} s:\n{self.text}"
            self.read()
        self.settle()
        return self.text

    def settle(self, seconds: float = 1.0) -> None:
        """Take the rest of what is being drawn: a screen that was read half is of no moment."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and select.select([self._ours], [], [], READ_S)[0]:
            self.read(0.01)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Another size, and the signal that says so."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ended(self, number: signal.Signals | None = None, seconds: float = WAIT_S) -> int:
        """The exit code, after this signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        until = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < until, f"still there after {seconds} s:\n{self.text}"
            self.read()
        self.read()
        return self.process.returncode


def _own_terminal() -> None:
    """The pseudo-terminal controls the new session, so that control-C and control-Z mean something."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
