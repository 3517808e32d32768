"""The daemon's life: bind, load, listen, publish, stop. One thread, the main one, owns sockets and signals."""

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace

from sadstream.audio.sources.source import Source
from sadstream.base import logs
from sadstream.base.errors import BusyError, SadstreamError, StalledError, UnavailableError
from sadstream.config import Config
from sadstream.config.reload import reload
from sadstream.daemon.messages import (
    Analyzed,
    Changed,
    Degraded,
    Dropped,
    Ended,
    Failed,
    Felt,
    Gap,
    Load,
    Noticed,
    Ready,
    Rejected,
    Report,
)
from sadstream.daemon.pipeline.pipeline import MAX_AGE_S, Pipeline
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.streams import StreamState
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.daemon.supervision.hold import Hold
from sadstream.daemon.supervision.systemd import Notifier
from sadstream.events import Episode, Reason, Score, State, Status
from sadstream.events.control import DaemonReport, StreamReport, Word, control_path
from sadstream.scoring.analysis import latency, make_score
from sadstream.scoring.mood.episodes import Turn
from sadstream.scoring.mood.mood import NO_PLAN, Mood, MoodPlan

log = logging.getLogger("sadstream")

TICK_MS = 200  # the longest the loop sleeps
STOP_S = 1.2  # for the segment in hand; with 0.5 s of linger a stop takes less than 2 s
OVERLOADED: tuple[State, Reason] = ("overloaded", "slow")
ABSENCE_S = 1.0  # a loop that was away for longer (SIGSTOP, suspend) first lets the others catch up


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
    hold: Hold | None = None  # where a pause outlives the run, if it may
    observers: tuple[Callable[[Score | Status | Gap], None], ...] = ()  # of all that is said


class BugError(Exception):
    """An exception in a thread of which the message must not be shown, because it may hold words."""


