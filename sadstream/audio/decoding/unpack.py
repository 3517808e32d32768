"""Files with a header that come through a pipe, in a small process of their own: their samples on standard output.

Run as `python -m sadstream.audio.decoding.unpack`. Decoders wait where they read, and some crash: a process may do
both. Whatever goes wrong is one line on standard error and exit code 65.
"""

import math
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sadstream.audio.decoding import container, ffmpeg
from sadstream.audio.decoding.child import follow_parent
from sadstream.audio.decoding.container import BrokenError, Container, SoundLayout, UnreadableError
from sadstream.audio.decoding.decoder import LOUDEST, Codec, MendedFile, Sndfile, check_format
from sadstream.base.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = struct.Struct("<III")  # rate, channels, samples of a channel; float32 samples follow, interleaved
KEPT_BYTES = 1 << 20  # decoders look back by less; headers are shorter
FAR = 1 << 40  # the end of what has none
READ_BYTES = 16_384
SECTION_BYTES = 1 << 27
FOLLOWED = "; what follows is read"
QUIET_S = 0.5  # what comes after that is another writer's, with a header or without
AHEAD_BYTES = 1 << 24  # who looks further ahead asks for an end that is not there yet
STREAMED = (container.WAV, container.AIFF, container.AU, container.W64, container.FLAC)


