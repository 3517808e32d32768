"""One recording's whole file of scores: a first line that says of what, then its events, one a line."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sadstream.base.boundary import utf8
from sadstream.base.json_text import parsed
from sadstream.events import Latency, Score
from sadstream.events.types import VERSION

SUFFIX = ".jsonl"
KIND = "recording"  # of the first line; readers of version 1 skip a type that they do not know
HEAD_BYTES = 1 << 20  # of a first line
SESSION_DIGITS = 16
AT_ONCE = Latency(queue=0.0, vad=0.0, whisper=0.0, text=0.0, fusion=0.0, publish=0.0, total=0.0)  # nobody waited


@dataclass(frozen=True, slots=True)
class ScoreHead:
    """The first line: what was scored, with what, and how it went."""

    file: str
    run: str  # of all that the scores depend on: `run_of`
    sha256: str  # of the recording
    bytes: int
    duration_s: float
    scores: int
    notes: tuple[str, ...] = ()
    trouble: str = ""  # why nothing follows its last score, where the recording is broken


def run_of(digest: str, recording_sha256: str) -> str:
    """One number for what scores depend on: whoever hears (`HearingIdentity.digest`), and the recording."""
    return sha256(f"{digest} {recording_sha256}".encode()).hexdigest()


def stable(score: Score, recording_sha256: str) -> Score:
    """The score as it comes out at any time on any machine.

    Its session is the recording's hash, its clock the recording's own seconds from 1970 on, its latency nothing.
    """
    end = datetime.fromtimestamp(score.t_end, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    session = recording_sha256[:SESSION_DIGITS]
    return replace(score, session=session, time=end, monotonic_s=score.t_end, latency_ms=AT_ONCE)


def rendered(head: ScoreHead, lines: tuple[str, ...]) -> bytes:
    """The file's bytes."""
    notes, trouble = [utf8(note) for note in head.notes], utf8(head.trouble)
    body = asdict(head) | {"file": utf8(head.file), "duration_s": round(head.duration_s, 6)}
    body |= {"notes": notes, "trouble": trouble}
    first = {"file": body.pop("file"), "v": VERSION, "type": KIND} | body
    said = json.dumps(first, ensure_ascii=False, separators=(",", ":"))
    return "".join(f"{line}\n" for line in (said, *lines)).encode()


def read_head(path: Path) -> ScoreHead | None:
    """The first line of a whole file; None for a file that is not there, none of ours, or not whole."""
    try:
        with path.open("rb") as file:
            first = file.readline(HEAD_BYTES)
            lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(HEAD_BYTES), b""))
        body = parsed(first)
        if not isinstance(body, dict) or body.pop("type", "") != KIND or body.pop("v", 0) != VERSION:
            return None
        head = ScoreHead(**body | {"notes": tuple(body["notes"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return head if lines == head.scores else None
