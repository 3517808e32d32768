"""What a corpus reader gives: the utterances that are sound, and a line for each thing that is not."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError, SadstreamError
from sadstream.base.samples import SAMPLE_RATE
from train.corpora.clips import CURE, audio_rate, read_audio
from train.corpora.manifest import Utterance

LONGEST_S = 600  # of an utterance; minutes more are a session that nobody cut
QUIETEST = 1.0 / 32768  # from lowest to highest sample: below it 16 bits hold nothing
LOUDEST = 8.0  # floats may overshoot 1; 8 times it is a file in another scale
LEEWAY_S, LEEWAY = 0.25, 0.05  # that a written length may be off


@dataclass(frozen=True, slots=True)
class FoundCorpus:
    """A corpus as found; `notes` say what was understood, and cost nothing."""

    rows: tuple[Utterance, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def sound_problem(path: Path, expected_s: float = 0.0) -> str | None:
    """Why this recording cannot be learned from, or None; decodes all of it.

    expected_s: what somebody wrote down that it holds; 0: nobody did.
    """
    try:
        if not path.is_file():
            return f"no recording at {path}" if not path.exists() else f"{path} is not a file"
        samples = read_audio(path)
    except SadstreamError as error:
        return _without_cure(path, error)
    except (OSError, ValueError, MemoryError) as error:
        return f"{path} cannot be read: {reason_of(error)}"
    return _level_problem(path, samples) or _length_problem(path, samples.size / SAMPLE_RATE, expected_s)


def _level_problem(path: Path, samples: NDArray[np.float32]) -> str | None:
    if float(samples.max() - samples.min()) < QUIETEST:
        return f"{path} holds nothing but silence or a constant level"
    peak = float(abs(samples).max())
    if peak > LOUDEST:
        return f"{path} holds samples up to {peak:,.0f}: expected at most 1; write it with integers or scaled down"
    return None


def _length_problem(path: Path, seconds: float, expected_s: float) -> str | None:
    if seconds > LONGEST_S:
        return f"{path} holds {seconds:,.0f} s: expected one utterance, at most {LONGEST_S} s"
    if seconds < expected_s - max(LEEWAY_S, LEEWAY * expected_s):
        return f"{path} holds {seconds:.2f} s of the {expected_s:.2f} s that are written down for it"
    return None


def _without_cure(path: Path, error: SadstreamError) -> str:
    return str(error).removesuffix(f"; {CURE}").replace(f"{path}: ", f"{path} ", 1)


def reason_of(error: Exception) -> str:
    """An exception in words that a person can use."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) + (" (name too long)" if error.errno == errno.ENAMETOOLONG else "")
    return str(error) or type(error).__name__


def length_s(path: Path) -> float:
    """Seconds of a recording that `sound_problem` found sound."""
    frames, rate = audio_rate(path)
    return float(frames / rate)


def expect_files(root: Path, what: str, names: Sequence[str]) -> None:
    """DataError unless `root` is a folder that holds at least one of these (glob patterns)."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: expected {what}")
    if not any(next(root.glob(name), None) for name in names):
        raise DataError(f"{root}: not {what}: expected {' or '.join(names)} in it")


def is_appledouble(path: Path) -> bool:
    """A Mac's resource fork, which travels beside the real file as `._name`."""
    return path.name.startswith("._")