class PipeBuffer:
    """A pipe's bytes by their place; only the last are kept, and another file's beginning is an end."""

    def __init__(self, fd: int, head: bytes) -> None:
        self._fd = fd
        self._kept, self._from = bytearray(head), 0
        self._over = False  # nothing more comes
        self.end: int | None = None  # of this file, as far as it is known
        self.hard = False  # it is certain
        self.patient = True  # a read waits until all that it asks for is there: half a sample is lost to libsndfile
        self.lay: SoundLayout | None = None
        self.head = b""  # the header
        self._number = 0
        self.opened = False  # the header is read
        self.dry = False  # a read behind the header came to the end: block codecs would go on with zeros for ever

    def read(self, at: int, size: int) -> bytes:
        """What is there at this place, waited for; nothing at the end."""
        while not self._over and at <= self._far < at + (size if self.patient else 1) and not self._is_end(self._far):
            self._take()
        while not self._over and self._far <= at < self._far + AHEAD_BYTES and not self._is_end(self._far):
            self._take()
        if self.end is not None and not self.hard and at + size > self.end and self.opened:
            self._settle()
            return self.read(at, size)
        last = self._far if self.end is None else min(self.end, self._far)
        found = bytes(self._kept[max(0, at - self._from) : max(0, min(at + size, last) - self._from)])
        self.dry = self.opened and len(found) < size
        return found

    def rest(self) -> bytes:
        """What came after this file's end."""
        return b"" if self.end is None else bytes(self._kept[max(0, self.end - self._from) :])

    def after(self) -> bytes:
        """What came after this file's beginning, as far as it is kept."""
        return self.rest() if self.hard else bytes(self._kept[max(0, 1 - self._from) :])

    def section(self, number: int) -> Sndfile:
        """A decoder for at most SECTION_BYTES of sound: no header can say that it has no end."""
        assert self.lay is not None
        lay, size = self.lay, max(1, SECTION_BYTES // self.lay.align) * self.lay.align
        self._number, shift = number, number * size

        def read(at: int, size: int) -> bytes:
            return self.head[at : at + size] if at < lay.start else self.read(at + shift, size)

        codec = Sndfile(MendedFile(read, lay.start + size, tuple(field.patch(size) for field in lay.fields)))
        codec.frames = None
        return codec

    def again(self) -> Sndfile:
        """A decoder for what follows the last one's section."""
        return self.section(self._number + 1)

    @property
    def _far(self) -> int:
        return self._from + len(self._kept)

    def _is_end(self, at: int) -> bool:
        return self.end is not None and at >= self.end

    def _take(self) -> None:
        more = os.read(self._fd, READ_BYTES)
        self._over = not more
        before = max(0, len(self._kept) - 16)
        self._kept += more
        if self.opened:
            found = container.next_start(bytes(self._kept[before:]))
            if found is not None:
                self.end, self.hard = self._from + before + found, True
            surplus = len(self._kept) - KEPT_BYTES
            if surplus > KEPT_BYTES:
                del self._kept[:surplus]
                self._from += surplus

    def _settle(self) -> None:
        """The header's end: is what follows a chunk of notes, another file, or sound that it does not know of?"""
        assert self.end is not None
        end, self.end = self.end, None
        while not self._over and self._far < end + 8:
            self._take()
        after = bytes(self._kept[end - self._from : end - self._from + 64])
        another = container.next_start(after) == 0 or container.sniffed(after) is not None
        if self.end is None and (another or len(after) < 8 or container.is_trailer(after, AHEAD_BYTES)):
            self.end, self.hard = end, True


class PipeBufferReader:
    """The buffer as FFmpeg reads it: forward only."""

    def __init__(self, buffer: PipeBuffer) -> None:
        self._buffer = buffer
        self._at = 0

    def read(self, size: int) -> bytes:
        found = self._buffer.read(self._at, size)
        self._at += len(found)
        return found


def unpacked(fd: int, head: bytes, name: str) -> Iterator[tuple[int, int, "NDArray[np.float32]"]]:
    """(rate, channels, samples) of one file with a header after the other.

    One that cannot be read is said where another follows; DataError at the end where any was.
    """
    files = failures = 0
    while head:
        buffer = PipeBuffer(fd, head)
        kind = container.sniffed(buffer.read(0, container.HEAD_BYTES)) or container.sniffed(
            buffer.read(0, container.FRAMES_BYTES)
        )
        if kind is None:  # notes behind the last file, or nothing that is known
            head = _skipped(fd, head)
            continue
        files += 1
        try:
            yield from _one(buffer, kind, name)
            head = buffer.rest()
        except DataError as error:
            failures += 1
            head = _skipped(fd, buffer.after(), QUIET_S)
            if not head:
                raise
            print(f"{error}{FOLLOWED}", file=sys.stderr, flush=True)
    if failures:
        raise DataError(f"{name}: {failures} of {files} files in it could not be read whole; send them again")


def _one(buffer: PipeBuffer, kind: Container, name: str) -> Iterator[tuple[int, int, "NDArray[np.float32]"]]:
    """What this file holds; DataError at its end where sound is missing."""
    codec, promised = _opened(buffer, kind, name)
    check_format(name, codec.rate, codec.channels)
    buffer.opened, buffer.patient = True, kind in container.LINEAR
    found = 0
    try:
        while True:
            block = codec.read(codec.rate // 25)
            check_scale(block, name, kind)
            found += block.shape[0]
            yield codec.rate, codec.channels, block
            if (codec.frames is not None and found >= codec.frames) or (buffer.patient and buffer.dry):
                break
            if not block.shape[0]:
                if not buffer.patient:
                    break
                codec = buffer.again()
    except BrokenError as error:
        yield codec.rate, codec.channels, error.samples
        found += error.samples.shape[0]
        if promised is None or found < promised:
            at = f"cannot be decoded after {found / codec.rate:.2f} s" if found else "cannot be read from a pipe"
            cure = "send it again" if found else "write it to a file and name that"
            raise DataError(f"{name}: {kind.name}: {at}: {error}; {cure}") from None
    if not found:
        raise DataError(f"{name}: {kind.name}: holds no samples in a pipe; write it to a file first")
    if promised is not None and found < promised:
        said = f"expected {promised} samples by its header, found {found}"
        raise DataError(f"{name}: {kind.name}: truncated: {said}; send it again")


def check_scale(block: "NDArray[np.float32]", name: str, kind: Container) -> None:
    """DataError for floats that are no sound: no number, or of a scale that only the whole file would show."""
    peak = float(abs(block).max(initial=0.0))
    if not peak <= LOUDEST:  # nor NaN
        what = "NaN" if math.isnan(peak) else f"{peak:.3g}"
        raise DataError(f"{name}: {kind.name}: float samples of {what}: expected -1 to 1; write it to a file first")


def _skipped(fd: int, head: bytes, quiet_s: float | None = None) -> bytes:
    """The next file's beginning; nothing where the pipe ends, or is quiet for so long, before one."""
    if len(head) >= container.HEAD_BYTES and container.sniffed(head) is not None:
        return head
    while (at := container.next_start(head)) is None:
        if quiet_s is not None and not select.select([fd], [], [], quiet_s)[0]:
            return b""
        more = os.read(fd, READ_BYTES)
        if not more:
            return b""
        head = head[-16:] + more
    return head[at:]


def _opened(buffer: PipeBuffer, kind: Container, name: str) -> tuple[Codec, int | None]:
    try:
        if kind in STREAMED:
            return _streamed(buffer, kind)
        if not ffmpeg.is_here():
            raise DataError(f"{name}: {kind.name} in a pipe {ffmpeg.CURE}")
        return ffmpeg.of_file(PipeBufferReader(buffer), kind.ffmpeg), None
    except UnreadableError as error:
        raise DataError(f"{name}: {kind.name} cannot be read from a pipe: {error}; write it to a file first") from None


def _streamed(buffer: PipeBuffer, kind: Container) -> tuple[Codec, int | None]:
    if kind == container.FLAC:
        info = container.flac_samples(buffer.read)
        if info is None:
            raise UnreadableError("no STREAMINFO")
        codec = Sndfile(MendedFile(buffer.read, FAR, (info[1],)))
        codec.frames = info[0] or None
        return codec, codec.frames
    lay = container.layout(kind, buffer.read)
    if lay is None:
        raise UnreadableError("no sound in it")
    buffer.lay, buffer.head = lay, buffer.read(0, lay.start)
    codec = buffer.section(0)
    if lay.promised is None:
        return codec, None
    buffer.end = lay.start + lay.promised
    return codec, lay.promised // codec.width if codec.width else None


class Unpacker:
    """The daemon's end: the process that decodes what comes on `fd` after `head`."""

    def __init__(self, fd: int, head: bytes, name: str) -> None:
        read_fd, write_fd = os.pipe()
        os.write(write_fd, head)  # at most what a pipe holds
        os.close(write_fd)
        self._process = subprocess.Popen(
            (sys.executable, "-m", "sadstream.audio.decoding.unpack", str(read_fd), name),
            stdin=fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(read_fd,),
        )
        os.close(read_fd)
        assert self._process.stdout is not None
        self.fd = self._process.stdout.fileno()
        os.set_blocking(self._process.stderr.fileno(), False)  # type: ignore[union-attr]
        self._bytes = self._said = b""

    def take(self, content: bytes) -> Iterator[tuple[int, int, "NDArray[np.float32]"]]:
        """(rate, channels, samples) of the blocks that these bytes complete."""
        import numpy as np

        self._bytes += content
        while len(self._bytes) >= BLOCK.size:
            rate, channels, samples = BLOCK.unpack_from(self._bytes)
            size = BLOCK.size + 4 * channels * samples
            if len(self._bytes) < size:
                return
            floats = np.frombuffer(self._bytes[BLOCK.size : size], dtype="<f4")
            self._bytes = self._bytes[size:]
            yield rate, channels, floats.reshape(-1, channels)

    def said(self) -> list[str]:
        """What is wrong with files that others follow, since the last time."""
        assert self._process.stderr is not None
        self._said += self._process.stderr.read() or b""
        lines = self._said.splitlines(keepends=True)
        self._said = b"" if not lines or lines[-1].endswith(FOLLOWED.encode() + b"\n") else lines.pop()
        return [line.decode(errors="replace").strip() for line in lines]

    def close(self) -> str:
        """End it; what it said, if that is why it ended."""
        process = self._process
        assert process.stdout is not None
        assert process.stderr is not None
        if process.poll() is None and not select.select([self.fd], [], [], 0.0)[0]:
            process.kill()
        process.stdout.close()
        code = process.wait()
        said = (self._said + (process.stderr.read() or b"")).decode(errors="replace").strip()
        process.stderr.close()
        if code in (0, -signal.SIGKILL):
            return ""
        return said.splitlines()[-1] if said else f"the decoder ended with {code}"


def write(out: int, rate: int, channels: int, samples: "NDArray[Any]") -> None:
    """One block."""
    view = memoryview(BLOCK.pack(rate, channels, samples.shape[0]) + samples.astype("<f4").tobytes())
    while view:
        view = view[os.write(out, view) :]


def main() -> int:
    follow_parent()
    head_fd, name = int(sys.argv[1]), sys.argv[2]
    head = b""
    while more := os.read(head_fd, READ_BYTES):
        head += more
    try:
        for rate, channels, samples in unpacked(sys.stdin.fileno(), head, name):
            write(sys.stdout.fileno(), rate, channels, samples)
    except BrokenPipeError:
        return 0
    except DataError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
