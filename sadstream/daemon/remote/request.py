"""What a room asks a door and what it is told: segments out, the parts of their scores back. Bytes in, bytes out.

A private protocol between the two, version 1: a room's DEALER sends [id, JSON, audio], the door's ROUTER answers
[id, JSON]. A request says no name, neither of the room nor of a stream; who asks is the key that it came by.
"""

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from sadstream.audio.segmenter import Segment
from sadstream.base.errors import DataError
from sadstream.base.json_text import parsed
from sadstream.base.samples import SAMPLE_RATE, SEGMENT_S, SEGMENT_SAMPLES, to_float, to_pcm
from sadstream.events.codec import shares_agree
from sadstream.events.types import Emotions, NotNegative, Polar, Probability, TextReason
from sadstream.events.validation import Range, WireError, record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
AUDIO_BYTES = 2 * SEGMENT_SAMPLES  # 96,000: 3 s of signed 16-bit PCM, and no FLAC is longer
HEADER_BYTES = 1024
LONGEST_FRAME = AUDIO_BYTES + HEADER_BYTES
ID_BYTES = 8
LANES = 64  # streams of one room
SHORTEST_SAMPLES = 160  # 10 ms: of less nothing can be said

SegmentCodec = Literal["pcm", "flac"]
Seconds = Annotated[float, Range(0.0, 1e9)]
Milliseconds = Annotated[float, Range(0.0, 1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRequest:
    """What is said of a segment beside its sound."""

    lane: Annotated[int, Range(0, LANES - 1)]  # which of the room's streams, by number: never by name
    t_start: Seconds
    t_end: Seconds
    voiced: Probability
    age_ms: Milliseconds  # of its last sample, when it was sent: only ages travel, no times of day
    wait_ms: Milliseconds  # how long the room waits for an answer
    words: bool = False  # are wanted back
    codec: SegmentCodec = "pcm"

    @property
    def samples(self) -> int:
        """How many samples it is long."""
        return round((self.t_end - self.t_start) * SAMPLE_RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """What the models made of a segment; prior and threshold are the room's to add."""

    kind: ClassVar[str] = "scored"

    audio: float  # calibrated logit parts
    text: float
    uncapped: float
    speech: Probability
    no_speech: float
    avg_logprob: float
    reason: TextReason
    model: str
    whisper_ms: NotNegative
    text_ms: NotNegative
    fusion_ms: NotNegative
    emotions: Emotions | None = None  # of a checkpoint that tells more than sad, as are the next two
    valence: Polar | None = None
    arousal: Polar | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscoredAnswer:
    """Nobody spoke."""

    kind: ClassVar[str] = "unscored"

    speech: Probability


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAnswer:
    """It was not scored: too many wait, nobody waits for it any more, or it is no segment."""

    kind: ClassVar[str] = "refused"

    why: Literal["busy", "late", "error"]
    what: str = ""  # never with words


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAnswer:
    """Who scores behind the door."""

    kind: ClassVar[str] = "hello"

    model: str
    whisper: str
    device: str
    licence: str
    terms: str = ""
    ready: bool = True  # somebody can score now


Answer = ScoredAnswer | UnscoredAnswer | RefusedAnswer | HelloAnswer
ANSWERS: dict[str, Any] = {kind.kind: kind for kind in (ScoredAnswer, UnscoredAnswer, RefusedAnswer, HelloAnswer)}


def hello_frames() -> list[bytes]:
    """The request for a HelloAnswer, without its id."""
    return [json.dumps({"v": VERSION, "hello": True}).encode()]


def request_frames(request: SegmentRequest, samples: "NDArray[np.float32]") -> list[bytes]:
    """A segment's request, without its id."""
    from sadstream.audio.decoding.decoder import to_flac

    audio = to_pcm(samples)
    return [_text(request, "segment"), to_flac(audio) if request.codec == "flac" else audio]


def read_request(header: bytes) -> SegmentRequest | None:
    """The request in a header, or None for a hello; WireError says what is wrong with it."""
    body = _object(header)
    if body.get("hello") is True:
        return None
    found: SegmentRequest = record(SegmentRequest, body, "request")
    if not SHORTEST_SAMPLES <= found.samples <= SEGMENT_SAMPLES:
        raise WireError(f"request: {found.samples} samples: expected {SHORTEST_SAMPLES} to {SEGMENT_SAMPLES}")
    return found


def read_audio(request: SegmentRequest, audio: bytes) -> bytes:
    """The PCM of a request, as many samples as it says; WireError for any other."""
    if len(audio) > AUDIO_BYTES:
        raise WireError(f"request: {len(audio)} bytes: expected at most {AUDIO_BYTES}")
    pcm = _unpacked(audio) if request.codec == "flac" else audio
    if len(pcm) != 2 * request.samples:
        raise WireError(f"request: {len(pcm)} bytes of PCM: expected {2 * request.samples}, as its times say")
    return pcm


def segment_of(request: SegmentRequest, pcm: bytes) -> Segment:
    """The segment that was cut in the room, to the last bit."""
    import numpy as np

    samples = np.zeros(SEGMENT_SAMPLES, np.float32)
    samples[: request.samples] = to_float(pcm)
    return Segment(0, samples, request.t_start, request.t_end, request.voiced, arrived_s=0.0)


def answer_frame(answer: Answer) -> bytes:
    """An answer as it goes back."""
    return _text(answer, answer.kind)


def read_answer(frame: bytes) -> Answer:
    """The answer in a frame; WireError if it is none."""
    body = _object(frame)
    kind = ANSWERS.get(str(body.get("kind")))
    if kind is None:
        raise WireError("answer: expected a known kind")
    found: Answer = record(kind, body, "answer")
    if isinstance(found, ScoredAnswer) and found.emotions is not None and not shares_agree(found.emotions):
        raise WireError("answer.emotions: the probabilities do not sum to 1")
    return found


def _unpacked(audio: bytes) -> bytes:
    from sadstream.audio.decoding.decoder import from_flac

    try:
        return from_flac(audio, SEGMENT_SAMPLES)
    except DataError as error:
        raise WireError(f"request: {error}") from None


def _text(message: Any, kind: str) -> bytes:
    assert is_dataclass(message)
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    said = {"v": VERSION, "kind": kind} | {name: value for name, value in values.items() if value is not None}
    return json.dumps(said, separators=(",", ":"), allow_nan=False).encode()


def _object(text: bytes) -> dict[str, Any]:
    try:
        body = parsed(text)
    except ValueError:
        raise WireError("not JSON") from None
    if not isinstance(body, dict):
        raise WireError("not an object")
    if body.get("v") != VERSION:
        raise WireError(f"version {str(body.get('v'))[:20]}: expected {VERSION}; both ends need the same sadstream")
    return body


assert AUDIO_BYTES == 2 * SAMPLE_RATE * SEGMENT_S
