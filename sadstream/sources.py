"""Where audio comes from: what every source says, a recording, raw PCM on a file descriptor."""

import io
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sadstream.audio import FRAME_SAMPLES, SAMPLE_RATE, AudioFrame, Framer, Resampler
from sadstream.errors import DataError, MissingFileError
from sadstream.events import Reason, State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_S = 1  # recordings are read a second at a time: memory stays constant over ten hours
PIPE_BYTES = 65_536  # what the kernel keeps in a pipe: 2 s of 16 kHz mono
DRAIN_READS = 64  # at most 4 MB of old audio are thrown away after a pause
POLL_S = 0.1  # how soon a stop is noticed
LATE_S = 0.25  # a source later than this was paused: its clock moves on, it does not hurry
HASTE = 1.02  # a pipe is played this much faster than real time, so that a live one never falls behind


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A source says how it is: it listens, or lost its device and why."""

    state: State
    reason: Reason
    detail: str = ""


Stopped = Callable[[], bool]
Item = AudioFrame | SourceChange


class Source(Protocol):
    """Something to listen to."""

    live: bool  # cannot wait: what is not analysed in time is lost
    speed: float | None  # how fast its frames are played at real-time pace; none: as they come

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Frames, and changes of state, until the end or until `stopped()`."""
        ...


class Recording:
    """A WAV, FLAC or Ogg file of any rate and channel count."""

    live = False
    speed: float | None = 1.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._samples_promised, self.duration_s = _promised(path)

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as fast as they are taken; DataError where the file does not hold what it says."""
        yield SourceChange("listening", "none", f"{self.path.name}")
        framer = Framer()
        for pcm in self._blocks():
            for frame in framer.feed(pcm, time.monotonic()):
                if stopped():
                    return
                yield frame
        yield from framer.flush(time.monotonic())

    def _blocks(self) -> Iterator[bytes]:
        import numpy as np

        with _open(self.path) as file:
            resampler = Resampler(file.samplerate, file.channels)
            read = 0
            while (block := self._read(file, read)).shape[0]:
                if not np.isfinite(block).all():
                    at = read / file.samplerate
                    raise DataError(f"{self.path}: NaN or infinite samples after {at:.2f} s: write it again")
                read += block.shape[0]
                yield resampler.feed(block)
            if read < self._samples_promised:
                raise DataError(
                    f"{self.path}: truncated: expected {self._samples_promised} samples by its header, "
                    f"found {read}; copy it again"
                )
            yield resampler.feed(np.zeros((0, file.channels), dtype=np.float32), last=True)

    def _read(self, file: Any, read: int) -> "NDArray[np.float32]":
        try:
            block: NDArray[np.float32] = file.read(BLOCK_S * file.samplerate, dtype="float32", always_2d=True)
        except RuntimeError as error:  # soundfile's LibsndfileError
            at = read / file.samplerate
            raise DataError(f"{self.path}: cannot be decoded after {at:.2f} s: {error}; copy it again") from None
        return block


class PcmPipe:
    """Raw signed 16-bit little-endian PCM on a file descriptor, until its end."""

    def __init__(self, fd: int, rate: int = SAMPLE_RATE, channels: int = 1, stall_s: float = 1.5) -> None:
        try:
            self.live = not stat.S_ISREG(os.fstat(fd).st_mode)  # a file can wait
        except OSError:
            raise MissingFileError("standard input: closed: expected raw PCM; use a pipe or < FILE") from None
        if os.isatty(fd):
            raise MissingFileError("standard input: a terminal: expected raw PCM; use a pipe or < FILE")
        self.speed: float | None = HASTE if self.live else 1.0
        self._fd = fd
        self._stall_s = stall_s
        self._framer = Framer()
        self._resampler = Resampler(rate, channels)
        self._begun = False

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as they come; an end in the middle of a frame is filled up with its last sample."""
        if self._begun and self.live:
            self._drain()
        self._begun = True
        yield SourceChange("listening", "none")
        heard_s, stalled = time.monotonic(), False
        while not stopped():
            if not readable(self._fd, POLL_S):
                if not stalled and time.monotonic() - heard_s > self._stall_s:
                    stalled = True
                    self._framer.skip(0)
                    yield SourceChange("no-device", "stalled", f"no audio for {self._stall_s:g} s")
                continue
            pcm = os.read(self._fd, PIPE_BYTES)
            heard_s = time.monotonic()
            if stalled and pcm:
                stalled = False
                yield SourceChange("listening", "none")
            yield from self._framer.feed(self._resampler.feed_pcm(pcm, last=not pcm), heard_s)
            if not pcm:
                yield from self._framer.flush(heard_s)
                return

    def _drain(self) -> None:
        """What was said during a pause is not heard after it."""
        reads = 0
        while reads < DRAIN_READS and readable(self._fd, 0.0) and os.read(self._fd, PIPE_BYTES):
            reads += 1
        self._framer.skip(0)


def to_flac(pcm: bytes) -> bytes:
    """Signed 16-bit 16 kHz mono, bit for bit, as a FLAC file."""
    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, dtype="<i2"), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def paced(items: Iterator[Item], stopped: Stopped, speed: float = 1.0) -> Iterator[Item]:
    """The same items, each frame held back until its last sample would have been spoken."""
    start = time.monotonic()
    for item in items:
        if isinstance(item, AudioFrame):
            due = start + (item.index + FRAME_SAMPLES) / SAMPLE_RATE / speed
            late_s = time.monotonic() - due
            if late_s > LATE_S:
                start += late_s
            sleep(-late_s, stopped)
            yield AudioFrame(item.pcm, item.index, time.monotonic(), item.gap)
        else:
            yield item


def readable(fd: int, timeout_s: float) -> bool:
    """True if a read would not wait: data, or the end. (`select` knows no descriptor beyond 1023.)"""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def sleep(seconds: float, stopped: Stopped) -> None:
    """Sleep, but not beyond a stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopped():
        time.sleep(min(left, POLL_S))


def _open(path: Path) -> Any:
    import soundfile

    if not path.is_file():
        what = "is not a file" if path.exists() else "no such file"
        raise MissingFileError(f"{path}: {what}: expected a WAV, FLAC or Ogg recording")
    try:
        return soundfile.SoundFile(path)
    except (RuntimeError, OSError) as error:
        size = path.stat().st_size
        raise DataError(f"{path}: not a recording ({size} bytes): expected WAV, FLAC or Ogg; {error}") from None


def _promised(path: Path) -> tuple[int, float]:
    """The samples per channel that the header promises (1 where it leaves that open), and the seconds found."""
    with _open(path) as file:
        if file.samplerate < 1 or file.channels < 1 or file.frames < 1:
            raise DataError(f"{path}: holds no samples: expected at least one; record it again")
        seconds = file.frames / file.samplerate
        if file.format != "WAV":
            return int(file.frames), seconds
        frame_bytes = file.channels * _bytes_per_sample(file.subtype)
    promised = _wav_data_bytes(path)
    return promised // frame_bytes if promised and frame_bytes else 1, seconds


def _bytes_per_sample(subtype: str) -> int:
    sizes = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
    return sizes.get(subtype, 0)  # 0: a compressed subtype, whose decoder knows its own end


def _wav_data_bytes(path: Path) -> int:
    """The size that a WAV header gives its data, which libsndfile silently cuts to the file's; 0: left open.

    A program that writes to a pipe cannot go back and leaves 0 or about 2^32: that is no lie.
    """
    with path.open("rb") as file:
        header = file.read(12)
        while header[8:12] == b"WAVE" and len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                return 0 if size >= 0xFFFF_F000 else size
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0
