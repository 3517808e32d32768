"""Features have the thesis's shape and do not know how loud the microphone was."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sadstream.audio.filters.level import at_level
from sadstream.scoring.fusion.features import heard_frames, log_mel
from sadstream.scoring.fusion.header import LogMelConfig


def speechlike(seconds: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    samples = np.zeros(48_000, dtype=np.float32)
    n = int(seconds * 16_000)
    samples[:n] = rng.standard_normal(n) * np.abs(np.sin(np.arange(n) / 3000))
    return samples


def test_the_thesis_matrix_is_94_by_128() -> None:
    assert log_mel(torch.zeros(48_000), LogMelConfig()).shape == (94, 128)


def test_a_hop_of_10_ms_gives_301_frames() -> None:
    config = LogMelConfig(hop=160)

    assert log_mel(torch.zeros(2, 48_000), config).shape == (2, config.n_frames, 128) == (2, 301, 128)


def test_silence_is_the_logarithm_of_the_offset() -> None:
    assert torch.allclose(log_mel(torch.zeros(48_000), LogMelConfig()), torch.tensor(1e-6).log())


def test_no_filter_of_the_preset_is_empty() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(48_000).astype(np.float32))

    assert log_mel(noise, LogMelConfig()).mean(0).min() > -6


@pytest.mark.parametrize("gain_db", [-40.0, -20.0, 0.0])
def test_gain_leaves_no_trace(gain_db: float) -> None:
    samples = 0.1 * speechlike()

    quiet = at_level(samples * np.float32(10 ** (gain_db / 20)), -20.0)

    assert np.allclose(quiet, at_level(samples, -20.0), atol=1e-5)


def test_padding_leaves_no_trace_in_the_level() -> None:
    loud = at_level(speechlike(1.0), -20.0)[:16_000]
    same = at_level(speechlike(3.0), -20.0)[:16_000]

    assert np.abs(loud).std() == pytest.approx(np.abs(same).std(), rel=0.25)


def test_silence_stays_silence() -> None:
    assert not at_level(np.zeros(48_000, dtype=np.float32), -20.0).any()


@settings(max_examples=50, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(1e-38, 1.0))
def test_extreme_samples_stay_finite(offset: float, scale: float) -> None:
    samples = np.full(48_000, offset, dtype=np.float32) * np.float32(scale)

    assert np.isfinite(at_level(samples, -20.0)).all()
    assert torch.isfinite(log_mel(torch.from_numpy(at_level(samples, -20.0)), LogMelConfig())).all()


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (960, 1), (961, 2), (24_000, 25), (48_000, 50)])
def test_frames_that_hold_audio_are_counted(samples: int, frames: int) -> None:
    assert heard_frames(samples, 50) == frames
