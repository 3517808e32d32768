"""Where audio comes from: what every source says, a recording, raw PCM on a file descriptor."""

import os
import select
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sadstream.audio.decoding.container import FRAMES_BYTES, HEAD_BYTES, may_be_frames, sniffed
from sadstream.audio.decoding.decoder import LOUDEST, Sound
from sadstream.audio.decoding.unpack import Unpacker
from sadstream.audio.filters.framing import Framer, Resampler
from sadstream.audio.filters.mixer import LEFT_OUT
from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, AudioFrame, Channel
from sadstream.events import Reason, State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIPE_BYTES = 65_536  # what the kernel keeps in a pipe: 2 s of 16 kHz mono
DRAIN_READS = 64  # at most 4 MB of old audio are thrown away after a pause
OVERSHOOT = 1.5  # of the integers' full scale
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
    """A file with sound in it, of any container, rate and channel count."""

    live = False
    speed: float | None = 1.0

    def __init__(self, path: Path, channel: Channel = "mix", content: Path | None = None) -> None:
        self.path = path
        self._content = path if content is None else content  # where what is called `path` lies
        self._channel = channel
        self.without_s: Counter[int] = Counter()  # seconds that each channel, from 1, was left out of the mix
        with _open(self._content, str(path)) as sound:
            if channel != "mix" and channel > sound.channels:
                raise DataError(f"{path}: channel = {channel}: expected mix or 1 to {sound.channels}, as it has")
            # What its header says that is not so, where no sound is missing; as late as it is known.
            self.remark = sound.remark()
            self._bits = _integer_bits(sound, path) if sound.is_float else 0
            if self._bits:
                said = f"{self.remark}; its" if self.remark else f"{path}: its"
                self.remark = f"{said} float samples have the scale of {self._bits}-bit integers: scaled"
            self.duration_s: float | None = None if sound.frames is None else sound.frames / sound.rate

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as fast as they are taken; at last DataError where the file does not hold what it says."""
        import numpy as np

        yield SourceChange("listening", "none", f"{self.path.name}")
        framer = Framer()
        failure: DataError | None = None
        with _open(self._content, str(self.path)) as sound:
            resampler, without = Resampler(sound.rate, sound.channels, self._channel), frozenset[int]()
            self.without_s.clear()
            blocks = _finite(sound, self.path, self._bits)
            heard = 0
            while failure is None:
                try:
                    block = next(blocks, None)
                except DataError as error:  # what came before it is heard
                    failure, block = error, None
                if block is None:
                    break
                heard += block.shape[0]
                pcm = resampler.feed(block)
                self.without_s.update(dict.fromkeys(resampler.left_out, block.shape[0] / sound.rate))
                if resampler.left_out != without:
                    without = resampler.left_out
                    yield left_out(without)
                for frame in framer.feed(pcm, time.monotonic()):
                    if stopped():
                        return
                    yield frame
            yield from framer.feed(
                resampler.feed(np.zeros((0, sound.channels), dtype=np.float32), last=True), time.monotonic()
            )
            yield from framer.flush(time.monotonic())
            self.duration_s = heard / sound.rate
            if not heard and failure is None:
                failure = DataError(f"{self.path}: holds no samples: nothing can be decoded; record it again")
            if not self.remark and (remark := sound.remark(heard)):
                self.remark = remark
                yield SourceChange("listening", "none", remark)
        if failure is not None:
            raise failure

    def frames(self) -> Iterator[AudioFrame]:
        """Its frames once more, as far as they go: where they end was said when they were scored."""
        with suppress(DataError):
            yield from (item for item in self.listen(lambda: False) if isinstance(item, AudioFrame))


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
        self._left_out: frozenset[int] = frozenset()
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
                    yield SourceChange("no-device", "stalled", f"no audio for {self._stall_s:g} s")
                continue
            pcm = os.read(fd, PIPE_BYTES if self._head is None else FRAMES_BYTES)
            heard_s = time.monotonic()
            if stalled and pcm:
                stalled = False
                yield SourceChange("listening", "none")
            frames = self._framer.feed(self._samples(pcm), heard_s)
            if self._resampler.left_out != self._left_out:
                self._left_out = self._resampler.left_out
                yield left_out(self._left_out)
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


def _open(path: Path, name: str) -> Sound:
    if not path.is_file():
        what = "is not a file" if path.exists() else "no such file"
        raise MissingFileError(f"{path}: {what}: expected a recording")
    file = path.open("rb", buffering=0)
    try:
        return Sound(file, name)
    except BaseException:
        file.close()
        raise


def left_out(channels: frozenset[int]) -> SourceChange:
    """What a source says whenever its mix comes to do without other channels."""
    if not channels:
        return SourceChange("listening", "none", "all channels are heard")
    named = ", ".join(map(str, sorted(channels)))
    return SourceChange("listening", "none", f"{LEFT_OUT}: channel {named}")


def _integer_bits(sound: Sound, path: Path) -> int:
    """The width of the integers in whose scale a float recording was written; 0 where its full scale is 1.

    All of it is looked at, since it may begin quietly. DataError where no integer is so large.
    """
    import numpy as np

    peak = 0.0
    with suppress(DataError):  # what is missing is said when it is scored
        for block in sound.blocks():
            peak = max(peak, float(np.abs(block, where=np.isfinite(block), out=np.zeros_like(block)).max()))
    if peak <= LOUDEST:
        return 0
    bits = next((bits for bits in (8, 16, 24, 32) if peak <= OVERSHOOT * 2 ** (bits - 1)), None)
    if bits is None:
        raise DataError(f"{path}: float samples up to {peak:.3g}: expected -1 to 1; write it again")
    return bits


def _finite(sound: Sound, path: Path, bits: int = 0) -> "Iterator[NDArray[np.float32]]":
    """The same blocks up to the first sample that is no number, at which DataError is raised.

    bits: of the integers in whose scale they are; 0: full scale is 1.
    """
    import numpy as np

    heard = 0
    for block in sound.blocks():
        if bits:
            np.multiply(block, np.float32(2.0 ** (1 - bits)), out=block)
        if not np.isfinite(block).all():
            good = block[: int((~np.isfinite(block).all(axis=1)).argmax())]
            yield good
            at = (heard + good.shape[0]) / sound.rate
            raise DataError(f"{path}: NaN or infinite samples after {at:.2f} s: write it again")
        heard += block.shape[0]
        yield block
