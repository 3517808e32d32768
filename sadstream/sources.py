"""Where audio comes from: a recording, raw PCM on a pipe, or the microphone's own process."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sadstream.audio import SAMPLE_RATE, AudioFrame, Framer, Resampler
from sadstream.config import ServiceConfig, StreamConfig
from sadstream.errors import DataError, MissingFileError
from sadstream.events import Reason, State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_S = 1  # recordings are read a second at a time: memory stays constant over ten hours
PIPE_BYTES = 65_536  # 2 s of 16 kHz mono, what the kernel keeps between the capture process and us
POLL_S = 0.1  # how soon a stop is noticed
START_GRACE_S = 5.0  # the first block of a capture device can take 1.75 s


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

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Frames, and changes of state, until the end or until `stopped()`."""
        ...


class Recording:
    """A WAV, FLAC or Ogg file of any rate and channel count."""

    live = False

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

    def __init__(self, fd: int, rate: int = SAMPLE_RATE, channels: int = 1, live: bool = True) -> None:
        self.live = live
        self._fd = fd
        self._rate = rate
        self._channels = channels

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as they come; an end in the middle of a frame is filled up with zeros."""
        yield SourceChange("listening", "none")
        framer, resampler = Framer(), Resampler(self._rate, self._channels)
        while not stopped():
            if not _readable(self._fd, POLL_S):
                continue
            pcm = os.read(self._fd, PIPE_BYTES)
            yield from framer.feed(resampler.feed_pcm(pcm, last=not pcm), time.monotonic())
            if not pcm:
                yield from framer.flush(time.monotonic())
                return


class Microphone:
    """A capture device by name: opened again for ever when it is lost, killed when it hangs."""

    live = True

    def __init__(self, device: str | None, service: ServiceConfig) -> None:
        self._device = device
        self._service = service

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Frames while the device gives any, and `no-device` with its reason while it does not."""
        framer = Framer()
        lost_s = None
        while not stopped():
            with _Capture(self._device) as process:
                for item in self._frames(process, framer, stopped):
                    if lost_s is not None and isinstance(item, AudioFrame):
                        raise AssertionError("a frame before the stream said that it listens")
                    if isinstance(item, SourceChange) and item.state == "listening" and lost_s is not None:
                        framer.skip(int((time.monotonic() - lost_s) * SAMPLE_RATE))
                        lost_s = None
                    yield item
            lost_s = lost_s or time.monotonic()
            _sleep(self._service.retry_s, stopped)

    def _frames(self, process: "_Capture", framer: Framer, stopped: Stopped) -> Iterator[Item]:
        heard_s = time.monotonic()
        listening = False
        while not stopped():
            if _readable(process.fd, POLL_S):
                pcm = os.read(process.fd, PIPE_BYTES)
                if not pcm:
                    yield process.verdict()
                    return
                heard_s = time.monotonic()
                if not listening:
                    listening = True
                    yield SourceChange("listening", "none", process.opened())
                yield from framer.feed(pcm, heard_s)
            elif time.monotonic() - heard_s > (self._service.stall_s if listening else START_GRACE_S):
                yield SourceChange("no-device", "stalled", f"no audio for {time.monotonic() - heard_s:.1f} s")
                return


class _Capture:
    """The capture process and its two pipes; leaving the block kills it."""

    def __init__(self, device: str | None) -> None:
        command = [sys.executable, "-m", "sadstream.capture"]
        self._command = command + (["--device", device] if device else [])

    def __enter__(self) -> "_Capture":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.fd = self._process.stdout.fileno()
        os.set_blocking(self._process.stderr.fileno(), False)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def opened(self) -> str:
        """What the process said when it opened its device."""
        assert self._process.stderr is not None
        said = (self._process.stderr.read() or b"").decode(errors="replace")
        lines = [line for line in said.splitlines() if line.startswith("capture: ")]
        return lines[-1].removeprefix("capture: ") if lines else ""

    def verdict(self) -> SourceChange:
        """Why the process ended: no such device (exit 69), or the device was lost."""
        code = self._process.wait()
        reason: Reason = "device-absent" if code == 69 else "device-lost"
        return SourceChange("no-device", reason, self.opened() or f"capture ended with {code}")


def open_source(stream: StreamConfig, service: ServiceConfig) -> Source:
    """The source that a stream's configuration names, opened far enough to know that it can be read."""
    if stream.source == "mic":
        return Microphone(stream.device, service)
    if stream.source == "-":
        return PcmPipe(sys.stdin.fileno(), stream.rate, stream.channels)
    return Recording(Path(stream.source))


def paced(items: Iterator[Item], stopped: Stopped) -> Iterator[Item]:
    """The same items, each frame held back until its last sample would have been spoken."""
    start = time.monotonic()
    for item in items:
        if isinstance(item, AudioFrame):
            due = start + (item.index + len(item.pcm) // 2) / SAMPLE_RATE
            _sleep(due - time.monotonic(), stopped)
            yield AudioFrame(item.pcm, item.index, time.monotonic(), item.gap)
        else:
            yield item


def _readable(fd: int, timeout_s: float) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])


def _sleep(seconds: float, stopped: Stopped) -> None:
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
