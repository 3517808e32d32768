"""The control socket beside the endpoint: `pause`, `resume` and `status`, for the daemon's own user alone."""

import os
import socket
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sadstream.base.errors import UnavailableError
from sadstream.events.types import Reason, State

Word = Literal["pause", "resume", "status"]
PATIENCE_S = 2.0  # for a client that says nothing


class StreamReport(BaseModel):
    """One stream, as `sadstream status` shows it."""

    model_config = ConfigDict(frozen=True)

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


class DaemonReport(BaseModel):
    """The daemon's answer to every request."""

    model_config = ConfigDict(frozen=True)

    pid: int
    endpoint: str
    words: bool  # the words go to subscribers
    streams: tuple[StreamReport, ...]
    notes: tuple[str, ...] = ()  # what whoever asks should know beside

    @property
    def flows(self) -> bool:
        """Every stream hears and is scored."""
        return all(stream.flows for stream in self.streams)


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
        return DaemonReport.model_validate_json(answer)
    except PermissionError:
        raise UnavailableError(
            f"{path}: permission denied: expected the daemon's own user, or root; use sudo"
        ) from None
    except (OSError, ValidationError) as error:
        raise UnavailableError(
            f"{path}: no sadstream answers there ({error.__class__.__name__}); start one, or name its endpoint"
        ) from None
