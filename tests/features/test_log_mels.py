"""What is heard of a recording: its first 3 s, every 3 s, or up to 12; computed once."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_corpus import row

from sadstream.audio.filters.highpass import above
from sadstream.scoring.fusion.features import log_mel
from sadstream.scoring.fusion.header import LogMelConfig
from train.features.cache import Cache
from train.features.log_mels import heard_samples, log_mels, pieces, stored, total_samples
from train.presets import AudioSource


@pytest.mark.parametrize(
    ("view", "seconds", "expected"),
    [
        ("first", 1.0, [16_000]),
        ("first", 7.0, [48_000]),
        ("pieces", 1.0, [16_000]),
        ("pieces", 7.0, [48_000, 48_000, 16_000]),
        ("pieces", 6.4, [48_000, 48_000]),  # a rest under half a second is no piece
        ("whole", 7.0, [112_000]),
        ("whole", 20.0, [192_000]),
    ],
)
def test_a_recording_is_cut_into_pieces_that_say_how_much_they_hold(
    view: str, seconds: float, expected: list[int]
) -> None:
    audio = AudioSource(view=view)  # type: ignore[arg-type]
    samples = np.ones(int(seconds * 16_000), dtype=np.float32)
    cut = pieces(samples, audio)

    assert cut.shape == (len(expected), 192_000 if view == "whole" else 48_000)
    assert [int(piece.sum()) for piece in cut] == expected
    assert heard_samples(samples.size, audio) == expected


def test_the_features_are_the_daemons_and_are_computed_once(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(50_000)
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    rows, cache = [row("Ses01F_impro01_M000", "neu", path=str(tmp_path / "a.wav"))], Cache(tmp_path / "cache")
    first = log_mels(rows, LogMelConfig(), AudioSource(), cache)
    written = cache.path(first[0].key).stat().st_mtime_ns
    again = log_mels(rows, LogMelConfig(), AudioSource(), cache)
    heard, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")

    assert again == first
    assert cache.path(first[0].key).stat().st_mtime_ns == written
    expected = log_mel(torch.from_numpy(above(heard)[None, :48_000]), LogMelConfig())
    assert (torch.from_numpy(stored(first, cache)[0]) == expected).all()
    assert total_samples(rows[0].path) == 50_000


def test_other_settings_are_other_entries(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000) + 0.1, 16_000)
    rows, cache = [row("Ses01F_impro01_M000", "neu", path=str(tmp_path / "a.wav"))], Cache(tmp_path / "cache")
    keys = {
        log_mels(rows, features, audio, cache)[0].key
        for features in (LogMelConfig(), LogMelConfig(hop=160))
        for audio in (AudioSource(), AudioSource(view="pieces"))
    }

    assert len(keys) == 4


@pytest.mark.slow
def test_many_recordings_are_computed_in_parallel_to_the_same_numbers(tmp_path: Path) -> None:
    rows = []
    for i in range(80):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(20_000), 16_000)
        rows.append(row(f"Ses01F_impro01_M{i:03d}", "neu", path=str(path)))
    many = log_mels(rows, LogMelConfig(), AudioSource(), Cache(tmp_path / "many"))
    few = [log_mels([one], LogMelConfig(), AudioSource(), Cache(tmp_path / "few"))[0] for one in rows]

    assert many == few
    assert all(
        (a == b).all()
        for a, b in zip(stored(many, Cache(tmp_path / "many")), stored(few, Cache(tmp_path / "few")), strict=True)
    )
