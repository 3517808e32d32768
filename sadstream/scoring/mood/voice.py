"""What `sadstream calibrate` knows of a voice: a few numbers in a file of the user's own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from sadstream.base import files
from sadstream.base.errors import UnavailableError
from sadstream.scoring.fusion.header import Record


class VoiceBaseline(Record):
    """How a voice sounds to one checkpoint when nothing is the matter; no audio and no words."""

    format: Literal["sadstream-voice"] = "sadstream-voice"
    model: str  # first 12 hex digits of the checkpoint's SHA-256
    segments: int = Field(ge=1)
    speech_s: float = Field(gt=0.0)
    typical: float = Field(ge=-1e4, le=1e4)  # mean audio part, before its cap
    offset_logit: float = Field(ge=-100.0, le=100.0)  # for a checkpoint whose card knows nothing of voices


def default_path() -> Path:
    """The user's own state folder."""
    from platformdirs import user_state_path

    return user_state_path("sadstream") / "voice.json"


def read_voice(path: Path) -> VoiceBaseline | None:
    """The voice in a file, None where there is none; UnavailableError for a file that is none, PermissionError."""
    try:
        return VoiceBaseline.model_validate_json(files.read_whole(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise
    except (OSError, ValidationError) as error:
        raise UnavailableError(
            f"{path}: not a calibrated voice ({files.reason(error)}); run `sadstream calibrate` again"
        ) from None


def expect_place(path: Path, reads: Iterable[Path | None], force: bool) -> None:
    """Before anybody talks: the file can be written, over a voice or over nothing."""
    files.make_folder("--out", path.parent)
    files.expect_place("--out", path, mark=b'"sadstream-voice"', reads=reads, force=force)


def write_voice(path: Path, voice: VoiceBaseline) -> None:
    """Write the file whole or not at all, for its owner alone; UnavailableError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, f"{voice.model_dump_json(indent=2)}\n".encode(), mode=0o600)
    except OSError as error:
        raise UnavailableError(
            f"{path}: cannot be written: {error.strerror}; choose another place with --out"
        ) from None
