"""Events as JSON and as frames on the wire, both ways (standard library only)."""

import json
import math
import re
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from sadstream.base.json_text import parsed
from sadstream.base.odds import logit
from sadstream.events.types import (
    EVENT_KINDS,
    VERSION,
    Count,
    Emotions,
    Episode,
    Event,
    Latency,
    Name,
    Score,
    Status,
    topic,
)
from sadstream.events.validation import WireError, record

# The logit parts sum to the logit of p_sad this closely: six decimals each, p_sad itself in full.
PARTS_TOLERANCE = 1e-4
SHARES_TOLERANCE = 1e-3  # of emotions that sum to 1
# Six decimals are below every tolerance, and half the bytes of a double. Of a probability near 0 or 1 they would lose
# the logit, and beside the threshold the decision.
_IN_FULL = frozenset({"p_sad", "threshold"})
_DECIMALS = 6
_CERTAIN_LOGIT = 30.0  # beyond it 1 - p is lost in a double


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHead:
    """What is known of every event, also of a type or version to come."""

    stream: Name
    type: Annotated[str, re.compile("[a-z-]{1,32}")]
    session: str
    seq: Count


def to_json(event: Event) -> str:
    """The event as one line of JSON; raises ValueError for a number that JSON cannot carry."""
    body = {"v": VERSION, "type": event.type} | _body(event)
    return json.dumps(body, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def to_wire(event: Event) -> bytes:
    """The event as one ZeroMQ frame: topic, space, JSON."""
    return (topic(event.type, event.stream) + to_json(event)).encode()


def from_wire(frame: bytes) -> Event | None:
    """The event in a frame, None for a type or version that this reader does not know; unknown fields are ignored.

    Raises WireError for anything that is not an event.
    """
    head, _, payload = frame.partition(b" ")
    event = from_json(payload)
    if event is not None and head + b" " != topic(event.type, event.stream).encode():
        raise WireError(f"{event.type}: topic and content differ")
    return event


def read_head(frame: bytes) -> tuple[FrameHead, Event | None]:
    """The head of an event's frame, and the event of a type and version that is known; WireError for no event."""
    event = from_wire(frame)
    if event is not None:
        return FrameHead(stream=event.stream, type=event.type, session=event.session, seq=event.seq), event
    name, _, payload = frame.partition(b" ")
    head: FrameHead = record(FrameHead, parsed(payload), "event")
    if name + b" " != topic(head.type, head.stream).encode():
        raise WireError("event: topic and content differ")
    return head, None


def from_json(line: bytes | str) -> Event | None:
    """The event in a line of JSON, without its topic; else as from_wire."""
    try:
        body = parsed(line)
    except ValueError:
        raise WireError("not JSON") from None  # what was found may be anything, so it is not repeated
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise WireError("not an object with a type")
    kind = EVENT_KINDS.get(body["type"])
    if kind is None or body.get("v") != VERSION:
        return None
    event: Event = record(kind, body, kind.type)
    _agree(event)
    return event


def parts_agree(score: Score) -> bool:
    """The logit parts sum to the logit of p_sad, or the model has none."""
    parts = (score.bias_logit, score.audio_logit, score.text_logit, score.offset_logit)
    known = [round(part, _DECIMALS) for part in parts if part is not None]
    if len(known) < len(parts):
        return not known
    total = math.fsum(known)
    if score.p_sad in (0.0, 1.0):
        return abs(total) > _CERTAIN_LOGIT and (total > 0) == (score.p_sad == 1.0)
    return abs(total - logit(score.p_sad)) <= PARTS_TOLERANCE


def shares_agree(emotions: Emotions) -> bool:
    """The probabilities sum to 1, as they are written."""
    return abs(math.fsum(round(share, _DECIMALS) for share in emotions.values()) - 1.0) <= SHARES_TOLERANCE


def _agree(event: Event) -> None:
    """WireError for what contradicts itself, as it would be written again."""
    try:
        datetime.fromisoformat(event.time)
    except ValueError:
        raise WireError(f"{event.type}.time: no such day or hour") from None
    match event:
        case Score():
            if round(event.t_end, _DECIMALS) <= round(event.t_start, _DECIMALS):
                raise WireError("score: t_end is not after t_start")
            if event.sad != (event.p_sad >= event.threshold):
                raise WireError("score: p_sad, threshold and sad differ")
            if not parts_agree(event):
                raise WireError("score: the logit parts do not sum to the logit of p_sad")
            if not event.text_used and event.text_logit:
                raise WireError("score: text_logit without text_used")
            if event.emotions is not None and not shares_agree(event.emotions):
                raise WireError("score.emotions: the probabilities do not sum to 1")
        case Episode():
            if event.t_end < event.t_start or event.sad_segments > event.segments:
                raise WireError("episode: times or segments out of order")
            if event.last_score_seq < event.first_score_seq:
                raise WireError("episode: scores out of order")
        case Status():
            pass


def _body(event: Any) -> dict[str, Any]:
    body: dict[str, Any] = {}
    kind: Any = type(event)
    for name, left_out in _outgoing(kind):
        value = getattr(event, name)
        if value is None and left_out:
            continue
        if type(value) is float and name not in _IN_FULL:
            body[name] = round(value, _DECIMALS)
        elif type(value) is Latency:
            stages = ((stage, getattr(value, stage)) for stage in Latency.__slots__)
            body[name] = {stage: round(ms, 3) for stage, ms in stages if ms is not None}
        elif name == "emotions" and value is not None:
            body[name] = {emotion: round(share, _DECIMALS) for emotion, share in value.items()}
        else:
            body[name] = value
    return body


@cache
def _outgoing(kind: Any) -> tuple[tuple[str, bool], ...]:
    """Each field of a record, and whether it is left out when it is None."""
    return tuple((field.name, field.default is None) for field in fields(kind))
