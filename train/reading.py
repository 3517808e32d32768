"""What a corpus reader gives: the utterances that are sound, and a line for each thing that is not."""

from dataclasses import dataclass
from pathlib import Path

from train.manifest import Utterance


@dataclass(frozen=True, slots=True)
class Reading:
    """A corpus as found."""

    rows: tuple[Utterance, ...]
    problems: tuple[str, ...]


def sound_problem(path: Path) -> str | None:
    """Why this recording cannot be used, or None; reads the file's header only."""
    import soundfile

    if not path.is_file():
        return f"no recording at {path}"
    try:
        found = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):
        return f"{path} cannot be read as audio"
    return None if found.frames else f"{path} holds no samples"


def length_s(path: Path) -> float:
    """Seconds of a recording that `sound_problem` found sound."""
    import soundfile

    found = soundfile.info(path)
    return float(found.frames / found.samplerate)
