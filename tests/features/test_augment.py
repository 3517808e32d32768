"""Augmentation: repeatable, of the size it says, and never a sample that is not a number."""

import numpy as np
import pytest

from sadstream.base.samples import SAMPLE_RATE
from train.features import augment
from train.features.augment import AugmentConfig, augmented


def tone(seconds: float = 2.0) -> np.ndarray:
    """A 300 Hz tone at -26 dBFS."""
    return (0.07 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def level_db(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.square(samples).mean()))


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    noise = np.random.default_rng(9).standard_normal(8000).astype(np.float32)
    heard = [augmented(tone(), AugmentConfig(), [noise], np.random.default_rng(seed)) for seed in (1, 1, 2)]

    assert np.array_equal(heard[0], heard[1])
    assert heard[0].shape != heard[2].shape or not np.array_equal(heard[0], heard[2])


@pytest.mark.parametrize("seed", range(12))
def test_a_view_is_finite_float32_within_full_scale_at_the_wanted_level(seed: int) -> None:
    heard = augmented(tone(), AugmentConfig(), [tone(0.3)], np.random.default_rng(seed))

    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1.0
    assert -47 < level_db(heard) < -13


def test_noise_lies_under_the_clip_by_the_stated_ratio() -> None:
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    heard = augment.noisy(tone(), noise, 10.0, np.random.default_rng(1))

    assert level_db(heard - tone()) == pytest.approx(level_db(tone()) - 10.0, abs=0.1)


def test_silence_gets_no_noise() -> None:
    """There is no level to set it against."""
    silence = np.zeros(1600, np.float32)

    assert not augment.noisy(silence, tone(), 10.0, np.random.default_rng(1)).any()


def test_speed_changes_the_length() -> None:
    assert augment.at_speed(tone(), 1.25).size == pytest.approx(tone().size / 1.25, abs=2)


def test_a_piece_is_no_longer_than_asked_and_stands_in_the_clip() -> None:
    clip = np.arange(16_000, dtype=np.float32)
    cut = augment.piece(clip, 0.25, np.random.default_rng(3))

    assert cut.size == 4000
    assert np.array_equal(cut, clip[int(cut[0]) : int(cut[0]) + 4000])


def test_reverberation_keeps_the_length_and_leaves_a_tail() -> None:
    click = np.zeros(16_000, np.float32)
    click[1000] = 1.0
    wet = augment.reverberant(click, 0.4, np.random.default_rng(0))

    assert wet.size == click.size
    assert wet[1000] == pytest.approx(1.0, abs=1e-3)
    assert np.square(wet[1033:3000]).sum() > 10 * np.square(wet[5000:7000]).sum() > 0


@pytest.mark.parametrize("seed", range(6))
def test_a_coded_clip_is_still_the_clip(seed: int) -> None:
    """Whatever line was drawn, the tone's energy stays near 300 Hz."""
    heard = augment.coded(tone(), np.random.default_rng(seed))
    spectrum = np.abs(np.fft.rfft(heard[: tone().size]))
    peak = spectrum.argmax() * SAMPLE_RATE / tone().size

    assert peak == pytest.approx(300, abs=5)
