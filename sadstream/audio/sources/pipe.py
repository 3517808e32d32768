"""Raw PCM on a file descriptor; what has a header is decoded."""

import os
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sadstream.audio.decoding.container import FRAMES_BYTES, HEAD_BYTES, may_be_frames, sniffed
from sadstream.audio.decoding.unpack import Unpacker
from sadstream.audio.filters.framing import Framer, Resampler
from sadstream.audio.filters.mixer import MixWatch
from sadstream.audio.sources.source import POLL_S, Item, SourceChange, Stopped, left_out, no_device, readable
from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.samples import SAMPLE_RATE, Channel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIPE_BYTES = 65_536  # what the kernel keeps in a pipe: 2 s of 16 kHz mono
DRAIN_READS = 64  # at most 4 MB of old audio are thrown away after a pause
HASTE = 1.02  # a pipe is played this much faster than real time, so that a live one never falls behind


class PcmPipe:
    """Raw signed 16-bit little-endian PCM on a file descriptor, until its end; what has a header is decoded."""

    def __init__(
        self,
        fd: int,
        rate: int = SAMPLE_RATE,
        channels: int = 1,
        stall_s: float = 1.5,
        channel: Channel = "mix",
        name: str = "standard input",
    ) -> None:
        try:
            self.live = not stat.S_ISREG(os.fstat(fd).st_mode)  # a file can wait
        except OSError:
            raise MissingFileError(f"{name}: closed: expected raw PCM; use a pipe or < FILE") from None
        if os.isatty(fd):
            raise MissingFileError(f"{name}: a terminal: expected raw PCM; use a pipe or < FILE")
        self.speed: float | None = HASTE if self.live else 1.0
        self._fd = fd
        self._name = name
        self._stall_s = stall_s
        self._framer = Framer()
        self._resampler = Resampler(rate, channels, channel)
        self._mix = MixWatch()
        self._begun = False
        self._head: bytes | None = b""  # the first bytes, until it is known what they are
        self._unpacker: Unpacker | None = None
        self._format = (0, 0)
        self._channel = channel

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as they come; an end in the middle of a frame is filled up with its last sample."""
        if self._begun and self.live:
            self._drain()
        self._begun = True
        yield SourceChange("listening", "none")
        heard_s, stalled = time.monotonic(), False
        while not stopped():
            fd = self._fd if self._unpacker is None else self._unpacker.fd
            if not readable(fd, POLL_S):
                if not stalled and time.monotonic() - heard_s > self._stall_s:
                    stalled = True
                    self._framer.skip(0)
                    yield no_device("stalled", f"no audio for {self._stall_s:g} s")
                continue
            pcm = os.read(fd, PIPE_BYTES if self._head is None else FRAMES_BYTES)
            heard_s = time.monotonic()
            if stalled and pcm:
                stalled = False
                yield SourceChange("listening", "none")
            frames = self._framer.feed(self._samples(pcm), heard_s)
            yield from map(left_out, self._mix.changed(self._resampler.left_out))
            yield from frames
            for fault in [] if self._unpacker is None else self._unpacker.said():
                yield SourceChange("listening", "none", fault)
            if not pcm and (self._unpacker is None or fd == self._unpacker.fd):
                yield from self._framer.flush(heard_s)
                failure = "" if self._unpacker is None else self._unpacker.close()
                if failure:
                    raise DataError(failure)
                return

    def _samples(self, content: bytes) -> bytes:
        """16 kHz mono of these bytes, none of which were the end."""
        if self._unpacker is not None:
            return b"".join(self._block(*block) for block in self._unpacker.take(content)) + self._last(content)
        if self._head is not None:
            self._head += content
            more = FRAMES_BYTES if may_be_frames(self._head) else HEAD_BYTES
            if content and len(self._head) < more:
                return b""
            head, self._head = self._head, None
            if sniffed(head) is not None:
                self._unpacker = Unpacker(self._fd, head, self._name)
                return b""
            return self._resampler.feed_pcm(head) + (self._resampler.feed_pcm(b"", last=True) if not content else b"")
        return self._resampler.feed_pcm(content, last=not content)

    def _block(self, rate: int, channels: int, samples: "NDArray[np.float32]") -> bytes:
        if self._format != (rate, channels):
            tail = self._last(b"") if self._format != (0, 0) else b""
            self._format = rate, channels
            self._resampler = Resampler(rate, channels, self._channel)
            return tail + self._resampler.feed(samples)
        return self._resampler.feed(samples)

    def _last(self, content: bytes) -> bytes:
        import numpy as np

        if content:
            return b""
        if self._format == (0, 0):  # no file's sound came
            return self._resampler.feed_pcm(b"", last=True)
        return self._resampler.feed(np.zeros((0, self._format[1]), np.float32), last=True)

    def _drain(self) -> None:
        """What was said during a pause is not heard after it."""
        reads = 0
        while self._unpacker is None and reads < DRAIN_READS and readable(self._fd, 0.0):
            reads += 1 if os.read(self._fd, PIPE_BYTES) else DRAIN_READS
        while self._unpacker is not None and reads < DRAIN_READS and readable(self._unpacker.fd, 0.0):
            content = os.read(self._unpacker.fd, PIPE_BYTES)
            reads += 1 if content else DRAIN_READS
            for _ in self._unpacker.take(content):  # its blocks stay whole
                pass
        self._framer.skip(0)
