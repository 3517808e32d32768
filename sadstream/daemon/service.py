"""The daemon's life: bind, load, listen, publish, stop. One thread, the main one, owns sockets and signals."""

import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from sadstream.audio.sources.source import Source
from sadstream.base import logs
from sadstream.base.errors import BusyError, SadstreamError, StalledError, UnavailableError
from sadstream.config import Config
from sadstream.config.reload import read_again
from sadstream.daemon.messages import (
    AnalyzedSegment,
    AudioGap,
    DroppedSegment,
    Load,
    ModelsDegraded,
    ModelsReady,
    ModelsReleased,
    ModelsRestored,
    Observed,
    Observer,
    RejectedSegment,
    Report,
    SourceChanged,
    SourceEnded,
    ThreadFailed,
)
from sadstream.daemon.pipeline.pipeline import Pipeline
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.stream import Stream
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.daemon.supervision.pause_file import PauseFile
from sadstream.daemon.supervision.signals import Signals
from sadstream.daemon.supervision.systemd import Notifier
from sadstream.daemon.supervision.watchdog import Watchdog
from sadstream.events import Event, Reason
from sadstream.events.control import DaemonReport, Word, control_path
from sadstream.scoring.mood.mood import NO_PLAN, MoodPlan

log = logging.getLogger("sadstream")

