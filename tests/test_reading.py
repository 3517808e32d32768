"""A recording that nothing can be learned from is named before training, whatever is wrong with it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.reading import sound_problem

NOISE = 0.1 * np.random.default_rng(0).standard_normal(16_000)


def written(path: Path, samples: np.ndarray = NOISE, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def with_one(path: Path, value: float) -> Path:
    samples = NOISE.copy()
    samples[8_000] = value
    return written(path, samples, subtype="FLOAT")


def cut(path: Path) -> Path:
    path.write_bytes(written(path).read_bytes()[:9_000])
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
    "nothing": (lambda f: written(f / "a.wav", NOISE[:0]), "no samples"),
    "no bytes": (lambda f: [(f / "a.wav").touch(), f / "a.wav"][1], "cannot be read as audio"),
    "text": (lambda f: [(f / "a.wav").write_text("hello"), f / "a.wav"][1], "cannot be read as audio"),
    "raw by its name": (lambda f: [(f / "a.raw").write_bytes(bytes(99)), f / "a.raw"][1], "cannot be read as audio"),
    "silence": (lambda f: written(f / "a.wav", np.zeros(16_000)), "nothing but silence"),
    "a constant level": (lambda f: written(f / "a.wav", np.full(16_000, 0.5)), "silence or a constant level"),
    "cut WAV": (lambda f: cut(f / "a.wav"), "truncated"),
    "cut FLAC": (lambda f: cut(f / "a.flac"), "a.flac"),
    "1 Hz": (lambda f: at_1_hz(f / "a.wav"), "1 Hz: expected 4,000"),
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
