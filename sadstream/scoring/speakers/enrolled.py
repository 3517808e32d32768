"""What `sadstream enroll` knows of a person: an embedding of the voice, in a file of the user's own."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError, field_validator

from sadstream.base import files
from sadstream.base.errors import ConfigError, UnavailableError, UsageError
from sadstream.events import STREAM_NAME
from sadstream.scoring.fusion.header import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = f"^{STREAM_NAME.pattern}$"
LENGTH_TOLERANCE = 1e-3


class EnrolledSpeaker(Record):
    """One person's voice to one encoder: numbers, no audio and no words; enough to tell them from others."""

    format: Literal["sadstream-speaker"] = "sadstream-speaker"
    name: str = Field(pattern=NAME)
    encoder: str  # identity of its weights
    segments: int = Field(ge=1)
    speech_s: float = Field(gt=0.0)
    voice: tuple[float, ...] = Field(min_length=1, max_length=4096)  # of length 1

    @field_validator("voice")
    @classmethod
    def _of_length_1(cls, voice: tuple[float, ...]) -> tuple[float, ...]:
        if not abs(math.hypot(*voice) - 1.0) < LENGTH_TOLERANCE:
            raise ValueError("expected an embedding of length 1")
        return voice

    def cosine(self, other: "NDArray[np.float32]") -> float:
        """Cosine of the angle between this voice and another embedding; 1 for the same.

        UnavailableError for an embedding of another length, which the warm-up before the first segment finds.
        """
        import numpy as np

        if other.shape != (len(self.voice),):
            raise UnavailableError(
                f"{self.name}.json: an embedding of {len(self.voice)} numbers, expected {other.size}; "
                f"run `sadstream enroll {self.name}` again"
            )
        return float(np.dot(np.asarray(self.voice, dtype=np.float32), other))


def check_name(name: str) -> None:
    """UsageError for what cannot be a person's name here."""
    if re.fullmatch(NAME, name) is None:
        raise UsageError(f"enroll: {name!r}: expected 1 to 32 small letters, digits and hyphens")


def default_folder() -> Path:
    """The user's own state folder."""
    from platformdirs import user_state_path

    return user_state_path("sadstream") / "speakers"


def read_enrolled(folder: Path, name: str, encoder: str) -> EnrolledSpeaker:
    """A person of this name; ConfigError where there is none, UnavailableError for a file that is none."""
    path = folder / f"{name}.json"
    try:
        person = EnrolledSpeaker.model_validate_json(files.read_whole(path))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"voice.only: {path}: no such file; run `sadstream enroll {name}`") from None
    except PermissionError as error:
        raise ConfigError(
            f"voice.only: {path}: cannot be read: {error.strerror}; let this user read it, or enroll as this user"
        ) from None
    except (OSError, ValidationError) as error:
        raise UnavailableError(
            f"{path}: not an enrolled voice ({files.reason(error)}); run `sadstream enroll {name}` again"
        ) from None
    if person.encoder != encoder:
        raise ConfigError(
            f"{path}: enrolled with encoder {person.encoder[:12]}, found {encoder[:12]}; "
            f"run `sadstream enroll {name}` again"
        )
    return person


def expect_place(folder: Path, name: str, force: bool) -> None:
    """Before anybody talks: the file can be written, over a person or over nothing."""
    files.make_folder("--out", folder)
    files.expect_place("--out", folder / f"{name}.json", mark=b'"sadstream-speaker"', force=force)


def write_enrolled(folder: Path, person: EnrolledSpeaker) -> Path:
    """Write the file whole or not at all, for its owner alone; UnavailableError where it cannot be."""
    path = folder / f"{person.name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, f"{person.model_dump_json(indent=2)}\n".encode(), mode=0o600)
    except OSError as error:
        raise UnavailableError(
            f"{path}: cannot be written: {error.strerror}; choose another folder with --out"
        ) from None
    return path