TICK_MS = 200  # the longest the loop sleeps
RELEASED = "the models are let go until somebody speaks (compute.release_after_s)"
STOP_S = 1.2  # for the segment in hand; with 0.5 s of linger a stop takes less than 2 s


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told beside its configuration."""

    pace_realtime: bool = True
    wait_subscriber_s: float = 0.0
    require_device: bool = False
    read_again: Callable[[], Config] | None = None  # the configuration, at SIGHUP
    is_cut: Callable[[], bool] = lambda: False  # from the terminal that it is to end with
    plan: MoodPlan = NO_PLAN
    notes: tuple[str, ...] = ()  # for whoever asks for the status
    pause_file: PauseFile | None = None  # where a pause outlives the run, if it may
    observers: tuple[Observer, ...] = ()


class BugError(Exception):
    """An exception in a thread of which the message must not be shown, because it may hold words."""


class Service:
    """One run of the daemon, from bound socket to last status."""

    def __init__(
        self, config: Config, sources: Sequence[Source], load: Load, options: RunOptions, publisher: Publisher
    ) -> None:
        self._config = config
        self._options = options
        self._publisher = publisher
        self._streams = {
            stream.name: Stream(stream.name, source.live, options.plan, config, partial(publisher.opening, stream.name))
            for stream, source in zip(config.stream, sources, strict=True)
        }
        self._pipeline = Pipeline(config, sources, load, options.pace_realtime)
        self._control = ControlSocket(control_path(publisher.endpoint), self._answer)
        self._control_open = True
        self._notifier = Notifier()
        self._signals = Signals(self._pipeline.signal_fd)
        self._watchdog = Watchdog(time.monotonic())
        self._stopping: Reason | None = None
        self._failure: Exception | None = None
        self._wait_until_s: float | None = None  # set when the models are ready
        self._listening = False
        self._ready = False
        self._released = False
        if options.pause_file is not None and options.pause_file.found(publisher.endpoint):
            self._pipeline.pause()
            for stream in self._streams.values():
                stream.facts.paused = True

    def run(self) -> bool:
        """Serve until the sources end or a signal comes; True if every thread ended. Raises what went wrong."""
        with ExitStack() as open_things:
            open_things.enter_context(self._publisher)
            open_things.enter_context(self._signals)
            wake = open_things.enter_context(select.epoll())
            wake.register(self._pipeline.wake_fd, select.EPOLLIN)
            self._open_control(open_things, wake)
            self._say_all()
            self._pipeline.start_analyzer()
            while self._stopping is None and self._failure is None and not self._finished():
                self._publisher.wait(TICK_MS, wake.fileno())
                self._tick()
            ended = self._shut_down()
        if ended:
            self._pipeline.close()
        if self._failure is not None:
            raise self._failure
        return ended

    def _open_control(self, open_things: ExitStack, wake: "select.epoll") -> None:
        try:
            open_things.enter_context(self._control)
            wake.register(self._control.fileno(), select.EPOLLIN)
        except BusyError as error:
            log.warning("no pause, resume and status: %s", error)
            self._control_open = False

    def _finished(self) -> bool:
        return all(stream.facts.ended for stream in self._streams.values())

    def _tick(self) -> None:
        for report in self._pipeline.reports():
            self._take(report)
        if self._control_open:
            self._control.serve()
        if self._options.is_cut():  # a microphone that nobody sees must not go on
            log.info("its terminal is gone; nohup, setsid or `sadstream service install` let it outlive one")
            self._stopping = "signal"
        elif self._signals.take_reload():
            self._reload()
        if self._signals.stop_wanted:
            self._stopping = "signal"
        self._maybe_listen()
        self._heartbeat()
        self._check_progress()

    def _take(self, report: Report) -> None:
        match report:
            case ModelsReady() | ModelsReleased() | ModelsRestored():
                self._models_are(report)
            case ModelsDegraded(_, detail, _, loading) if loading is not None:
                log.info("compute: %s", detail)
            case ModelsDegraded(reason, detail, compute) if compute is not None:
                log.warning("compute: %s (%s)", detail, compute, extra=logs.CHANGE)
                for stream in self._streams.values():
                    self._send(stream.asks(compute, away=reason != "none"))
            case ModelsDegraded(reason, detail):
                log.warning("models: %s (%s)", detail, reason, extra=logs.CHANGE)
                for stream in self._streams.values():
                    self._send(stream.short_of(reason))
            case ThreadFailed(error, private):
                self._failure = BugError(error) if private and not isinstance(error, SadstreamError) else error
            case SourceEnded(name, failure):
                self._streams[name].facts.ended = True
                self._failure = failure or self._failure
            case _:
                if isinstance(report, AudioGap | RejectedSegment | DroppedSegment):
                    self._observe(report)
                if isinstance(report, SourceChanged) and self._options.require_device:
                    self._failure = absent(report) or self._failure
                self._send(self._streams[report.stream].take(report))

    def _models_are(self, report: ModelsReady | ModelsReleased | ModelsRestored) -> None:
        """In memory for the first time, let go, or back."""
        match report:
            case ModelsReady():
                log.info("ready: Whisper %s on %s; weights under %s", report.whisper, report.device, report.licence)
                if report.terms:
                    log.warning("%s", report.terms)
                self._wait_until_s = time.monotonic() + self._options.wait_subscriber_s
            case ModelsReleased():
                log.info("%s", RELEASED, extra=logs.CHANGE)
            case ModelsRestored(took_s):
                log.info("the models are back, somebody speaks: loaded in %.1f s", took_s, extra=logs.CHANGE)
        self._released = isinstance(report, ModelsReleased)
        self._observe(report)

    def _send(self, events: Sequence[Event]) -> None:
        for event in events:
            self._publisher.send(event)
            self._observe(event)

    def _observe(self, what: Observed) -> None:
        for observer in self._options.observers:
            observer(what)

    def _say_all(self) -> None:
        for stream in self._streams.values():
            self._send([stream.status()])

    def _maybe_listen(self) -> None:
        if self._wait_until_s is None:
            return
        if not self._listening and (self._publisher.has_score_subscriber or time.monotonic() >= self._wait_until_s):
            self._listening = True
            self._pipeline.start_readers()
        facts = [stream.facts for stream in self._streams.values()]
        if not self._ready and all(one.source.state != "starting" or one.ended or one.paused for one in facts):
            self._ready = True
            self._notifier.ready()

    def _heartbeat(self) -> None:
        due_s = time.monotonic() - self._config.service.heartbeat_s + TICK_MS / 1000
        for stream in self._streams.values():
            self._send(stream.heartbeat(due_s))
        self._notifier.status("; ".join(stream.summary() for stream in self._streams.values()))

    def _check_progress(self) -> None:
        """Feed systemd's watchdog while capture and analysis get on; end with 75 when one of them hangs."""
        silent_s = {
            name: self._pipeline.silent_s(name, stream.facts.frames_due)
            for name, stream in self._streams.items()
            if not stream.facts.ended
        }
        limit_s, busy_s = self._config.service.hang_s, self._pipeline.busy_s()
        hung = self._watchdog.hung(time.monotonic(), limit_s, busy_s, silent_s)
        if hung is not None:
            self._failure = StalledError(f"{hung}: expected progress (service.hang_s); start sadstream again")
        else:
            self._notifier.progress()

    def _answer(self, word: Word) -> DaemonReport:
        if word != "status":
            log.info("%s, by its user", word, extra=logs.CHANGE)
            (self._pipeline.pause if word == "pause" else self._pipeline.resume)()
            if self._options.pause_file is not None:
                self._options.pause_file.keep(word == "pause")
            for stream in self._streams.values():
                self._send(stream.pause() if word == "pause" else stream.resume())
        return DaemonReport(
            pid=os.getpid(),
            endpoint=self._publisher.endpoint,
            words=self._config.publish.text,
            streams=tuple(stream.report() for stream in self._streams.values()),
            notes=self._options.notes
            + (() if self._options.pause_file is None else self._options.pause_file.notes)
            + ((RELEASED,) if self._released else ()),
        )

    def _reload(self) -> None:
        if self._options.read_again is None:
            log.warning("nothing to read again: started without a configuration file")
            return
        self._notifier.reloading()
        self._config = read_again(self._config, self._options.read_again)
        for stream in self._streams.values():
            stream.config = self._config
        self._pipeline.release_after(self._config.compute.release_after_s)
        self._notifier.ready()

    def _shut_down(self) -> bool:
        log.info("stopping (%s)", self._stopping or "none")  # whatever ends without this line was killed
        self._notifier.stopping()
        ended = self._pipeline.stop(STOP_S)
        for report in self._pipeline.reports():
            if isinstance(report, AnalyzedSegment):
                self._take(report)
        for stream in self._streams.values():
            self._send(stream.flush())
            stream.facts.stopping = self._stopping or "none"
        self._say_all()
        return ended


def absent(report: SourceChanged) -> UnavailableError | None:
    """The failure of a device that is not there, where it has to be."""
    if report.change.reason != "device-absent":
        return None
    return UnavailableError(f"{report.stream}: {report.change.detail} (--require-device)")
