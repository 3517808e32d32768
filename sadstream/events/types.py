"""The events on the wire: one JSON object a message, the same for every language (standard library only)."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from sadstream.events.validation import Range, Size

VERSION = 1
DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
HEARTBEAT_S = 5.0  # a status at least this often
STALE_S = 11.0  # two heartbeats may be late; after this, and so within 12 s, the daemon is dead or unreachable
STREAM_NAME = re.compile(r"[a-z0-9-]{1,32}")
NAME_EXPECTED = "expected lower case letters, digits and dashes, at most 32"

State = Literal["starting", "listening", "no-device", "overloaded", "degraded", "paused", "stopping"]
Reason = Literal[
    "none",
    "device-lost",
    "device-absent",
    "stalled",
    "muted",
    "constant",
    "clipped",
    "rate",
    "slow",
    "gpu-memory",
    "user",
    "signal",
]
TextReason = Literal["none", "silence", "language", "loop", "low-confidence", "off"]
Phase = Literal["start", "update", "end"]
Compute = Literal["local", "remote"]
HEARING: tuple[State, ...] = ("listening", "overloaded", "degraded")  # the states in which a source gives audio
DEAF: tuple[Reason, ...] = ("muted", "constant")  # audio flows, but nobody can be heard in it
EventName = Literal["score", "status", "episode"]


Probability = Annotated[float, Range(0.0, 1.0)]
Count = Annotated[int, Range(0, 2**53 - 1)]  # what every JSON reader holds exactly
NotNegative = Annotated[float, Range(0.0)]
Name = Annotated[str, STREAM_NAME]
Polar = Annotated[float, Range(-1.0, 1.0)]  # 0: neutral
# Each emotion of the checkpoint's with its probability; these sum to 1 within SHARES_TOLERANCE.
Emotions = Annotated[Mapping[Annotated[str, re.compile(r"[a-z-]{1,32}")], Probability], Size(1, 16)]
Utc = Annotated[str, re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z")]  # RFC 3339


def is_heard(state: State, reason: Reason) -> bool:
    """Audio flows in this state, and somebody could be heard in it."""
    return state in HEARING and reason not in DEAF


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds a segment spent in each stage; `total` counts from its last sample."""

    queue: float
    vad: float
    whisper: float
    text: float
    fusion: float
    publish: float
    total: float
    remote: NotNegative | None = None  # on the way to a scorer elsewhere and back, and waiting there


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who said it, and the how-manieth it is of its topic in this session."""

    stream: Name
    session: str
    seq: Count
    time: Utc
    monotonic_s: float


# A field with a default is left out of the JSON when it is None; one without is null there.
@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Envelope):
    """How sad one segment of speech sounded, and why.

    The logit parts sum to the logit of `p_sad` to 1e-4, `emotions` to 1 within 1e-3.
    """

    type: ClassVar[Literal["score"]] = "score"

    segment: Count
    t_start: NotNegative
    t_end: NotNegative
    p_sad: Probability
    threshold: Probability
    sad: bool
    bias_logit: float | None
    audio_logit: float | None
    text_logit: float | None
    offset_logit: float | None
    text_used: bool
    text_reason: TextReason
    voiced: Probability
    latency_ms: Latency
    dropped: Count
    model: str
    mood: Probability | None = None  # the scores so far, smoothed
    uncertain: bool | None = None  # too close to call at the coverage asked for
    provisional: bool | None = None  # audio alone; the final score follows under the same `segment`
    compute: Compute | None = None  # by whose models, where a room has others to ask
    emotions: Emotions | None = None  # where the checkpoint tells more than sad, as are the next two
    valence: Polar | None = None  # from unpleasant to pleasant
    arousal: Polar | None = None  # from calm to excited
    speaker: Name | None = None  # which of the enrolled people, where that may be said
    text: str | None = None

    @property
    def likeliest(self) -> tuple[str, float] | None:
        """The emotion with the greatest probability, and that; None where there are none."""
        return max(self.emotions.items(), key=lambda one: one[1]) if self.emotions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Envelope):
    """What a stream is doing now; sent at every change and as a heartbeat."""

    type: ClassVar[Literal["status"]] = "status"

    state: State
    reason: Reason
    last_score_seq: Count | None
    dropped: Count
    rtf: NotNegative
    replay: str | None = None  # where the last events can be asked for again
    compute: Compute | None = None  # whose models are asked now, where a room has others to ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode(Envelope):
    """A stretch of sad talk: its start, what became of it, its end, each with the evidence."""

    type: ClassVar[Literal["episode"]] = "episode"

    episode: Count  # from 0 per session and stream
    phase: Phase
    t_start: NotNegative  # s of audio where it is held to have begun
    t_end: NotNegative  # s of audio at the end of the last segment that counted
    segments: Count  # heard in it so far
    sad_segments: Count  # of these, decided sad on their own
    evidence: float  # of the filter over calibrated log-odds, now, in natural logarithm units
    mood: Probability
    first_score_seq: Count  # the scores that are the evidence
    last_score_seq: Count
    false_alarms_h: NotNegative  # the operating point in force
    model: str


Event = Score | Status | Episode
EventType = type[Score] | type[Status] | type[Episode]
EVENT_TYPES: tuple[EventName, ...] = ("score", "status", "episode")
EVENT_KINDS: Mapping[str, EventType] = {kind.type: kind for kind in (Score, Status, Episode)}
E = TypeVar("E", bound=Event)


def topic(event_type: str, stream: str) -> str:
    """The topic of a stream's events; its trailing space keeps `room1` apart from `room10` in prefix filters."""
    return f"sad.{event_type}.{stream} "


def envelope(stream: str, session: str, seq: int) -> dict[str, Any]:
    """The fields that every event opens with, at this moment."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"stream": stream, "session": session, "seq": seq, "time": now, "monotonic_s": time.monotonic()}


def stream_name(path: Path) -> str:
    """A stream's name made of a file's stem: lower case letters, digits and dashes, at most 32."""
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in path.stem.lower())
    return name[:32].strip("-") or "recording"
