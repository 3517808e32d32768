"""The terminal: its own screen, keys without return, and all of it given back on every way out."""

import os
import signal
import sys
import termios
import tty
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from sadstream.views.watch.glyphs import ASCII, BLOCKS, Glyphs

READ_BYTES = 1024
CLEAR = str(Control.clear())
ERASE = str(Control((ControlType.ERASE_IN_LINE, 2)))


class Terminal:
    """Rows of text on standard output, keys from standard input; a screen only where there is one to draw on.

    drawn: False for a pipe and for TERM=dumb, where rows follow each other as lines.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self.drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self.keys = sys.stdin is not None and sys.stdin.isatty()  # None: closed
        self.gone = False  # closed by whoever held its other end
        self._shown: list[str] = []
        self._size = (0, 0)
        self._saved: list[Any] | None = None

    @property
    def glyphs(self) -> Glyphs:
        """Block elements where the encoding has them."""
        return BLOCKS if self._console.encoding.startswith("utf") else ASCII

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        try:
            return os.get_terminal_size(sys.stdout.fileno())  # not COLUMNS, which stays as it was when we began
        except (OSError, ValueError):
            return self._console.size

    def __enter__(self) -> "Terminal":
        try:
            self._enter()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._leave()

    def show(self, rows: list[Text]) -> None:
        """Draw what differs from the rows that stand there."""
        shown, size = [self._cells(row) for row in rows], self.size
        before = self._shown if size == self._size else []
        out = "" if before else CLEAR
        for at in range(max(len(shown), len(before))):
            cells = shown[at] if at < len(shown) else ""
            if at >= len(before) or before[at] != cells:
                # Erased first: behind a full row the cursor stands on its last cell.
                out += f"{Control.move_to(0, at)}{ERASE}{cells}"
        if out:
            self._write(out)
        self._shown, self._size = shown, size

    def _cells(self, row: Text) -> str:
        """A row as the terminal takes it, with the colours that it knows, cut at its width."""
        with self._console.capture() as drawn:
            self._console.print(row, end="", no_wrap=True, overflow="crop", crop=True)
        return drawn.get()

    def say(self, line: str) -> None:
        """A line after the others, where nothing is drawn."""
        self._write(f"{line}\n")

    def typed(self) -> bytes:
        """What was typed, where something was; nothing: the terminal is gone."""
        try:
            typed = os.read(sys.stdin.fileno(), READ_BYTES)
        except OSError:
            typed = b""
        self.gone = self.gone or not typed
        return typed

    def suspend(self) -> None:
        """Give the terminal back, stop, and take it again when the shell lets us go on."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()

    def _write(self, text: str) -> None:
        try:
            self._console.file.write(text)
            self._console.file.flush()
        except OSError:
            self.gone = True

    def _enter(self) -> None:
        if self.keys:
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        if self.drawn:
            self._console.set_alt_screen(True)
            self._console.show_cursor(False)
        self._shown, self._size = [], (0, 0)

    def _leave(self) -> None:
        with suppress(OSError, termios.error):  # a terminal that is gone needs nothing back
            if self.drawn:
                self._console.show_cursor(True)
                self._console.set_alt_screen(False)
        if self._saved is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
            self._saved = None
