"""Recordings in every container that libsndfile writes, and streams on standard input, each up to its segments."""

import io
import os
import random
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
from fakes import Each, analysis, talk

from fuzz import mutate
from fuzz.trial import Parts, Trial
from sadstream.audio.segmenter import Segmenter
from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.recording import Recording
from sadstream.audio.sources.source import SourceChange
from sadstream.base.samples import to_pcm
from sadstream.config import parse
from sadstream.config.tables import StreamConfig
from sadstream.scoring.recording import score_recording

CONTAINERS = (
    ("wav", "WAV", "PCM_16", 16_000, 1), ("wav", "WAV", "PCM_U8", 8_000, 1), ("wav", "WAV", "PCM_24", 44_100, 2),
    ("wav", "WAV", "FLOAT", 16_000, 1), ("wav", "WAV", "IMA_ADPCM", 8_000, 1), ("wav", "WAV", "MS_ADPCM", 8_000, 1),
    ("wav", "WAV", "GSM610", 8_000, 1), ("wav", "WAV", "ULAW", 8_000, 1), ("wav", "WAVEX", "PCM_16", 16_000, 2),
    ("wav", "WAVEX", "PCM_24", 16_000, 1), ("wav", "RF64", "PCM_16", 16_000, 1), ("w64", "W64", "PCM_16", 16_000, 1),
    ("aiff", "AIFF", "PCM_16", 16_000, 1), ("aiff", "AIFF", "IMA_ADPCM", 8_000, 1), ("au", "AU", "PCM_16", 16_000, 1),
    ("au", "AU", "ULAW", 8_000, 1), ("caf", "CAF", "PCM_16", 16_000, 1), ("caf", "CAF", "ALAC_16", 16_000, 1),
    ("flac", "FLAC", "PCM_16", 16_000, 1), ("flac", "FLAC", "PCM_24", 48_000, 2), ("ogg", "OGG", "VORBIS", 16_000, 1),
    ("opus", "OGG", "OPUS", 16_000, 1), ("mp3", "MP3", "MPEG_LAYER_III", 16_000, 1),
    ("voc", "VOC", "PCM_16", 16_000, 1), ("nist", "NIST", "PCM_16", 16_000, 1), ("sds", "SDS", "PCM_16", 16_000, 1),
    ("mat", "MAT5", "PCM_16", 16_000, 1),
)  # fmt: skip
SECONDS = (0.5, 0.3)  # of voice, and of quiet on either side
REFUSED = ("sds",)  # a MIDI sample dump
NOT_PIPED = (*REFUSED, "caf", ".caf")  # its PCM cannot be read as it comes
HEAD = 200


def containers() -> list[tuple[str, bytes]]:
    """The same few words in each container, with its suffix; two with chunks that other programs add."""
    found = []
    for suffix, kind, subtype, rate, channels in CONTAINERS:
        sound = talk(1, *SECONDS)
        sound = sound[:: 16_000 // rate] if rate < 16_000 else np.repeat(sound, 3) if rate > 32_000 else sound
        file = io.BytesIO()
        shaped = np.repeat(sound[:, None], channels, axis=1)
        soundfile.write(file, shaped, rate, format=kind, subtype=subtype)
        found.append((suffix, file.getvalue()))
    plain = found[0][1]
    listed = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"
    found.append(("wav", plain[:36] + listed + plain[36:]))
    found.append(("wav", plain[:12] + b"bext" + struct.pack("<I", 602) + bytes(602) + plain[12:] + b"id3 " + bytes(4)))
    return found


@contextmanager
def recordings(folder: Path) -> Iterator[Trial]:
    """Files of recordings, as `score` reads them."""
    seeds = containers()
    contents = [content for _, content in seeds]
    config = parse({}, "fuzz")

    def make(rng: random.Random) -> Parts:
        suffix, content = rng.choice(seeds)
        wrong = rng.choice(seeds)[0] if rng.random() < 0.05 else suffix
        return [mutate.binary(rng, content, contents, HEAD), wrong.encode()]

    def feed(parts: Parts) -> None:
        path = folder / f"case.{parts[1].decode()}"
        path.write_bytes(parts[0])
        for _ in score_recording(Recording(path), config, Each(analysis)):
            pass

    read = [[content, suffix.encode()] for suffix, content in seeds if suffix not in REFUSED]
    yield Trial(read, make, feed)


@contextmanager
def pipes(_: Path) -> Iterator[Trial]:
    """What comes on standard input: raw PCM of any rate, and files with a header."""
    raw = to_pcm(talk(1, *SECONDS))
    seeds = [
        raw,
        raw[:1001],
        b"",
        *(content for suffix, content in containers() if suffix not in (*REFUSED, "caf", ".caf")),
    ]
    shapes = [(16_000, 1), (8_000, 1), (48_000, 2), (44_100, 2), (192_000, 32)]
    config = parse({}, "fuzz")

    def make(rng: random.Random) -> Parts:
        content = rng.choice(seeds if rng.random() < 0.7 else seeds[:2])
        rate, channels = rng.choice(shapes) if rng.random() < 0.5 else shapes[0]
        return [mutate.binary(rng, content, seeds, HEAD), struct.pack("<II", rate, channels)]

    def feed(parts: Parts) -> None:
        rate, channels = struct.unpack("<II", parts[1])
        read, write = os.pipe()
        os.dup2(read, 0)
        os.close(read)
        sys.stdin = open(0, "rb", closefd=False)  # type: ignore[assignment]  # noqa: SIM115

        def say() -> None:
            with suppress(OSError), open(write, "wb") as pipe:  # noqa: PTH123
                pipe.write(parts[0])

        writer = threading.Thread(target=say)
        writer.start()
        try:
            source = open_source(StreamConfig(source="-", rate=rate, channels=channels), config)
            segmenter = Segmenter(config.vad, config.segment)
            for item in source.listen(lambda: False):
                if not isinstance(item, SourceChange):
                    segmenter.feed(item)
            segmenter.flush()
        finally:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            writer.join()

    yield Trial([[content, struct.pack("<II", 16_000, 1)] for content in seeds], make, feed)
