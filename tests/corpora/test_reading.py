"""A recording that nothing can be learned from is named before training, whatever is wrong with it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from sadstream.audio.sources.recording import Recording
from train.corpora.clips import read_audio
from train.corpora.reading import length_s, sound_problem

NOISE = 0.1 * np.random.default_rng(0).standard_normal(16_000)


def written(path: Path, samples: np.ndarray = NOISE, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def with_one(path: Path, value: float, at: int = 8_000) -> Path:
    samples = NOISE.copy()
    samples[at] = value
    return written(path, samples, subtype="FLOAT")


def cut(path: Path, subtype: str = "PCM_16") -> Path:
    content = written(path, subtype=subtype).read_bytes()
    path.write_bytes(content[: len(content) // 3])
    return path


def at_1_hz(path: Path) -> Path:
    content = bytearray(written(path).read_bytes())
    content[24:28] = struct.pack("<I", 1)
    path.write_bytes(content)
    return path


def cannot_be_entered(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "a.wav"


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "NaN": (lambda f: with_one(f / "a.wav", np.nan), "NaN or infinite samples at 0.50 s"),
    "infinite": (lambda f: with_one(f / "a.wav", -np.inf), "NaN or infinite samples"),
    "NaN at the end": (lambda f: with_one(f / "a.wav", np.nan, 15_999), "NaN or infinite samples at 1.00 s"),
    "2 kHz": (lambda f: written(f / "a.wav", rate=2_000), "2000 Hz: expected at least 4,000"),
    "nothing": (lambda f: written(f / "a.wav", NOISE[:0]), "no samples"),
    "no bytes": (lambda f: [(f / "a.wav").touch(), f / "a.wav"][1], "not a recording"),
    "text": (lambda f: [(f / "a.wav").write_text("hello"), f / "a.wav"][1], "not a recording"),
    "raw by its name": (lambda f: [(f / "a.raw").write_bytes(bytes(99)), f / "a.raw"][1], "not a recording"),
    "silence": (lambda f: written(f / "a.wav", np.zeros(16_000)), "nothing but silence"),
    "a constant level": (lambda f: written(f / "a.wav", np.full(16_000, 0.5)), "silence or a constant level"),
    "cut WAV": (lambda f: cut(f / "a.wav"), "truncated"),
    "cut FLAC": (lambda f: cut(f / "a.flac"), "a.flac"),
    "cut Ogg": (lambda f: cut(f / "a.ogg", "VORBIS"), "a.ogg"),
    "cut 24 bits": (lambda f: cut(f / "a.wav", "PCM_24"), "truncated"),
    "cut AIFF": (lambda f: cut(f / "a.aiff"), "truncated"),
    "1 Hz": (lambda f: at_1_hz(f / "a.wav"), "1 Hz: expected 1000"),
    "an integer's scale": (lambda f: written(f / "a.wav", NOISE * 32768, subtype="FLOAT"), "expected at most 1"),
    "a session": (lambda f: written(f / "a.wav", np.tile(NOISE, 700), 16_000, "PCM_U8"), "700 s: expected one utter"),
    "a folder": (lambda f: f, "is not a file"),
    "not there": (lambda f: f / "a.wav", "no recording at"),
    "no folder on the way": (cannot_be_entered, "no recording at"),
    "a long name": (lambda f: f / ("n" * 300 + ".wav"), "cannot be read"),
    "a zero in the name": (lambda f: f / "a\0.wav", "no recording at"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    make, says = BAD[kind]
    path = make(tmp_path)
    problem = sound_problem(path)

    assert problem is not None
    assert says in problem
    assert str(path) in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("samples", "rate", "subtype"),
    [
        (NOISE, 16_000, "PCM_16"),
        (np.stack([NOISE, NOISE * 0], axis=1), 44_100, "PCM_24"),
        (NOISE, 8_000, "ULAW"),
        (NOISE, 192_000, "FLOAT"),
        (NOISE[:160], 16_000, "PCM_U8"),
        (NOISE * 0.0005, 16_000, "PCM_16"),
    ],
    ids=["plain", "one dead channel", "a telephone", "192 kHz", "10 ms", "very quiet"],
)
def test_an_odd_recording_is_one(tmp_path: Path, samples: np.ndarray, rate: int, subtype: str) -> None:
    assert sound_problem(written(tmp_path / "a.wav", samples, rate, subtype)) is None


def test_less_than_was_written_down_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav")

    assert sound_problem(path, expected_s=1.1) is None
    assert "1.00 s of the 3.00 s" in str(sound_problem(path, expected_s=3.0))


def wrong_size(path: Path, said: int) -> Path:
    content = bytearray(written(path).read_bytes())
    content[40:44] = struct.pack("<I", said)
    path.write_bytes(content)
    return path


def unknown_length(path: Path) -> Path:
    content = bytearray(written(path).read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])
    path.write_bytes(content)
    return path


UNTRUE: dict[str, Callable[[Path], Path]] = {
    "a killed writer": lambda f: wrong_size(f / "a.wav", 2_000),
    "never patched": lambda f: wrong_size(f / "a.wav", 0),
    "a placeholder": lambda f: wrong_size(f / "a.wav", 0x7FFF_F000),
    "a pipe": lambda f: wrong_size(f / "a.wav", 0xFFFF_FFFF),
    "a FLAC of unknown length": lambda f: unknown_length(f / "a.flac"),
}


@pytest.mark.parametrize("kind", UNTRUE)
def test_all_that_is_there_is_learned_from_whatever_the_header_says(tmp_path: Path, kind: str) -> None:
    path = UNTRUE[kind](tmp_path)

    assert sound_problem(path) is None
    assert read_audio(path).size == 16_000
    assert length_s(path) == 1.0


def test_channels_are_mixed_as_the_daemon_does_it(tmp_path: Path) -> None:
    """An inverted channel does not cancel what is learned from, as it does not what is heard."""
    path = written(tmp_path / "a.wav", np.stack([NOISE, -NOISE], axis=1))
    heard = np.frombuffer(b"".join(frame.pcm for frame in Recording(path).frames()), "<i2")[:16_000] / 32768

    np.testing.assert_allclose(read_audio(path), heard, atol=2 / 32768)
    assert float(np.abs(read_audio(path)).max()) > 0.1


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_samples_of_a_sound_recording_are_those_of_its_file(tmp_path: Path, rate: int) -> None:
    path = written(tmp_path / "a.wav", rate=rate, subtype="FLOAT")
    samples, _ = soundfile.read(path, dtype="float32")

    assert (read_audio(path) == (samples if rate == 16_000 else soxr.resample(samples, rate, 16_000))).all()
