"""The events on the wire: one JSON object a message, the same for every language (standard library only)."""

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

VERSION = 1
DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
HEARTBEAT_S = 5.0  # a status at least this often
STREAM_NAME = re.compile(r"[a-z0-9-]{1,32}")

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

_STATES = get_args(State)
_REASONS = get_args(Reason)
_TEXT_REASONS = get_args(TextReason)

# The logit parts sum to the logit of p_sad this closely on the wire (six decimals each leave room to spare).
PARTS_TOLERANCE = 1e-4


class WireError(ValueError):
    """A message that is not an event of this contract."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who said it, and the how-manieth it is of its topic in this session."""

    stream: str
    session: str
    seq: int
    time: str
    monotonic_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Envelope):
    """How sad one segment of speech sounded, and why."""

    type: ClassVar[str] = "score"

    segment: int
    t_start: float
    t_end: float
    p_sad: float
    threshold: float
    sad: bool
    bias_logit: float | None
    audio_logit: float | None
    text_logit: float | None
    offset_logit: float | None
    text_used: bool
    text_reason: TextReason
    voiced: float
    latency_ms: Latency
    dropped: int
    model: str
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Envelope):
    """What a stream is doing now; sent at every change and as a heartbeat."""

    type: ClassVar[str] = "status"

    state: State
    reason: Reason
    last_score_seq: int | None
    dropped: int
    rtf: float


Event = Score | Status
_TYPES: dict[str, type[Score] | type[Status]] = {"score": Score, "status": Status}


def topic(event_type: str, stream: str) -> str:
    """The topic of a stream's events; its trailing space keeps `room1` apart from `room10` in prefix filters."""
    return f"sad.{event_type}.{stream} "


def to_json(event: Event) -> str:
    """The event as one line of JSON; raises ValueError for a number that JSON cannot carry."""
    body = {"v": VERSION, "type": event.type} | asdict(event)
    if body.get("text", "") is None:
        del body["text"]
    return json.dumps(_rounded(body), allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def to_wire(event: Event) -> bytes:
    """The event as one ZeroMQ frame: topic, space, JSON."""
    return (topic(event.type, event.stream) + to_json(event)).encode()


def from_wire(frame: bytes) -> Event | None:
    """The event in a frame, None for a type or version that this reader does not know; unknown fields are ignored.

    Raises WireError for anything that is not an event.
    """
    _, _, payload = frame.partition(b" ")
    try:
        body = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise WireError("not an object with a type")
    kind = _TYPES.get(body["type"])
    if kind is None or body.get("v") != VERSION:
        return None
    return _checked(kind, body)


def _refuse_constant(name: str) -> float:
    raise WireError(f"{name} is not a number that an event can carry")


def _checked(kind: type[Score] | type[Status], body: dict[str, Any]) -> Event:
    known = {field.name for field in fields(kind)}
    values = {name: value for name, value in body.items() if name in known}
    try:
        if kind is Score:
            latency = {field.name for field in fields(Latency)}
            parts = values["latency_ms"]
            values["latency_ms"] = Latency(**{name: float(parts[name]) for name in latency})
        event: Event = kind(**values)
        _validate(event)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise WireError(f"{kind.type}: {error}") from None
    return event


def _validate(event: Event) -> None:
    if STREAM_NAME.fullmatch(event.stream) is None or type(event.seq) is not int or event.seq < 0:
        raise WireError(f"{event.type}: stream or seq out of range")
    if isinstance(event, Status):
        if event.state not in _STATES or event.reason not in _REASONS:
            raise WireError("status: unknown state or reason")
    elif not (0.0 <= event.p_sad <= 1.0 and event.t_end > event.t_start >= 0.0):
        raise WireError("score: probability or times out of range")
    elif event.text_reason not in _TEXT_REASONS:
        raise WireError("score: unknown text_reason")


def _rounded(value: Any) -> Any:
    # Six decimals: below every tolerance of the contract, and half the bytes of a full double.
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else value
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return value
