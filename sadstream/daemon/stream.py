"""One stream of the daemon: what is known of it, the one state that is published of it, and what is said of it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sadstream.audio.sources.source import SourceChange
from sadstream.base import logs
from sadstream.config import Config
from sadstream.daemon.messages import (
    AnalyzedSegment,
    AudioGap,
    DroppedSegment,
    RejectedSegment,
    SignalFault,
    SignalNote,
    SourceChanged,
)
from sadstream.daemon.pipeline.pipeline import MAX_AGE_S
from sadstream.events import Episode, Event, Reason, Score, State, Status
from sadstream.events.control import StreamReport
from sadstream.events.types import HEARING, Compute, EventName, is_heard
from sadstream.scoring.analysis import latency, make_score
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.mood.mood import Mood, MoodPlan

log = logging.getLogger("sadstream")

RTF_WEIGHT = 0.2  # of the newest segment in the running real-time factor
STARTING = SourceChange("starting", "none")
OVERLOADED: tuple[State, Reason] = ("overloaded", "slow")


@dataclass(slots=True)
class StreamState:
    """Facts by the one who states them; the worst of them is the stream's state."""

    source: SourceChange = STARTING
    signal_fault: Reason = "none"  # by the signal's health
    short_of: Reason = "none"  # by the models
    compute: Compute | None = None  # whose models are asked, where there are others
    away: bool = False  # those that should be asked do not answer
    overloaded: bool = False
    paused: bool = False
    stopping: Reason | None = None
    dropped: int = 0
    gaps: int = 0
    segments: int = 0
    no_speech: int = 0  # closed by the voice activity detector, and held no speech
    strangers: int = 0  # held the speech of nobody who is to be scored
    rtf: float = 0.0
    ended: bool = False

    @property
    def state(self) -> tuple[State, Reason]:
        """State and reason, as on the wire."""
        if self.stopping is not None:
            return "stopping", self.stopping
        if self.paused:
            return "paused", "user"
        if self.source.state != "listening":
            return self.source.state, self.source.reason
        if self.overloaded:
            return OVERLOADED
        reason = self.signal_fault if self.signal_fault != "none" else self.short_of
        if reason == "none" and self.away:
            reason = "slow"
        return ("listening", "none") if reason == "none" else ("degraded", reason)

    @property
    def frames_due(self) -> bool:
        """Its source has to give audio."""
        return self.state[0] in HEARING

    @property
    def flows(self) -> bool:
        """Audio with somebody in it can be heard and is scored."""
        return is_heard(*self.state)

    def analyzed(self, busy_s: float, audio_s: float, waiting: int) -> None:
        """A segment is scored."""
        rtf = busy_s / audio_s
        self.rtf = rtf if self.segments == 0 else (1 - RTF_WEIGHT) * self.rtf + RTF_WEIGHT * rtf
        self.segments += 1
        self.overloaded = self.overloaded and waiting > 0

    def rejected(self, waiting: int, stranger: bool) -> None:
        """A segment held no speech, or somebody else's: it counts for nothing but this."""
        self.no_speech += not stranger
        self.strangers += stranger
        self.overloaded = self.overloaded and waiting > 0

    def resumed(self, live: bool) -> None:
        """The pause is over; a live source has to open its device again."""
        self.paused = False
        if live:
            self.source = STARTING