class Service:
    """One run of the daemon, from bound socket to last status."""

    def __init__(
        self, config: Config, sources: Sequence[Source], load: Load, options: RunOptions, publisher: Publisher
    ) -> None:
        self._config = config
        self._options = options
        self._streams = {stream.name: StreamState() for stream in config.stream}
        self._moods = {stream.name: Mood(options.plan) for stream in config.stream}
        self._live = {stream.name: source.live for stream, source in zip(config.stream, sources, strict=True)}
        self._said: dict[str, tuple[State, Reason]] = {}
        self._said_s: dict[str, float] = {}
        self._pipeline = Pipeline(config, sources, load, options.pace_realtime)
        self._publisher = publisher
        self._control = ControlSocket(control_path(publisher.endpoint), self._answer)
        self._control_open = True
        self._notifier = Notifier()
        self._heard: dict[str, tuple[float, float]] = {}  # where the last score ended, and when
        self._model = ""  # of the last score: an episode comes after one
        self._stopping: Reason | None = None
        self._reload_wanted = False
        self._failure: Exception | None = None
        self._wait_until_s: float | None = None  # set when the models are ready
        self._listening = False
        self._ready = False
        self._ticked_s = self._judges_from_s = time.monotonic()
        self._notes: tuple[str, ...] = ()  # of the pause
        if options.hold is not None and options.hold.is_on():
            self._start_paused(options.hold)

    def _start_paused(self, hold: Hold) -> None:
        """Open nothing: somebody paused the daemon before this start, and nobody has resumed it since."""
        why = hold.fault or f"paused {f'since {since}' if (since := hold.since()) else 'before this start'}"
        self._notes = (f"{why}; `sadstream resume {self._publisher.endpoint}` lets it listen",)
        log.warning("%s", self._notes[0], extra=logs.CHANGE)
        self._pipeline.pause()
        for stream in self._streams.values():
            stream.paused = True

    def run(self) -> bool:
        """Serve until the sources end or a signal comes; True if every thread ended. Raises what went wrong."""
        with ExitStack() as open_things:
            open_things.enter_context(self._publisher)
            open_things.enter_context(self._signals())
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

    def _open_control(self, open_things: ExitStack, wake: select.epoll) -> None:
        try:
            open_things.enter_context(self._control)
            wake.register(self._control.fileno(), select.EPOLLIN)
        except BusyError as error:
            log.warning("no pause, resume and status: %s", error)
            self._control_open = False

    def _finished(self) -> bool:
        return all(stream.ended for stream in self._streams.values())

    def _tick(self) -> None:
        for report in self._pipeline.reports():
            self._take(report)
        if self._control_open:
            self._control.serve()
        if self._options.is_cut():  # a microphone that nobody sees must not go on
            log.info("its terminal is gone; nohup, setsid or `sadstream service install` let it outlive one")
            self._stopping = "signal"
        elif self._reload_wanted:
            self._reload_wanted = False
            self._reload()
        self._maybe_listen()
        self._heartbeat()
        self._check_progress()

    def _take(self, report: Report) -> None:
        match report:
            case Ready():
                log.info("ready: Whisper %s on %s; weights under %s", report.whisper, report.device, report.licence)
                if report.terms:
                    log.warning("%s", report.terms)
                self._wait_until_s = time.monotonic() + self._options.wait_subscriber_s
            case Degraded(reason, detail):
                log.warning("models: %s (%s)", detail, reason, extra=logs.CHANGE)
                for name, stream in self._streams.items():
                    stream.short_of = reason
                    self._update(name)
            case Failed(error, private):
                self._failure = BugError(error) if private and not isinstance(error, SadstreamError) else error
            case Analyzed():
                self._publish(report)
            case Rejected(name, waiting, stranger):
                self._streams[name].rejected(waiting, stranger)
                self._update(name)
            case Ended(stream, failure):
                self._streams[stream].ended = True
                self._failure = failure or self._failure
            case _:
                self._take_fault(report)

    def _take_fault(self, report: Changed | Felt | Noticed | Gap | Dropped) -> None:
        stream = self._streams[report.stream]
        match report:
            case Changed(name, change):
                level = logging.INFO if change.state == "listening" else logging.WARNING
                new = (change.state, change.reason) != (stream.source.state, stream.source.reason)
                kind = logs.CHANGE if new else logs.about(name, change.state, change.reason)
                level = logging.DEBUG if change == stream.source else level  # tried again, to the same end
                log.log(level, "%s: %s (%s) %s", name, change.state, change.reason, change.detail, extra=kind)
                stream.source = change
                if change.reason == "device-absent" and self._options.require_device:
                    self._failure = UnavailableError(f"{name}: {change.detail} (--require-device)")
            case Felt(name, reason):
                log.warning("%s: signal: %s", name, reason, extra=logs.CHANGE)
                stream.felt = reason
            case Noticed(name, what):
                log.warning("%s: signal: %s", name, what, extra=logs.CHANGE)
            case Gap(name, t):
                stream.gaps += 1
                log.warning("%s: audio was lost before t = %.2f s", name, t)
                self._observe(report)
            case Dropped(name, stale):
                stream.dropped += 1
                log.warning(
                    "%s: segment dropped, %s: real-time factor %.2f (allowed 1.00), dropped %d",
                    name, "too old" if stale else "overload", stream.rtf, stream.dropped,
                    extra=logs.about(name) if stream.overloaded else logs.CHANGE,
                )  # fmt: skip
                stream.overloaded = True
        self._update(report.stream)

    def _publish(self, report: Analyzed) -> None:
        stream = self._streams[report.stream]
        analysis = report.analysis
        self._model = analysis.model
        if self._config.model.threshold is not None:  # it may be newer than the models
            analysis = replace(analysis, threshold=self._config.model.threshold)
        segment = replace(report.segment, number=report.segment.number - stream.unscored)
        mood, turns = self._moods[report.stream], list[Turn]()
        if analysis.provisional:
            analysis = mood.early(analysis)
        else:
            analysis, turns = mood.feed(analysis, segment.t_start, segment.t_end)
        opening, spent = self._publisher.opening(report.stream, Score.type), latency(report.timing, analysis)
        event = make_score(opening, segment, analysis, spent, stream.dropped, self._config.publish.text)
        self._observe(self._publisher.send(event))
        if event.provisional:
            return
        self._tell(report.stream, turns)
        self._heard[report.stream] = segment.t_end, segment.arrived_s
        stream.analyzed(report.busy_s, segment.t_end - segment.t_start, report.waiting)
        self._update(report.stream)

    def _tell(self, name: str, turns: list[Turn]) -> None:
        """Say how the episodes went on."""
        for turn in turns:
            opening = self._publisher.opening(name, Episode.type)
            alarms = self._options.plan.false_alarms_h
            self._publisher.send(Episode(**opening, **asdict(turn), false_alarms_h=alarms, model=self._model))

    def _elapse(self, name: str) -> None:
        """An episode ends in silence too; what is still being analysed is waited for."""
        if name in self._heard and self._live[name]:
            t_end, arrived_s = self._heard[name]
            self._tell(name, self._moods[name].elapse(t_end + time.monotonic() - arrived_s - MAX_AGE_S))

    def _update(self, name: str) -> None:
        """Say a stream's state if it is another than what was said last."""
        before, now = self._said.get(name), self._streams[name].state
        if now != before:
            if before == OVERLOADED:  # the beginning was said with the first segment that was dropped
                log.info("%s: %s (%s) after an overload", name, *now, extra=logs.CHANGE)
            self._say(name)

    def _say(self, name: str) -> None:
        stream = self._streams[name]
        state, reason = self._said[name] = stream.state
        self._said_s[name] = time.monotonic()
        opening = self._publisher.opening(name, Status.type)
        status = Status(**opening, state=state, reason=reason, dropped=stream.dropped, rtf=stream.rtf)
        self._observe(self._publisher.send(status))

    def _say_all(self) -> None:
        for name in self._streams:
            self._say(name)

    def _observe(self, event: Score | Status | Gap) -> None:
        for observer in self._options.observers:
            observer(event)

    def _maybe_listen(self) -> None:
        if self._wait_until_s is None:
            return
        if not self._listening and (self._publisher.has_score_subscriber or time.monotonic() >= self._wait_until_s):
            self._listening = True
            self._pipeline.start_readers()
        if not self._ready and all(s.source.state != "starting" or s.ended or s.paused for s in self._streams.values()):
            self._ready = True
            self._notifier.ready()

    def _heartbeat(self) -> None:
        due_s = time.monotonic() - self._config.service.heartbeat_s + TICK_MS / 1000
        for name, said_s in self._said_s.items():
            if said_s <= due_s:
                self._say(name)
                self._elapse(name)
        self._notifier.status(
            "; ".join(
                f"{name}: {s.state[0]} ({s.state[1]}), real-time factor {s.rtf:.2f}, {s.segments} scored, "
                f"{s.no_speech} without speech, {s.strangers} by others, {s.dropped} dropped"
                for name, s in self._streams.items()
            )
        )

    def _check_progress(self) -> None:
        """Feed the watchdog while capture and analysis get on; end with 75 when one of them hangs."""
        now_s, limit_s = time.monotonic(), self._config.service.hang_s
        if now_s - self._ticked_s > ABSENCE_S:
            self._judges_from_s = now_s + limit_s
        self._ticked_s = now_s
        if now_s < self._judges_from_s:
            self._notifier.progress()
            return
        hung = f"the analyser has been at one segment for {limit_s:g} s" if self._pipeline.busy_s() > limit_s else None
        for name, stream in self._streams.items():
            frames_due = stream.state[0] in ("listening", "overloaded", "degraded")
            if not stream.ended and self._pipeline.silent_s(name, frames_due) > limit_s:
                hung = f"{name}: its reader has hung for {limit_s:g} s"
        if hung is not None:
            self._failure = StalledError(f"{hung}: expected progress (service.hang_s); start sadstream again")
        else:
            self._notifier.progress()

    def _answer(self, word: Word) -> DaemonReport:
        if word != "status":
            log.info("%s, by its user", word, extra=logs.CHANGE)
            (self._pipeline.pause if word == "pause" else self._pipeline.resume)()
            self._keep(word == "pause")
            for name, stream in self._streams.items():
                if word == "pause":
                    stream.paused = True
                elif stream.paused:
                    stream.resumed(self._live[name])
                self._update(name)
        return DaemonReport(
            pid=os.getpid(),
            endpoint=self._publisher.endpoint,
            words=self._config.publish.text,
            streams=tuple(
                StreamReport(
                    stream=name, state=s.state[0], reason=s.state[1], flows=s.flows,
                    dropped=s.dropped, gaps=s.gaps, segments=s.segments, no_speech=s.no_speech, strangers=s.strangers,
                    rtf=round(s.rtf, 4),
                )
                for name, s in self._streams.items()
            ),
            notes=(*self._options.notes, *self._notes),
        )  # fmt: skip

    def _keep(self, paused: bool) -> None:
        """Let the pause hold over crash and restart, or end there too."""
        hold = self._options.hold
        if hold is None or hold.set(paused):
            self._notes = ("paused until `sadstream resume`, over restarts too",) if paused and hold else ()
            return
        end = "so the pause ends with this run" if paused else "so the next start is paused again"
        self._notes = (f"{hold.fault}, {end}; make the folder writable and say it again",)
        log.error("%s", self._notes[0], extra=logs.CHANGE)

    def _reload(self) -> None:
        """Take over the configuration as it is now, all of it that can be, or nothing of it."""
        if self._options.read_again is None:
            log.warning("nothing to read again: started without a configuration file")
            return
        self._notifier.reloading()
        try:
            change = reload(self._config, self._options.read_again())
        except SadstreamError as error:
            log.error("the configuration stays as it was: %s", error)
        else:
            self._config = change.config
            log.info("configuration read again; changed: %s", ", ".join(change.changed) or "nothing")
            if change.waiting:
                log.warning("waiting for a restart: %s", ", ".join(change.waiting))
        self._notifier.ready()

    def _shut_down(self) -> bool:
        log.info("stopping (%s)", self._stopping or "none")  # whatever ends without this line was killed
        self._notifier.stopping()
        ended = self._pipeline.stop(STOP_S)
        for report in self._pipeline.reports():
            if isinstance(report, Analyzed):
                self._publish(report)
        for name, mood in self._moods.items():
            self._tell(name, mood.flush())
        for stream in self._streams.values():
            stream.stopping = self._stopping or "none"
        self._say_all()
        return ended

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run, SIGHUP reads the configuration again, all at the next tick.

        A SIGHUP because the terminal went away ends it too: the tick looks for that first.
        """

        def stop(_number: int, _frame: object) -> None:
            self._stopping = "signal"

        def read_again(_number: int, _frame: object) -> None:
            self._reload_wanted = True

        wanted = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: read_again}
        before = {number: signal.signal(number, action) for number, action in wanted.items()}
        wakeup = signal.set_wakeup_fd(self._pipeline.signal_fd, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, action in before.items():
                signal.signal(number, action)
