"""A named pipe as a source: like a microphone it comes and goes, with the program that makes it."""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sadstream.audio.sources.pipe import HASTE
from sadstream.audio.sources.source import Item, Source, SourceChange, Stopped, no_device, sleep
from sadstream.base.errors import DataError
from sadstream.base.samples import FRAME_SAMPLES, AudioFrame

LOOK_S = 0.5  # between two looks whether the path still leads to the pipe that is open
# Endings that nobody gives to a pipe of raw audio.
RECORDINGS = re.compile(
    r"\.(3gp|aac|ac3|aiff?|amr|au|avi|caf|flac|flv|m4[av]|mk[av]|mov|mp[234]|mpe?g|og[agv]|opus|rf64|sph|ts|voc|w64|wave?"
    r"|web[am]|wm[av])",
    re.IGNORECASE,
)


def is_pipe(path: Path) -> bool:
    """It is a named pipe, or is not there yet and is not called as a recording is."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return RECORDINGS.fullmatch(path.suffix) is None
    except OSError:
        return False


class NamedPipe:
    """What the programs that write to it say, from its first appearance on; `read` makes a source of a descriptor."""

    live = True
    speed: float | None = HASTE

    def __init__(self, path: Path, retry_s: float, read: Callable[[int], Source]) -> None:
        self.path = path
        self._retry_s = retry_s
        self._read = read
        self._open: tuple[int, Source] | None = None  # stays over a pause, so that its writers live through it
        self._index = 0  # of the next sample
        self._looked_s = 0.0

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames, and `no-device` while it is not there; until `stopped()`."""
        while not stopped():
            fault = self._opened()
            if fault:
                yield no_device("device-absent", f"{self.path}: {fault}")
                sleep(self._retry_s, stopped)
                continue
            try:
                yield from self._hear(stopped)
            except DataError as error:  # of one writer's file: the next one's is heard
                yield SourceChange("listening", "none", f"{error}; the next writer is heard")
            if stopped() or self._open is None:
                continue
            if self._is_elsewhere(fd := self._open[0]):
                self._close()
                yield no_device("device-lost", f"{self.path}: the pipe was taken away")
            else:  # what its writer had to say has an end of its own; the next one begins anew
                self._open = fd, self._read(fd)

    def _hear(self, stopped: Stopped) -> Iterator[Item]:
        assert self._open is not None
        first, start = True, self._index
        for item in self._open[1].listen(lambda: stopped() or self._is_gone()):
            if isinstance(item, AudioFrame):
                # Of a pipe that is open for the second time the numbers begin again; ours do not.
                start = self._index - item.index if first else start
                yield replace(item, index=start + item.index, gap=item.gap or (first and start > 0))
                self._index, first = start + item.index + FRAME_SAMPLES, False
            else:
                yield item

    def _opened(self) -> str:
        """What keeps it from being open; empty where nothing does."""
        if self._open is not None and not self._is_elsewhere(self._open[0]):
            return ""
        self._close()
        try:
            if not stat.S_ISFIFO(self.path.stat().st_mode):
                return "not a named pipe: expected one; is it a recording? Start again then"
            # Open for writing too, so that it has no end: its writers come and go.
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            return f"{error.strerror}: expected a named pipe; it is heard as soon as it is there"
        self._open = fd, self._read(fd)
        return ""

    def _is_gone(self) -> bool:
        """The same, looked at twice a second."""
        now_s = time.monotonic()
        if self._open is None or now_s - self._looked_s < LOOK_S:
            return self._open is None
        self._looked_s = now_s
        return self._is_elsewhere(self._open[0])

    def _is_elsewhere(self, fd: int) -> bool:
        """The path leads nowhere, or to another pipe."""
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(fd))
        except OSError:
            return True

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[0])
            self._open = None
