"""What a corpus reader gives: the utterances that are sound, and a line for each thing that is not."""

import errno
import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.errors import DataError, SadstreamError
from sadstream.base.files import save_atomic
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
    segments: bool = False  # `path` is a longer recording, from which start_s to end_s is still to be cut
    licence: str = ""  # of the data, where it says so itself


def sound_problem(path: Path, expected_s: float = 0.0) -> str | None:
    """Why this recording cannot be learned from, or None; decodes all of it.

    expected_s: what somebody wrote down that it holds; 0: nobody did.
    """
    samples = _samples(path)
    if isinstance(samples, str):
        return samples
    return _level_problem(path, samples) or _length_problem(path, samples.size / SAMPLE_RATE, expected_s)


def segment_place(path: Path, start_s: float, end_s: float) -> tuple[float, float] | str:
    """(start, end) of a part of a recording that can be learned from, seconds, or why it cannot; end 0: to its end."""
    samples = _segmented(path)
    if isinstance(samples, str):
        return samples
    length = samples.size / SAMPLE_RATE
    end_s = end_s or length
    if not start_s < end_s <= length + LEEWAY_S:
        return f"{start_s:g} to {end_s:g} s: expected a part of the {length:.2f} s of {path}"
    part = samples[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    where = path.with_name(f"{path.name}, {start_s:g} to {end_s:g} s,")
    if not part.size:
        return f"{where} holds nothing"
    end_s = min(end_s, length)
    return _level_problem(where, part) or _length_problem(where, end_s - start_s, 0.0) or (start_s, end_s)


def _segmented(path: Path) -> NDArray[np.float32] | str:
    """A recording's segments stand one after the other: it is decoded once for all of them."""
    found = path.stat() if path.is_file() else None
    return _kept(path, (found.st_mtime_ns, found.st_size) if found else ())


@lru_cache(maxsize=1)
def _kept(path: Path, _state: tuple[int, ...]) -> NDArray[np.float32] | str:
    return _samples(path)


def _samples(path: Path) -> NDArray[np.float32] | str:
    """A recording at 16 kHz, or why there is none."""
    try:
        if not path.is_file():
            return f"no recording at {path}" if not path.exists() else f"{path} is not a file"
        return read_audio(path)
    except SadstreamError as error:
        return _without_cure(path, error)
    except (OSError, ValueError, MemoryError) as error:
        return f"{path} cannot be read: {reason_of(error)}"


def cut(rows: Sequence[Utterance], folder: Path) -> tuple[Utterance, ...]:
    """Each segment as a recording of its own in `folder` (FLAC, 16 kHz, 24 bits); where it stood is kept.

    DataError where it cannot be written.
    """
    import soundfile

    made = []
    for row in sorted(rows, key=lambda row: row.path):
        samples = _segmented(Path(row.path))
        if isinstance(samples, str):
            raise DataError(samples)
        name = re.sub(r"[^\w.@-]+", "_", row.utterance)[-100:]
        path = folder / f"{name}-{hashlib.sha256(row.utterance.encode()).hexdigest()[:8]}.flac"
        part = samples[round(row.start_s * SAMPLE_RATE) : round(row.end_s * SAMPLE_RATE)]
        file = io.BytesIO()
        soundfile.write(file, np.clip(part, -1.0, 1.0), SAMPLE_RATE, format="FLAC", subtype="PCM_24")
        save_atomic(path, file.getvalue())
        length = part.size / SAMPLE_RATE
        made.append(replace(row, path=str(path.resolve()), end_s=row.start_s + length))
    return tuple(made)


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
