"""Frames are exactly 30 ms of 16 kHz mono, however the bytes arrive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadstream.audio.filters import framing
from sadstream.base import samples as audio


def test_constants_follow_from_rate_frame_and_segment() -> None:
    assert (audio.FRAME_SAMPLES, audio.FRAME_BYTES, audio.SEGMENT_SAMPLES, audio.SEGMENT_FRAMES) == (
        480,
        960,
        48_000,
        100,
    )


def test_a_constant_that_does_not_divide_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match="not a multiple"):
        audio.exact_div(16_000, 7)


@pytest.mark.parametrize("size", [0, 959, 961, 1920])
def test_a_frame_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="960 bytes"):
        audio.AudioFrame(bytes(size), 0, 0.0)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=6000), st.lists(st.integers(1, 1500), max_size=20))
def test_any_cutting_gives_the_same_frames(pcm: bytes, cuts: list[int]) -> None:
    whole, pieces = framing.Framer(), framing.Framer()
    expected = whole.feed(pcm, 0.0) + whole.flush(0.0)

    found, rest = [], pcm
    for cut in [*cuts, len(pcm)]:
        found += pieces.feed(rest[:cut], 0.0)
        rest = rest[cut:]
    found += pieces.flush(0.0)

    assert found == expected
    assert [frame.index for frame in found] == [480 * n for n in range(len(found))]


def test_lost_samples_move_the_index_and_mark_the_next_frame() -> None:
    framer = framing.Framer()
    framer.feed(bytes(1000), 0.0)
    framer.skip(1600)

    after = framer.feed(bytes(1920), 1.0)

    assert [(frame.index, frame.gap) for frame in after] == [(500 + 1600, True), (500 + 1600 + 480, False)]


def test_floats_become_bytes_and_come_back_to_a_quantum() -> None:
    samples = np.linspace(-1.0, 0.99, 1000, dtype=np.float32)

    assert np.abs(audio.to_float(audio.to_pcm(samples)) - samples).max() <= 0.5 / 32768


def test_out_of_range_floats_are_clipped_not_wrapped() -> None:
    assert audio.to_float(audio.to_pcm(np.array([2.0, -2.0], dtype=np.float32))).tolist() == [32767 / 32768, -1.0]


@pytest.mark.parametrize(("amplitude", "dbfs"), [(1.0, -3.01), (0.1, -23.01), (0.0, -120.0)])
def test_level_of_a_sine(amplitude: float, dbfs: float) -> None:
    sine = amplitude * np.sin(2 * np.pi * 1000 * np.arange(480) / 16_000)

    assert audio.rms_dbfs(audio.to_pcm(sine.astype(np.float32))) == pytest.approx(dbfs, abs=0.02)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 6), (8_000, 1), (16_000, 2)])
def test_a_tone_survives_resampling_at_its_pitch_and_level(rate: int, channels: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(rate) / rate).astype(np.float32)
    resampler = framing.Resampler(rate, channels)

    pcm = resampler.feed(np.repeat(tone[:, None], channels, axis=1))
    pcm += resampler.feed(np.zeros((0, channels), dtype=np.float32), last=True)

    heard = audio.to_float(pcm)
    spectrum = np.abs(np.fft.rfft(heard))
    assert abs(len(heard) - 16_000) <= 2
    assert np.fft.rfftfreq(len(heard), 1 / 16_000)[spectrum.argmax()] == pytest.approx(500, abs=1.1)
    assert heard[2000:-2000].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_raw_stereo_bytes_cut_in_the_middle_of_a_sample_are_put_together() -> None:
    stereo = np.repeat(np.arange(1000, dtype="<i2"), 2).tobytes()
    resampler = framing.Resampler(16_000, 2)

    pcm = b"".join(resampler.feed_pcm(stereo[at : at + 7]) for at in range(0, len(stereo), 7))
    pcm += resampler.feed_pcm(b"", last=True)  # the mix waits for 30 ms of its channels

    assert np.frombuffer(pcm, dtype="<i2").tolist() == list(range(1000))
