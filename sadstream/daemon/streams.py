"""What the daemon knows of one stream, and the one state that it publishes of it."""

from dataclasses import dataclass

from sadstream.audio.sources.source import SourceChange
from sadstream.events import Reason, State

RTF_WEIGHT = 0.2  # of the newest segment in the running real-time factor
STARTING = SourceChange("starting", "none")
DEAF: tuple[Reason, ...] = ("muted", "constant")  # audio flows, but nobody can be heard in it


@dataclass(slots=True)
class StreamState:
    """Facts by the one who states them; the worst of them is the stream's state."""

    source: SourceChange = STARTING
    felt: Reason = "none"  # by the signal's health
    short_of: Reason = "none"  # by the models
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
            return "overloaded", "slow"
        reason = self.felt if self.felt != "none" else self.short_of
        return ("listening", "none") if reason == "none" else ("degraded", reason)

    @property
    def flows(self) -> bool:
        """Audio with somebody in it can be heard and is scored."""
        state, reason = self.state
        return state in ("listening", "overloaded", "degraded") and reason not in DEAF

    def analyzed(self, busy_s: float, audio_s: float, waiting: int) -> None:
        """A segment is scored."""
        rtf = busy_s / audio_s
        self.rtf = rtf if self.segments == 0 else (1 - RTF_WEIGHT) * self.rtf + RTF_WEIGHT * rtf
        self.segments += 1
        self.overloaded = self.overloaded and waiting > 0

    @property
    def unscored(self) -> int:
        """Segments that nothing was said of."""
        return self.no_speech + self.strangers

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
