"""The daemon's life: bind, load, listen, publish, stop. One thread, the main one, owns the socket and the signals."""

import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sadstream.config import Config
from sadstream.errors import UnavailableError
from sadstream.events import Reason, State
from sadstream.pipeline import Analyzed, Changed, Dropped, Ended, Failed, Load, Pipeline, Ready, Report
from sadstream.publish import Publisher
from sadstream.sources import Source

log = logging.getLogger("sadstream")

TICK_MS = 200  # the longest the loop sleeps
STOP_S = 1.2  # for the segment in hand; with 0.5 s of linger a stop takes less than 2 s
RTF_WEIGHT = 0.2  # of the newest segment in the running real-time factor


@dataclass(slots=True)
class StreamState:
    """What the daemon knows of one stream."""

    state: State = "starting"
    reason: Reason = "none"
    dropped: int = 0
    rtf: float = 0.0
    said_s: float = 0.0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told beside its configuration."""

    pace_realtime: bool = True
    wait_subscriber_s: float = 0.0
    require_device: bool = False


class Service:
    """One run of the daemon, from bound socket to last status."""

    def __init__(self, config: Config, sources: Sequence[Source], load: Load, options: RunOptions) -> None:
        self._config = config
        self._options = options
        self._streams = {stream.name: StreamState() for stream in config.stream}
        self._pipeline = Pipeline(config, sources, load, options.pace_realtime)
        self._publisher = Publisher(config.publish.endpoint)
        self._stopping: Reason | None = None
        self._failure: Exception | None = None
        self._wait_until_s: float | None = None  # set when the models are ready
        self._listening = False

    def run(self) -> bool:
        """Serve until the sources end or a signal comes; True if every thread ended. Raises what went wrong."""
        with self._publisher, self._signals():
            self._say_all()
            self._pipeline.start_analyzer()
            while self._stopping is None and self._failure is None and not self._finished():
                self._publisher.wait(TICK_MS, self._pipeline.wake_fd)
                for report in self._pipeline.reports():
                    self._take(report)
                self._maybe_listen()
                self._heartbeat()
            ended = self._shut_down()
        if self._failure is not None:
            raise self._failure
        return ended

    def _finished(self) -> bool:
        return all(stream.ended for stream in self._streams.values())

    def _take(self, report: Report) -> None:
        match report:
            case Ready():
                log.info("ready: Whisper %s on %s", report.whisper, report.device)
                self._wait_until_s = time.monotonic() + self._options.wait_subscriber_s
            case Changed(stream, change):
                log.log(
                    logging.INFO if change.state == "listening" else logging.WARNING,
                    "%s: %s (%s) %s",
                    stream,
                    change.state,
                    change.reason,
                    change.detail,
                )
                self._change(stream, change.state, change.reason)
                if change.reason == "device-absent" and self._options.require_device:
                    self._failure = UnavailableError(f"{stream}: {change.detail} (--require-device)")
            case Analyzed():
                self._publish(report)
            case Dropped(stream):
                self._streams[stream].dropped += 1
                self._change(stream, "overloaded", "slow")
            case Ended(stream):
                self._streams[stream].ended = True
            case Failed(error):
                self._failure = error

    def _publish(self, report: Analyzed) -> None:
        stream = self._streams[report.stream]
        self._publisher.send_score(
            report.stream, report.segment, report.analysis, report.timing, stream.dropped, self._config.publish.text
        )
        rtf = report.busy_s / (report.segment.t_end - report.segment.t_start)
        stream.rtf = rtf if stream.rtf == 0.0 else (1 - RTF_WEIGHT) * stream.rtf + RTF_WEIGHT * rtf
        if stream.state == "overloaded" and report.timing.queue_ms < 1000 * report.busy_s:
            self._change(report.stream, "listening", "none")

    def _change(self, name: str, state: State, reason: Reason) -> None:
        stream = self._streams[name]
        if (stream.state, stream.reason) != (state, reason):
            stream.state, stream.reason = state, reason
            self._say(name)

    def _maybe_listen(self) -> None:
        if self._listening or self._wait_until_s is None:
            return
        if self._publisher.has_score_subscriber or time.monotonic() >= self._wait_until_s:
            self._listening = True
            self._pipeline.start_readers()

    def _heartbeat(self) -> None:
        now = time.monotonic()
        for name, stream in self._streams.items():
            if now - stream.said_s >= self._config.service.heartbeat_s - TICK_MS / 1000:
                self._say(name)

    def _say(self, name: str) -> None:
        stream = self._streams[name]
        self._publisher.send_status(name, stream.state, stream.reason, stream.dropped, stream.rtf)
        stream.said_s = time.monotonic()

    def _say_all(self) -> None:
        for name in self._streams:
            self._say(name)

    def _shut_down(self) -> bool:
        ended = self._pipeline.stop(STOP_S)
        for report in self._pipeline.reports():
            if isinstance(report, Analyzed):
                self._publish(report)
        for stream in self._streams.values():
            stream.state, stream.reason = "stopping", self._stopping or "none"
        self._say_all()
        return ended

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run at the next tick; what was installed before is put back."""

        def stop(_number: int, _frame: object) -> None:
            self._stopping = "signal"

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        wakeup = signal.set_wakeup_fd(self._pipeline.signal_fd, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