class Stream:
    """Reports of its threads in, events to send out: scores, the episodes in them, and each change of its state.

    opening: the fields that its next event of a type begins with.
    """

    def __init__(
        self, name: str, live: bool, plan: MoodPlan, config: Config, opening: Callable[[EventName], dict[str, Any]]
    ) -> None:
        self.name = name
        self.facts = StreamState(compute="remote" if config.compute.device == "remote" else None)
        self.config = config  # its threshold may be newer than the models
        self._live = live
        self._plan = plan
        self._mood = Mood(plan)
        self._opening = opening
        self._said: tuple[State, Reason] | None = None
        self._said_s = 0.0
        self._heard: tuple[float, float] | None = None  # where the last score ended, and when that was in hand
        self._model = ""  # of the last score: an episode comes after one

    def take(
        self,
        report: AnalyzedSegment
        | RejectedSegment
        | SourceChanged
        | SignalFault
        | SignalNote
        | AudioGap
        | DroppedSegment,
    ) -> list[Event]:
        """What is to be said after a report of this stream."""
        match report:
            case AnalyzedSegment():
                return self._score(report)
            case RejectedSegment(_, waiting, stranger):
                self.facts.rejected(waiting, stranger)
            case SourceChanged(_, change):
                self._change(change)
            case SignalFault(_, reason):
                log.warning("%s: signal: %s", self.name, reason, extra=logs.CHANGE)
                self.facts.signal_fault = reason
            case SignalNote(_, what):
                log.warning("%s: signal: %s", self.name, what, extra=logs.CHANGE)
            case AudioGap(_, t):
                self.facts.gaps += 1
                log.warning("%s: audio was lost before t = %.2f s", self.name, t)
            case DroppedSegment(_, stale, away):
                self._drop(stale, away)
        return self._news()

    def short_of(self, reason: Reason) -> list[Event]:
        """The models lack this, or `none`."""
        self.facts.short_of = reason
        return self._news()

    def asks(self, compute: Compute, away: bool) -> list[Event]:
        """From now on these models are asked; `away` where they are not the ones that should be."""
        self.facts.compute, self.facts.away = compute, away
        return [self.status()]

    def pause(self) -> list[Event]:
        """Its source is closed until `resume`."""
        self.facts.paused = True
        return self._news()

    def resume(self) -> list[Event]:
        """It may listen again."""
        if self.facts.paused:
            self.facts.resumed(self._live)
        return self._news()

    def heartbeat(self, due_s: float) -> list[Event]:
        """Its state, if it was last said before then; an episode ends in silence too."""
        return [self.status(), *self._elapse()] if self._said_s <= due_s else []

    def flush(self) -> list[Event]:
        """Nothing more will be heard of it: the episode that is still on ends."""
        return self._episodes(self._mood.flush())

    def status(self) -> Status:
        """Its state, to be sent now."""
        state, reason = self._said = self.facts.state
        self._said_s = time.monotonic()
        return Status(
            **self._opening(Status.type),
            state=state,
            reason=reason,
            dropped=self.facts.dropped,
            rtf=self.facts.rtf,
            compute=self.facts.compute,
        )

    def report(self) -> StreamReport:
        """It as whoever asks over the control socket is told of it."""
        facts = self.facts
        return StreamReport(
            stream=self.name, state=facts.state[0], reason=facts.state[1], flows=facts.flows, dropped=facts.dropped,
            gaps=facts.gaps, segments=facts.segments, no_speech=facts.no_speech, strangers=facts.strangers,
            rtf=round(facts.rtf, 4),
        )  # fmt: skip

    def summary(self) -> str:
        """It in a few words, for systemd."""
        facts = self.facts
        return (
            f"{self.name}: {facts.state[0]} ({facts.state[1]}), real-time factor {facts.rtf:.2f}, "
            f"{facts.segments} scored, {facts.no_speech} without speech, {facts.strangers} by others, "
            f"{facts.dropped} dropped"
        )

    def _score(self, report: AnalyzedSegment) -> list[Event]:
        analysis, segment, threshold = report.analysis, report.segment, self.config.model.threshold
        if threshold is not None:
            analysis = replace(analysis, threshold=threshold)
        updates: Sequence[EpisodeUpdate] = ()
        if analysis.provisional:
            analysis = self._mood.early(analysis)
        else:
            analysis, updates = self._mood.feed(analysis, segment.t_start, segment.t_end)
        opening, spent = self._opening(Score.type), latency(report.timing, analysis)
        score = make_score(opening, segment, analysis, spent, self.facts.dropped, self.config.publish)
        if analysis.provisional:
            return [score]
        self._heard, self._model = (segment.t_end, segment.arrived_s), analysis.model
        self.facts.analyzed(report.busy_s, segment.t_end - segment.t_start, report.waiting)
        return [score, *self._episodes(updates), *self._news()]

    def _episodes(self, updates: Sequence[EpisodeUpdate]) -> list[Event]:
        alarms = self._plan.false_alarms_h
        return [
            Episode(**self._opening(Episode.type), **asdict(update), false_alarms_h=alarms, model=self._model)
            for update in updates
        ]

    def _elapse(self) -> list[Event]:
        """What is still being analysed is waited for."""
        if self._heard is None or not self._live:
            return []
        t_end, arrived_s = self._heard
        return self._episodes(self._mood.elapse(t_end + time.monotonic() - arrived_s - MAX_AGE_S))

    def _change(self, change: SourceChange) -> None:
        before, self.facts.source = self.facts.source, change
        level = logging.INFO if change.state == "listening" else logging.WARNING
        new = (change.state, change.reason) != (before.state, before.reason)
        kind = logs.CHANGE if new else logs.about(self.name, change.state, change.reason)
        level = logging.DEBUG if change == before else level  # tried again, to the same end
        log.log(level, "%s: %s (%s) %s", self.name, change.state, change.reason, change.detail, extra=kind)

    def _drop(self, stale: bool, away: str) -> None:
        self.facts.dropped += 1
        if away:
            log.warning(
                "%s: segment dropped: %s; dropped %d",
                self.name, away, self.facts.dropped, extra=logs.about(self.name, away),
            )  # fmt: skip
            return
        log.warning(
            "%s: segment dropped, %s: real-time factor %.2f (allowed 1.00), dropped %d",
            self.name, "too old" if stale else "overload", self.facts.rtf, self.facts.dropped,
            extra=logs.about(self.name) if self.facts.overloaded else logs.CHANGE,
        )  # fmt: skip
        self.facts.overloaded = True

    def _news(self) -> list[Event]:
        """Its state, if it is another than what was said last."""
        before, now = self._said, self.facts.state
        if now == before:
            return []
        if before == OVERLOADED:  # the beginning was said with the first segment that was dropped
            log.info("%s: %s (%s) after an overload", self.name, *now, extra=logs.CHANGE)
        return [self.status()]
