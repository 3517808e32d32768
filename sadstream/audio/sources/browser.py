"""The daemon's end of a browser's microphone: a page, or any program, sends frames to a server in a process of its own.

What faces a network so has neither models nor words, and can be started again while the models stay loaded. Each
stream has a socket to it, whose messages keep their bounds; what does not fit into it is lost there, and counted.
"""

import contextlib
import logging
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sadstream.audio.sources.clock import WINDOW_S, ClockedFramer, SampleClock, boottime
from sadstream.audio.sources.source import POLL_S, Item, SourceChange, Stopped, no_device, readable
from sadstream.base import logs
from sadstream.base.errors import (
    BusyError,
    ConfigError,
    MissingFileError,
    SadstreamError,
    StalledError,
    UnavailableError,
)
from sadstream.base.samples import SAMPLE_RATE
from sadstream.config import Config
from sadstream.config.tables import ServiceConfig
from sadstream.events import Reason, Score, Status
from sadstream.events.codec import to_json

log = logging.getLogger("sadstream")

SOURCE = "browser"  # as a configuration names it
COMMAND = (sys.executable, "-m", "sadstream.views.microphone")
MESSAGE_BYTES = 65_536
AUDIO, OPENED, CLOSED = b"a", b"o", b"c"  # what a message of a sender is, in its first byte
READY, FAILED, ALIVE = b"r", b"f", b"l"  # and one of the server; the last answers each event
TOO_LATE, WRONG_RATE = 4408, 4429  # close codes, of the WebSocket
START_S = 30.0  # for the server to be there: imports on a slow disk
RESUME_S = 1.0  # after a pause, for a page that still sends
LOOK_S = 3 * WINDOW_S  # at a sender whose rate was wrong
AHEAD_S = 3.0  # more sound than time: a pipe that filled while a program started holds 2 s
ERRORS = {error.exit_code: error for error in (BusyError, ConfigError, MissingFileError, UnavailableError)}


