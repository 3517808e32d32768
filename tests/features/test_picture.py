"""A recording rebuilt from a picture of its spectrogram: the same length and spectrum, other phases."""

import numpy as np

from train.features.picture import rebuilt


def voice(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * 16_000)) / 16_000
    buzz = sum(np.sin(2 * np.pi * 140 * n * t) / n for n in range(1, 25))
    return (0.05 * buzz * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def test_it_is_as_long_and_as_loud_and_another_wave() -> None:
    sound = voice(1.37)
    heard = rebuilt(sound)

    assert heard.shape == sound.shape
    assert heard.dtype == np.float32
    assert abs(20 * np.log10(np.square(heard).mean() / np.square(sound).mean()) / 2) < 1.0
    assert abs(np.corrcoef(heard, sound)[0, 1]) < 0.9


def test_the_same_recording_gives_the_same_sound() -> None:
    assert np.array_equal(rebuilt(voice(0.5)), rebuilt(voice(0.5)))


def test_what_is_shorter_than_one_window_stays() -> None:
    assert np.array_equal(rebuilt(voice(0.05)), voice(0.05))


def test_silence_stays_silence() -> None:
    assert np.abs(rebuilt(np.zeros(16_000, np.float32))).max() < 1e-3
