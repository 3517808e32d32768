"""Recordings of the open corpora, and the segments that the daemon's own segmenter cuts from them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sadstream.audio import SAMPLE_RATE, Framer, to_pcm
from sadstream.config import SegmentConfig, VadConfig
from sadstream.errors import DataError, MissingFileError
from sadstream.highpass import above
from sadstream.segment import Segment, Segmenter

if TYPE_CHECKING:
    import numpy as np
    import soundfile
    from numpy.typing import NDArray

CALM = frozenset({"neutral", "calm"})  # what a room is nearly always; the hard negative
TRAIL_S = 0.45  # silence after a clip, so that the segmenter closes as it would in a room
LEAST_HZ, MOST_HZ = 4_000, 768_000  # below it no speech is left; above it no recorder goes
BLOCK = 1 << 20  # samples read at a time
UNKNOWN_FRAMES = 1 << 40  # what libsndfile says of a length that the header leaves open is more
CURE = "restore it or take its line out of the manifest"
FLOOR = 10.0 ** (-75.0 / 20.0)  # of that silence: a quiet room's microphone, not digital zero


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording and what is known of it; `sad` is 0 where nobody labelled it."""

    path: Path
    corpus: str
    speaker: str
    gender: str
    emotion: str
    sad: int
    split: str
    transcript: str = ""


def read_clips(folder: Path) -> list[Clip]:
    """The clips of a folder's manifest.csv, in its order; DataError names a row that is not one."""
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise MissingFileError(f"{manifest}: no such file: expected a folder of recordings with a manifest.csv")
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    clips = [_clip(folder, row, f"{manifest}: line {line}") for line, row in enumerate(rows, start=2)]
    if not clips:
        raise DataError(f"{manifest}: no clips: expected one a line under a header")
    return clips


def _clip(folder: Path, row: dict[str, str], where: str) -> Clip:
    try:
        path, sad = folder / row["path"], int(row.get("sad") or 0)
        clip = Clip(
            path=path,
            corpus=row["corpus"],
            speaker=row["speaker"],
            gender=row.get("gender") or "",
            emotion=row.get("emotion") or "",
            sad=sad,
            split=row.get("split") or "",
            transcript=row.get("transcript") or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}: expected path, corpus, speaker and, where known, sad as 0 or 1") from None
    if sad not in (0, 1) or not clip.speaker:
        raise DataError(f"{where}: sad = {sad}, speaker = {clip.speaker!r}: expected 0 or 1, and a name")
    return clip


def read_audio(path: Path) -> "NDArray[np.float32]":
    """(n,) float32 at 16 kHz mono; DataError for a file that holds no sound, or sound that is not numbers."""
    import numpy as np
    import soxr

    blocks = []
    with _opened(path) as file:
        rate, promised = int(file.samplerate), int(file.frames)
        try:
            while (block := file.read(BLOCK, dtype="float32", always_2d=True)).shape[0]:
                blocks.append(block.mean(axis=1))
        except (RuntimeError, OSError) as error:  # soundfile's LibsndfileError
            at_s = sum(part.size for part in blocks) / rate
            raise DataError(f"{path}: cannot be decoded after {at_s:.2f} s: {error}; {CURE}") from None
    if not blocks:
        raise DataError(f"{path}: no samples; {CURE}")
    mono = np.concatenate(blocks)
    if mono.size < promised < UNKNOWN_FRAMES:
        raise DataError(f"{path}: cut short: {mono.size:,} of {promised:,} samples; {CURE}")
    if not np.isfinite(mono).all():
        at_s = int(np.flatnonzero(~np.isfinite(mono))[0]) / rate
        raise DataError(f"{path}: NaN or infinite samples at {at_s:.2f} s; {CURE}")
    heard: NDArray[np.float32] = mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE)
    if heard.size == 0:
        raise DataError(f"{path}: no samples; {CURE}")
    return heard


def audio_rate(path: Path) -> tuple[int, int]:
    """(samples of a channel, Hz) by the header; counted where the header leaves the length open."""
    with _opened(path) as file:
        frames, rate = int(file.frames), int(file.samplerate)
    if frames < UNKNOWN_FRAMES:
        return frames, rate
    return read_audio(path).size, SAMPLE_RATE


def _opened(path: Path) -> "soundfile.SoundFile":
    import soundfile

    try:
        file = soundfile.SoundFile(path)
    except (RuntimeError, OSError, TypeError, ValueError) as error:  # TypeError: raw PCM by its name
        raise DataError(f"{path}: cannot be read as audio ({_reason(error)}); {CURE}") from None
    if not LEAST_HZ <= file.samplerate <= MOST_HZ:
        file.close()
        raise DataError(f"{path}: {file.samplerate} Hz: expected {LEAST_HZ:,} to {MOST_HZ:,}; {CURE}")
    return file


def _reason(error: Exception) -> str:
    return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__


def read_speech(path: Path) -> "NDArray[np.float32]":
    """(n,) float32 at 16 kHz mono as the models hear a recording, above the daemon's high-pass."""
    return above(read_audio(path))


def segments_of(samples: "NDArray[np.float32]", seed: int) -> list[Segment]:
    """What the daemon would score of this clip in a quiet room; the seed is that of the room's noise."""
    import numpy as np

    rng = np.random.default_rng(seed)
    trail = np.zeros(int(TRAIL_S * SAMPLE_RATE), np.float32)
    stream = np.concatenate([samples, trail])
    stream = stream + rng.standard_normal(stream.size).astype(np.float32) * np.float32(FLOOR)
    segmenter, framer = Segmenter(VadConfig(), SegmentConfig()), Framer()
    segments: list[Segment] = []
    for frame in framer.feed(to_pcm(stream), 0.0) + framer.flush(0.0):
        segments += segmenter.feed(frame)
    return segments + segmenter.flush()


def by_speaker(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips of each speaker, speakers sorted by name."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.speaker, []).append(clip)
    return dict(sorted(groups.items()))
