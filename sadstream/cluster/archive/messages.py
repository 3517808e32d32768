"""What a worker is told and what it answers, each as one line of JSON (standard library only)."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

HEAD_BYTES = 1 << 20  # of a recording, by which two machines know that they see the same one


@dataclass(frozen=True, slots=True)
class Sight:
    """What a machine sees of a file without reading all of it: its bytes, and the SHA-256 of the first MiB."""

    bytes: int
    head_sha256: str


@dataclass(frozen=True, slots=True)
class ScoreOrder:
    """One recording to be scored: where it lies, what it is called, what whoever orders it sees there."""

    path: str
    file: str
    sight: Sight


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has begun; its models are not loaded yet."""

    machine: str


@dataclass(frozen=True, slots=True)
class RecordingOpened:
    """The recording is one; its seconds where its header says them."""

    duration_s: float | None


@dataclass(frozen=True, slots=True)
class ModelsLoaded:
    """The worker's models are in memory; what loading them had to say."""

    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinesScored:
    """Seconds of the recording that are done, and the score events of what is new, one a line."""

    heard_s: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordingScored:
    """The recording was read to its end, or to where it is broken (`trouble`)."""

    sha256: str
    bytes: int
    duration_s: float
    notes: tuple[str, ...]
    trouble: str


@dataclass(frozen=True, slots=True)
class RecordingRefused:
    """Nothing comes of this recording: the exit code that `sadstream score` would end with, and why."""

    code: int
    line: str


@dataclass(frozen=True, slots=True)
class RecordingUnseen:
    """The worker's machine does not see what it was told to score."""

    machine: str
    line: str


@dataclass(frozen=True, slots=True)
class WorkerUnable:
    """The worker can score nothing at all: the exit code, and why."""

    code: int
    line: str


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    """The worker is gone without a word; how, as far as it is known."""

    how: str


WorkerMessage = (
    WorkerReady
    | RecordingOpened
    | ModelsLoaded
    | LinesScored
    | RecordingScored
    | RecordingRefused
    | RecordingUnseen
    | WorkerUnable
    | WorkerEnded
)
LAST = (RecordingScored, RecordingRefused, RecordingUnseen, WorkerUnable)  # of what is said of one order
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        WorkerReady,
        RecordingOpened,
        ModelsLoaded,
        LinesScored,
        RecordingScored,
        RecordingRefused,
        RecordingUnseen,
        WorkerUnable,
        WorkerEnded,
    )
}


def seen(path: Path) -> Sight:
    """What this machine sees of a file; OSError where it sees none."""
    with path.open("rb") as file:
        return Sight(path.stat().st_size, sha256(file.read(HEAD_BYTES)).hexdigest())


def to_line(message: WorkerMessage | ScoreOrder) -> str:
    """A message as one line; what a file's name holds beside UTF-8 survives it."""
    return json.dumps([type(message).__name__, asdict(message)])


def from_line(line: str) -> WorkerMessage:
    """A worker's message; ValueError for what is none."""
    try:
        name, body = json.loads(line)
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in body.items()}
        message: WorkerMessage = _KINDS[name](**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("not a worker's message") from None  # what came instead may be anything
    return message


def order_from_line(line: str) -> ScoreOrder:
    """The order in a line."""
    _, body = json.loads(line)
    return ScoreOrder(body["path"], body["file"], Sight(**body["sight"]))
