"""Recordings of the open corpora, and the segments that the daemon's own segmenter cuts from them."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from sadstream.audio.decoding.decoder import Sndfile, Sound
from sadstream.audio.filters.framing import Framer
from sadstream.audio.filters.highpass import above
from sadstream.audio.filters.mixer import Mixer
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.files import table_text
from sadstream.base.samples import SAMPLE_RATE, to_pcm
from sadstream.config.tables import SegmentConfig, VadConfig

CALM = frozenset({"neutral", "calm"})  # what a room is nearly always; the hard negative
VOTES = {"N": "neutral", "S": "sad", "A": "angry", "H": "happy", "D": "disgust", "F": "fear"}
TRAIL_S = 0.45  # silence after a clip, so that the segmenter closes as it would in a room
LEAST_HZ = 4_000  # below it no speech is left; what else a recording is, the daemon's reader says
PLAIN = ("WAV", "WAVEX", "AIFF")  # where the size of the file tells how many samples are there
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
    heard: str = ""  # what most listeners of the sound alone heard: letters of VOTES, several where they tied

    @property
    def as_heard(self) -> "Clip":
        """The same with the label that its listeners gave, where there were any."""
        if not self.heard:
            return self
        votes = [VOTES[vote] for vote in self.heard.split(":")]
        emotion = next((likely for likely in ("sad", "neutral") if likely in votes), votes[0])
        return replace(self, emotion=emotion, sad=int(emotion == "sad"))


def read_clips(folder: Path) -> list[Clip]:
    """The clips of a folder's manifest.csv, in its order; DataError names a row that is not one."""
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise MissingFileError(f"{manifest}: no such file: expected a folder of recordings with a manifest.csv")
    rows = list(csv.DictReader(table_text(manifest)))
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
            heard=row.get("voice_vote") or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}: expected path, corpus, speaker and, where known, sad as 0 or 1") from None
    if not set(clip.heard.split(":")) <= {"", *VOTES}:
        raise DataError(f"{where}: voice_vote = {clip.heard!r}: expected letters of {', '.join(VOTES)}, joined by :")
    if sad not in (0, 1) or not clip.speaker:
        raise DataError(f"{where}: sad = {sad}, speaker = {clip.speaker!r}: expected 0 or 1, and a name")
    return clip


def read_audio(path: Path) -> NDArray[np.float32]:
    """(n,) float32 at 16 kHz mono, read and mixed as the daemon does it; DataError for what is no sound, or half of it.

    Unlike the daemon's frames the samples are not rounded to 16 bits, and their last frame is not filled up.
    """
    mono, rate = _mono(path)
    samples: NDArray[np.float32] = (
        mono if rate == SAMPLE_RATE or not mono.size else soxr.resample(mono, rate, SAMPLE_RATE)
    )
    if samples.size == 0:
        raise DataError(f"{path}: no samples; {CURE}")
    return samples


def audio_rate(path: Path) -> tuple[int, int]:
    """(samples of a channel, Hz): by the size of plain samples, else all of it is decoded and counted."""
    with _opened(path) as sound:
        codec = sound.codec
        if isinstance(codec, Sndfile) and codec.width and codec.format in PLAIN and codec.frames is not None:
            return codec.frames, codec.rate
    mono, rate = _mono(path)
    return mono.size, rate


def _mono(path: Path) -> tuple[NDArray[np.float32], int]:
    """All of a recording as one channel at its own rate, and that."""
    with _opened(path) as sound:
        mixer = Mixer(sound.rate, sound.channels) if sound.channels > 1 else None
        blocks, heard = [np.zeros(0, np.float32)], 0
        for block in sound.blocks():
            _expect_numbers(path, block, heard / sound.rate, sound.rate)
            blocks.append(block[:, 0] if mixer is None else mixer.feed(block))
            heard += block.shape[0]
        if mixer is not None:
            blocks.append(mixer.feed(np.zeros((0, sound.channels), np.float32), last=True))
        return np.concatenate(blocks), sound.rate


def _expect_numbers(path: Path, block: NDArray[np.float32], begin_s: float, rate: int) -> None:

    numbers = np.isfinite(block).all(axis=1)
    if not numbers.all():
        at_s = begin_s + int((~numbers).argmax()) / rate
        raise DataError(f"{path}: NaN or infinite samples at {at_s:.2f} s; {CURE}")


@contextmanager
def _opened(path: Path) -> Iterator[Sound]:
    try:
        file = path.open("rb", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a zero in its name
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; {CURE}") from None
    with file:
        sound = Sound(file, str(path))
        if sound.rate < LEAST_HZ:
            raise DataError(
                f"{path}: {sound.rate} Hz: expected at least {LEAST_HZ:,}, below it no speech is left; {CURE}"
            )
        yield sound


def read_speech(path: Path) -> NDArray[np.float32]:
    """(n,) float32 at 16 kHz mono as the models hear a recording, above the daemon's high-pass."""
    return above(read_audio(path))


def daemon_segments(samples: NDArray[np.float32], seed: int, segmenter: Segmenter | None = None) -> list[Segment]:
    """What the daemon would score of this clip in a quiet room; the seed is that of the room's noise.

    The daemon's segmenter holds all that it does to sound: high-pass, subtraction of hum, level, detector, cut.
    """
    rng = np.random.default_rng(seed)
    trail = np.zeros(int(TRAIL_S * SAMPLE_RATE), np.float32)
    stream = np.concatenate([samples, trail])
    stream = stream + rng.standard_normal(stream.size).astype(np.float32) * np.float32(FLOOR)
    segmenter, framer = segmenter or Segmenter(VadConfig(), SegmentConfig()), Framer()
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
