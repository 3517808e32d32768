"""Which source a stream's configuration names, opened far enough to know that it can be read."""

import logging
import os
import stat
import sys
from pathlib import Path

from sadstream.audio.decoding.container import FRAMES_BYTES, sniffed
from sadstream.audio.sources.browser import SOURCE as BROWSER
from sadstream.audio.sources.browser import BrowserMicrophone, BrowserServer
from sadstream.audio.sources.fifo import NamedPipe, is_pipe
from sadstream.audio.sources.microphone import Microphone
from sadstream.audio.sources.network import NetworkSource, is_address
from sadstream.audio.sources.pipe import PcmPipe
from sadstream.audio.sources.recording import Recording
from sadstream.audio.sources.source import Source
from sadstream.base.errors import ConfigError, MissingFileError
from sadstream.config import Config
from sadstream.config.tables import StreamConfig

log = logging.getLogger("sadstream")

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def refuse_shared_pipes(config: Config) -> None:
    """ConfigError where two streams would take each other's sound away."""
    taken: dict[str, str] = {}
    for stream in config.stream:
        only = "-" if stream.source in STANDARD_INPUT else os.path.realpath(stream.source)
        no_pipe = stream.source in ("mic", BROWSER) or is_address(stream.source) or not is_pipe(Path(stream.source))
        if only != "-" and no_pipe:
            continue
        if only in taken:
            raise ConfigError(
                f"stream.source = {stream.source!r}: read by {taken[only]!r} and by {stream.name!r}, each would get "
                "pieces: expected one stream a pipe; make a second pipe (tee)"
            )
        taken[only] = stream.name


def open_source(stream: StreamConfig, config: Config, browsers: BrowserServer | None = None) -> Source:  # noqa: PLR0911
    """The source that a stream's configuration names, opened far enough to know that it can be read.

    browsers: the server that its page is on, where the source is one.
    """
    if stream.source == BROWSER:
        if browsers is None:
            raise ConfigError('stream.source = "browser": `sadstream run` alone hears one; expected mic or a recording')
        return BrowserMicrophone(browsers.line(stream.name), config.service)
    if stream.source == "mic":
        return Microphone(stream.device, config.service, stream.channel, stream.channels)
    if stream.source == "-":
        if sys.stdin is None:  # number 0 may be another file by now
            raise MissingFileError("standard input: closed: expected raw PCM; use a pipe or < FILE")
        if has_header(sys.stdin.fileno()):
            return Recording(Path("-"), stream.channel, Path(f"/proc/self/fd/{sys.stdin.fileno()}"))
        return PcmPipe(sys.stdin.fileno(), stream.rate, stream.channels, config.service.stall_s, stream.channel)
    if is_address(stream.source):
        return NetworkSource(stream.source, config.service, stream.channel)
    if os.path.realpath(stream.source).startswith("/proc/") and Path(stream.source).is_fifo():  # <(...) has an end
        fd = os.open(stream.source, os.O_RDONLY | os.O_CLOEXEC)
        return PcmPipe(fd, stream.rate, stream.channels, config.service.stall_s, stream.channel, stream.source)
    if is_pipe(path := Path(stream.source)):
        stall_s = config.service.stall_s

        def read(fd: int) -> PcmPipe:
            return PcmPipe(fd, stream.rate, stream.channels, stall_s, stream.channel, stream.source)

        return NamedPipe(path, config.service.retry_s, read)
    recording = Recording(Path(stream.source), stream.channel)
    if recording.remark:
        log.warning("%s", recording.remark)
    return recording


def has_header(fd: int) -> bool:
    """It is a file, and one with a header."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and sniffed(os.pread(fd, FRAMES_BYTES, 0)) is not None
    except OSError:
        return False
