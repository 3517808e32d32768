"""What a watcher knows of one stream, and what to call it: listening, deaf, paused, gone; pure."""

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sadstream.client.follower import Finding, Gap, Restart, Stale
from sadstream.events import HEARTBEAT_S, Episode, Event, Reason, Score, State, Status
from sadstream.views.watch.strip import Strip

LATE_S = HEARTBEAT_S + 1.5  # a heartbeat is overdue, and it is said
LATENCIES = 100  # scores that the median is of

Tone = Literal["good", "warning", "bad"]
SENTENCES: Mapping[Reason, str] = {
    "none": "",
    "device-lost": "the microphone or the sound server went away",
    "device-absent": "there is no such microphone",
    "stalled": "the microphone gives no sound",
    "muted": "the microphone gives zeros only; is it muted?",
    "constant": "the microphone gives one value only",
    "clipped": "the microphone is too loud",
    "rate": "the microphone is not as fast as the clock",
    "slow": "analysis is slower than speech; the oldest segments are dropped",
    "gpu-memory": "the models run smaller than configured",
    "user": "the microphone is closed",
    "signal": "it was told to end",
}
UNHEARD: frozenset[Reason] = frozenset({"muted", "constant"})  # degraded, and nobody can be heard


@dataclass(frozen=True, slots=True)
class StreamCondition:
    """A stream's condition in one word and a sentence."""

    word: str
    sentence: str
    tone: Tone
    age: str = ""


WAITING = StreamCondition("WAITING", "no daemon has said anything yet", "warning")


class WatchedStream:
    """One stream as its events and findings come."""

    __slots__ = (
        "_clock_s",
        "_heard_s",
        "_latencies",
        "_since_s",
        "_stale",
        "episode",
        "lost",
        "score",
        "status",
        "strip",
    )

    def __init__(self) -> None:
        self.strip = Strip()
        self.score: Score | None = None
        self.status: Status | None = None
        self.episode: Episode | None = None
        self.lost = 0  # events that never arrived
        self._clock_s = 0.0  # the daemon's, as its newest event has it
        self._since_s = 0.0  # by that clock, when its state last changed
        self._heard_s = 0.0  # of ours
        self._stale = False
        self._latencies: deque[float] = deque(maxlen=LATENCIES)

    def event(self, event: Event, now_s: float) -> None:
        """Take an event that came at this moment."""
        self._heard_s, self._clock_s, self._stale = now_s, event.monotonic_s, False
        match event:
            case Score():
                self.score = event
                self.strip.score(event)
                self._latencies.append(event.latency_ms.total)
            case Episode():
                self.episode = event
                self.strip.episode(event)
            case Status():
                self._status(event)

    def finding(self, finding: Finding) -> None:
        """Take what the reader found between events."""
        match finding:
            case Gap():
                self.lost += finding.missed
                if finding.event_type == Score.type:
                    self.strip.cut("lost")
            case Restart():
                self.episode = None
                self.strip.cut("restart")
            case Stale():
                self._stale = True

    def condition(self, now_s: float) -> StreamCondition:
        """What to call it now; whatever is not heard is said first."""
        silent_s = now_s - self._heard_s
        silent, status = f"silent for {silent_s:.0f} s", self.status
        if self._stale and status is not None and status.state == "stopping":
            return StreamCondition("ENDED", "the daemon had ended", "bad", silent)
        if self._stale:
            return StreamCondition("GONE", "the daemon is dead or cannot be reached", "bad", silent)
        if status is None:
            return StreamCondition("WAITING", "no status yet", "warning")
        said = condition_of(status.state, status.reason)
        if silent_s > LATE_S:
            return replace(said, age=silent, tone="warning" if said.tone == "good" else said.tone)
        return replace(said, age=f"for {span(self._clock_s - self._since_s + silent_s)}")

    def latency(self) -> str:
        """The newest score's milliseconds from its last sample, and what is usual."""
        if not self._latencies:
            return "latency -"
        usual, worst = statistics.median(self._latencies), max(self._latencies)
        return f"latency {self._latencies[-1]:.0f} ms, median {usual:.0f}, worst {worst:.0f}"

    def health(self) -> str:
        """Segments that the daemon dropped, events lost on the way, and processing time / audio time."""
        dropped = self.status.dropped if self.status else 0
        factor = f"{self.status.rtf:.2f}" if self.status else "-"
        return f"dropped {dropped}  lost {self.lost}  real-time factor {factor}  {self.latency()}"

    def _status(self, status: Status) -> None:
        before = self.status
        if before is None or (before.session, before.state, before.reason) != (
            status.session,
            status.state,
            status.reason,
        ):
            self._since_s = status.monotonic_s
            if before is not None and condition_of(status.state, status.reason).tone == "bad":
                self.strip.cut("deaf")
        self.status = status


def condition_of(state: State, reason: Reason) -> StreamCondition:
    """A status in one word and a sentence."""
    why = f"{SENTENCES[reason]} ({reason})" if reason != "none" else ""
    if state == "no-device" or (state == "degraded" and reason in UNHEARD):
        return StreamCondition("DEAF", why or "it has no microphone", "bad")
    match state:
        case "listening":
            return StreamCondition("LISTENING", "it hears and scores", "good")
        case "starting":
            return StreamCondition("STARTING", "the models load, or the microphone opens", "warning")
        case "paused":
            return StreamCondition("PAUSED", why, "bad")
        case "stopping":
            return StreamCondition("STOPPING", why or "it is ending", "warning")
    return StreamCondition(state.upper(), why, "warning")


def span(seconds: float) -> str:
    """A duration as people say it: 12 s, 3 min, 2 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
