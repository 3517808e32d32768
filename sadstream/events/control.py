"""What is asked and answered over the control socket beside the endpoint (standard library only)."""

import json
import os
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sadstream.base.errors import UnavailableError
from sadstream.base.json_text import parsed
from sadstream.events.types import Reason, State
from sadstream.events.validation import WireError, record

Word = Literal["pause", "resume", "status"]
PATIENCE_S = 2.0  # for a client that says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """One stream, as `sadstream status` shows it."""

    stream: str
    state: State
    reason: Reason
    flows: bool
    dropped: int
    gaps: int
    segments: int
    no_speech: int = 0
    strangers: int = 0
    rtf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonReport:
    """The daemon's answer to every request."""

    pid: int
    endpoint: str
    words: bool  # the words go to subscribers
    streams: tuple[StreamReport, ...]
    notes: tuple[str, ...] = ()  # what whoever asks should know beside

    @property
    def flows(self) -> bool:
        """Every stream hears and is scored."""
        return all(stream.flows for stream in self.streams)

    def to_json(self) -> bytes:
        """The answer as it goes over the control socket."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False).encode()


def from_json(answer: bytes) -> DaemonReport:
    """The report in an answer; WireError if it is none."""
    try:
        body = parsed(answer)
    except ValueError:
        raise WireError("not JSON") from None
    if not isinstance(body, dict):
        raise WireError("not an object")
    report: DaemonReport = record(DaemonReport, body, "report")
    return report


def control_path(endpoint: str) -> Path:
    """Where the daemon that publishes there is controlled: beside an ipc socket, else in the user's runtime folder."""
    if endpoint.startswith("ipc://"):
        return Path(endpoint.removeprefix("ipc://") + ".control")
    return runtime_folder() / "sadstream" / f"tcp-{endpoint.rpartition(':')[2]}.control"


def runtime_folder() -> Path:
    """The session's folder; without a session one in /tmp, of which the owner is checked when it is used."""
    given = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    if Path(given).is_dir():
        return Path(given)
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # a root that is read-only, without a tmp: there will be no control, which is said
        temporary = "/tmp"  # noqa: S108
    return Path(temporary) / f"sadstream-{os.getuid()}"


def ask(endpoint: str, word: Word) -> DaemonReport:
    """What the daemon says to it; UnavailableError where none answers."""
    path = control_path(endpoint)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(path))
            client.sendall(f"{word}\n".encode())
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        return from_json(answer)
    except PermissionError:
        raise UnavailableError(
            f"{path}: permission denied: expected the daemon's own user, or root; use sudo"
        ) from None
    except (OSError, WireError) as error:
        raise UnavailableError(
            f"{path}: no sadstream answers there ({error.__class__.__name__}); start one, or name its endpoint"
        ) from None