class BrowserMicrophone:
    """Whoever sends frames for one stream; its index follows the clock over every loss."""

    live = True
    speed: float | None = None

    def __init__(self, line: socket.socket, service: ServiceConfig, now: Callable[[], float] = boottime) -> None:
        self._line = line
        self._stall_s = service.stall_s
        self._now = now
        self._framer = ClockedFramer()
        self._begun = False
        self._who = ""  # sends, as the server knows it
        self._shut = False  # what it sent last was refused: nothing is heard before the next one comes
        self._suspect = False  # its rate was wrong: what comes next is heard only after a look at it

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Frames while a page or a program sends them, and `no-device` with its reason while none does."""
        patience_s = RESUME_S if self._begun else 0.0
        self._drain()
        while not stopped():
            yield from self._hear(patience_s, stopped)
            patience_s = math.inf  # the end of one says how it is

    def _hear(self, patience_s: float, stopped: Stopped) -> Iterator[Item]:
        """One sender, from its first frame to its end."""
        clock, waits_from_s, first_s, heard_s = SampleClock(AHEAD_S), self._now(), 0.0, 0.0
        listening = False
        while not stopped():
            kind, content = self._receive()
            now_s = self._now()
            if kind == OPENED:
                self._who, self._shut = content.decode(), False
            elif kind == CLOSED:
                self._shut = False
                yield no_device("device-lost", content.decode())
                return
            elif kind == AUDIO and not self._shut:
                reading = clock.feed(len(content) // 2, now_s)
                first_s, heard_s = first_s or now_s, now_s
                if reading.fault != "none":
                    yield self._refuse(reading.fault, reading.late_s)
                    return
                if self._suspect and now_s - first_s < LOOK_S:
                    continue
                if not listening:
                    listening, self._begun, self._suspect = True, True, False
                    self._framer.catch_up(now_s - len(content) / 2 / SAMPLE_RATE)
                    yield SourceChange("listening", "none", self._who)
                yield from self._framer.feed(content, reading, time.monotonic())
            elif listening and now_s - heard_s > self._stall_s:
                yield no_device("stalled", f"{self._who} sends nothing for {self._stall_s:g} s")
                return
            elif not listening and now_s - waits_from_s > patience_s:
                patience_s = math.inf
                yield no_device("device-lost" if self._begun else "device-absent", "no page or program sends")

    def _refuse(self, fault: Reason, late_s: float) -> SourceChange:
        """Let the sender go whose sound is too late, or comes faster or slower than it is spoken."""
        self._shut, self._suspect = True, fault == "rate"
        code, why = (
            (WRONG_RATE, f"expected {SAMPLE_RATE} samples a second")
            if fault == "rate"
            else (TOO_LATE, f"the sound is {late_s:.1f} s late")
        )
        with contextlib.suppress(OSError):  # full: then it is refused again
            self._line.send(f"{code} {why}".encode(), socket.MSG_DONTWAIT)
        return no_device(fault, f"{self._who}: {why}")

    def _receive(self) -> tuple[bytes, bytes]:
        if not readable(self._line.fileno(), POLL_S):
            return b"", b""
        message = self._line.recv(MESSAGE_BYTES)
        return message[:1], message[1:]

    def _drain(self) -> None:
        """What was said during a pause is not heard after it."""
        with contextlib.suppress(BlockingIOError):
            while message := self._line.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT):
                self._shut = self._shut and message[:1] == AUDIO
                self._who = message[1:].decode() if message[:1] == OPENED else self._who


class BrowserServer:
    """The process that pages and programs send to; all but the streams' lines is the main thread's."""

    def __init__(self, config: Config, command: Sequence[str] = COMMAND, hang_s: float = START_S) -> None:
        self._streams = [stream.name for stream in config.stream if stream.source == SOURCE]
        self._command = [*command, *_options(config)]
        # Both ends are ours for good, so that a process that is started again goes on with them.
        self._lines = {name: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for name in self._streams}
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said: dict[tuple[str, str], bytes] = {}  # last, by stream and type
        self._hang_s = hang_s  # without an answer, before it is ended
        self._silent_from_s: float | None = None

    def line(self, stream: str) -> socket.socket:
        """Where what is sent for a stream comes out."""
        return self._lines[stream][0]

    def start(self) -> str:
        """Its address, once it can be opened; raises what keeps it from that."""
        self._launch()
        assert self._process is not None
        assert self._control is not None
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s and self._process.poll() is None:
            if readable(self._control.fileno(), POLL_S):
                break
        kind, text = next(self._answers(), (b"", ""))
        if kind == READY:
            return text
        if kind == FAILED:
            code, _, why = text.partition(" ")
            raise ERRORS.get(int(code), SadstreamError)(why)
        self._process.kill()
        raise StalledError(f"the microphone's page: no sign of its server in {START_S:g} s; start sadstream again")

    def check(self) -> None:
        """Raise what keeps it from being started; nothing is bound."""
        done = subprocess.run([*self._command, "--check"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise ERRORS.get(done.returncode, SadstreamError)(done.stderr.decode(errors="replace").strip())

    def tell(self, event: object) -> None:
        """Pass on how a stream is, and its scores, never words or names; see that the process lives."""
        if not isinstance(event, Score | Status) or event.stream not in self._lines:
            return
        if isinstance(event, Score):
            if event.provisional:
                return
            event = replace(event, text=None, speaker=None)
        self._said[event.stream, event.type] = to_json(event).encode()
        self._send(self._said[event.stream, event.type])
        if isinstance(event, Status) and event.state != "stopping":
            self._keep()

    def close(self) -> None:
        """End the process; a daemon that ends does without, since it takes it along."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for one in (*(end for ends in self._lines.values() for end in ends), self._control):
            if one is not None:
                one.close()

    def _keep(self) -> None:
        """Start the process again where it ended or hung; `tell` comes by every five seconds."""
        if self._process is None:
            return
        answers, now_s = dict(self._answers()), time.monotonic()
        self._silent_from_s = None if answers else self._silent_from_s or now_s
        if self._process.poll() is None:
            if self._silent_from_s is None or now_s - self._silent_from_s < self._hang_s:
                return
            self._process.kill()
            self._process.wait()
        code, _, why = answers.get(FAILED, "").partition(" ")
        why = why if code else f"it ended with {self._process.returncode}"
        log.warning("the microphone's page: %s; started again", why, extra=logs.about(why))
        for _, far in self._lines.values():
            with contextlib.suppress(BlockingIOError):
                while far.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT):
                    pass
            with contextlib.suppress(BlockingIOError):
                far.send(CLOSED + b"the page's server ended", socket.MSG_DONTWAIT)
        self._launch()

    def _launch(self) -> None:
        self._silent_from_s = None
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lines = {name: far.fileno() for name, (_, far) in self._lines.items()}
        with theirs:
            self._process = subprocess.Popen(
                [
                    *self._command,
                    f"--control={theirs.fileno()}",
                    *(f"--line={name}={number}" for name, number in lines.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *lines.values()),
            )
        for message in self._said.values():
            self._send(message)

    def _answers(self) -> Iterator[tuple[bytes, str]]:
        """What the process has said since: of its start, and that it lives."""
        assert self._control is not None
        with contextlib.suppress(OSError):
            while message := self._control.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT):
                yield message[:1], message[1:].decode(errors="replace")

    def _send(self, message: bytes) -> None:
        """A process that does not read, or is gone, delays nobody: the next status says the same."""
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def browser_server(config: Config) -> BrowserServer | None:
    """The server of the streams whose source is a browser, not started; None where none is."""
    return BrowserServer(config) if any(stream.source == SOURCE for stream in config.stream) else None


def _options(config: Config) -> list[str]:
    web = config.web
    named = {
        "host": web.microphone_host,
        "port": web.microphone_port,
        "token": web.microphone_token,
        "tls-cert": web.microphone_tls_cert,
        "tls-key": web.microphone_tls_key,
        "endpoint": config.publish.endpoint,
        "free-s": config.service.stall_s,
    }
    options = [f"--{name}={value}" for name, value in named.items() if value is not None]
    return options + [f"--name={name}" for name in web.microphone_names]
