"""A pipe as a recording: kept whole in memory, because pages and pictures look at it twice."""

import os
import stat
import struct
from pathlib import Path

from sadstream.audio.decoding.container import FRAMES_BYTES, sniffed
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import DataError, UnavailableError
from sadstream.config.tables import StreamConfig

SPOOL_BYTES = 1 << 30  # 9 h of 16 kHz, 1.5 h of a CD
READ_BYTES = 1 << 20
HEAD = struct.Struct("<4sI8sIHHIIHH4sI")  # of a WAV file whose length is left open
OPEN = 0xFFFF_FFFF


def is_spooled(path: Path) -> bool:
    """It is standard input or a pipe, and not a file."""
    try:
        return str(path) == "-" or stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def spooled(path: Path, raw: StreamConfig) -> Recording:
    """What comes out of the pipe, to its end; without a header it is raw PCM as `raw` says. DataError beyond a GiB.

    UnavailableError where memory cannot be read as a file (not on Linux): speech is never put on the disk instead.
    """
    if not hasattr(os, "memfd_create"):
        raise UnavailableError(f"{path}: a pipe is kept in memory, which needs Linux: expected a file")
    fd = os.dup(0) if str(path) == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    kept = os.memfd_create("sadstream")
    try:
        head = b""
        while len(head) < FRAMES_BYTES and (more := os.read(fd, FRAMES_BYTES)):
            head += more
        if not head:
            raise DataError(f"{path}: nothing came: expected a recording")
        if sniffed(head) is None:
            frame = 2 * raw.channels
            rest = (1, raw.channels, raw.rate, raw.rate * frame, frame, 16, b"data", OPEN)
            os.write(kept, HEAD.pack(b"RIFF", OPEN, b"WAVEfmt ", 16, *rest))
        while head:
            while head:
                head = head[os.write(kept, head) :]
            if os.fstat(kept).st_size > SPOOL_BYTES:
                raise DataError(f"{path}: more than {SPOOL_BYTES >> 20} MiB through a pipe: write it to a file first")
            head = os.read(fd, READ_BYTES)
        return Recording(path, raw.channel, Path(f"/proc/self/fd/{kept}"))
    except BaseException:
        os.close(kept)
        raise
    finally:
        os.close(fd)
