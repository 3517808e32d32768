"""The daemon's end of the microphone: a capture process that is killed when it hangs and started again for ever."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from sadstream.audio.sources.capture import ABSENT as ABSENT_LINE
from sadstream.audio.sources.capture import LOST as LOST_LINE
from sadstream.audio.sources.capture import MIXED
from sadstream.audio.sources.clock import WINDOW_S, ClockedFramer, SampleClock, boottime
from sadstream.audio.sources.pipe import PIPE_BYTES
from sadstream.audio.sources.source import POLL_S, Item, SourceChange, Stopped, left_out, no_device, readable, sleep
from sadstream.base.samples import SAMPLE_RATE, Channel
from sadstream.config.tables import ServiceConfig

START_SAID_S = 1.9  # without a first block (they take up to 1.75 s) the stream says that it has no device
START_GRACE_S = 5.0  # and after this the capture process is given up
LOOK_S = START_SAID_S + 2 * WINDOW_S  # at a device whose rate was wrong
REAP_S = 1.0  # a killed process that does not go is left behind
SAID_LINES = 20  # of the capture process, kept for the verdict
ABSENT = 69  # its exit code where there is no such device


class Microphone:
    """A capture device by name; its index follows the clock over every loss."""

    live = True
    speed: float | None = None

    def __init__(
        self,
        device: str | None,
        service: ServiceConfig,
        channel: Channel = "mix",
        channels: int = 1,
        command: Sequence[str] = (sys.executable, "-m", "sadstream.audio.sources.capture"),
        now: Callable[[], float] = boottime,
    ) -> None:
        asked = [f"--wait={service.retry_s}", f"--channel={channel}", f"--channels={channels}"]
        self._command = [*command, *asked, *(["--device", device] if device else [])]
        self._service = service
        self._now = now
        self._framer = ClockedFramer()
        self._suspect = False  # its rate was wrong: what it gives next is heard only after a look at it

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Frames while the device gives any, and `no-device` with its reason while it does not."""
        while not stopped():
            with _Capture(self._command) as capture:
                yield from self._hear(capture, stopped)
            sleep(self._service.retry_s, stopped)

    def _hear(self, capture: "_Capture", stopped: Stopped) -> Iterator[Item]:
        clock = SampleClock()
        opened_s = heard_s = self._now()
        listening = said = False
        grace_s = START_GRACE_S
        while not stopped():
            pcm = capture.read()
            now_s = self._now()
            if pcm == b"":
                yield capture.verdict()
                return
            if tried := capture.tried():  # it lives, and waits for its device
                opened_s = heard_s = now_s
                said, grace_s = True, START_GRACE_S + self._service.retry_s
                yield tried
            if pcm is None:
                quiet_s = now_s - heard_s
                limit_s = grace_s if heard_s == opened_s else self._service.stall_s
                if not said and quiet_s > min(START_SAID_S, limit_s):
                    said = True
                    yield no_device("stalled", f"no audio for {quiet_s:.1f} s")
                if quiet_s > limit_s:
                    return
                continue
            heard_s = now_s
            reading = clock.feed(len(pcm) // 2, now_s)
            if reading.fault != "none":
                self._suspect = reading.fault == "rate"
                yield no_device(reading.fault, f"audio is {reading.late_s:.1f} s late")
                return
            if self._suspect and now_s - opened_s < LOOK_S:
                continue
            self._suspect = False
            if not listening:
                listening, said = True, False
                self._framer.catch_up(now_s - len(pcm) / 2 / SAMPLE_RATE)
                yield SourceChange("listening", "none", capture.said())
            yield from capture.mixed()
            yield from self._framer.feed(pcm, reading, time.monotonic())


class _Capture:
    """The capture process and its two pipes; leaving the block kills it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lines: list[str] = []
        self._tried: SourceChange | None = None
        self._mixed: list[SourceChange] = []

    def __enter__(self) -> "_Capture":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = self._process.stdout, self._process.stderr
        os.set_blocking(self._err.fileno(), False)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process in the kernel's hands cannot be ended
            self._process.wait(REAP_S)
        self._out.close()
        self._err.close()

    def read(self) -> bytes | None:
        """The next bytes, none at the end, None if there are none now."""
        self._hear_errors()  # a process that nobody listens to blocks after 64 KiB of ALSA's complaints
        return os.read(self._out.fileno(), PIPE_BYTES) if readable(self._out.fileno(), POLL_S) else None

    def said(self) -> str:
        """The last line in which the process speaks of its device."""
        self._hear_errors()
        return next((line.removeprefix("capture: ") for line in self._lines[::-1] if line.startswith("capture: ")), "")

    def tried(self) -> SourceChange | None:
        """What came of the last try to open a device that it waits for, said once."""
        tried, self._tried = self._tried, None
        return tried

    def mixed(self) -> list[SourceChange]:
        """What its mix came to do without, each said once."""
        mixed, self._mixed = self._mixed, []
        return mixed

    def verdict(self) -> SourceChange:
        """Why the process ended: no such device (exit 69), or the device was lost."""
        try:
            code = self._process.wait(REAP_S)
        except subprocess.TimeoutExpired:
            code = None
        return no_device(
            "device-absent" if code == ABSENT else "device-lost",
            self.said() or f"the capture process ended with {code}",
        )

    def _hear_errors(self) -> None:
        said = self._err.read()
        for line in said.decode(errors="replace").splitlines() if said else ():
            if line.startswith(ABSENT_LINE):
                self._tried = no_device("device-absent", line.removeprefix(ABSENT_LINE))
            elif line.startswith(LOST_LINE):
                self._tried = no_device("device-lost", line.removeprefix(LOST_LINE))
            elif line.startswith(MIXED):
                self._mixed.append(left_out(frozenset(map(int, line.removeprefix(MIXED).split()))))
            self._lines = [*self._lines, line][-SAID_LINES:]
