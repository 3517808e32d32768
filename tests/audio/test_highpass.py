"""What lies below speech changes nothing: an offset, rumble, however the stream is cut."""

from pathlib import Path

import numpy as np
import pytest
from fakes import voice
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadstream.audio.filters.framing import Framer
from sadstream.audio.filters.highpass import CUTOFF_HZ, HighPass, above
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, rms_dbfs, to_float, to_pcm
from sadstream.config.tables import SegmentConfig, VadConfig
from train.corpora.clips import read_audio


def filtered(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    high_pass, framer = HighPass(), Framer()
    frames = framer.feed(to_pcm(samples), 0.0) + framer.flush(0.0)
    return to_float(b"".join(high_pass.feed(frame).pcm for frame in frames))


def tone(hz: float, seconds: float = 2.0, peak: float = 0.25) -> NDArray[np.float32]:
    return (peak * np.sin(2 * np.pi * hz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def gain_db(hz: float) -> float:
    """In the second half, when what the beginning stirred up has died away."""
    half = SAMPLE_RATE
    return rms_dbfs(to_pcm(filtered(tone(hz))[half : 2 * half])) - rms_dbfs(to_pcm(tone(hz)[half:]))


@pytest.mark.parametrize("percent", [1, 5, 10, -10, 60])
def test_an_offset_is_gone_from_the_first_sample_on(percent: int) -> None:
    """The first frame says what the offset is: no thump that a detector would take for a word."""
    quiet = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32) * np.float32(0.001)

    assert np.abs(filtered(quiet + np.float32(percent / 100)) - filtered(quiet)).max() < 0.001


def test_digital_silence_stays_digital_silence() -> None:
    assert not filtered(np.zeros(SAMPLE_RATE, np.float32)).any()


@pytest.mark.parametrize(
    ("hz", "at_least", "at_most"), [(4, -99, -27), (8, -99, -15), (85, -0.1, 0.1), (300, -0.1, 0.1)]
)
def test_rumble_is_taken_away_and_the_lowest_voice_is_not(hz: float, at_least: float, at_most: float) -> None:
    assert at_least < gain_db(hz) < at_most


def test_half_the_power_passes_at_the_cutoff() -> None:
    assert gain_db(CUTOFF_HZ) == pytest.approx(-3.0, abs=0.1)


def test_a_step_of_the_offset_dies_away_and_leaves_nothing() -> None:
    sound = voice(3.0)
    stepped = sound + np.where(np.arange(sound.size) < SAMPLE_RATE, 0.0, 0.1).astype(np.float32)

    after = slice(SAMPLE_RATE + SAMPLE_RATE // 10, None)
    assert np.abs(filtered(stepped)[after] - filtered(sound)[after]).max() < 0.001


def test_full_scale_with_an_offset_is_clipped_and_never_wraps_around() -> None:
    square = np.where(tone(200) >= 0, 1.0, -1.0).astype(np.float32)
    square[SAMPLE_RATE:] = -1.0

    found = filtered(square)

    assert found.max() == 32767 / 32768  # a signed sample that overflows would be negative
    assert found[:SAMPLE_RATE][square[:SAMPLE_RATE] > 0].min() > 0.4
    assert found[-1] > -0.01


def test_a_gap_begins_anew() -> None:
    framer, high_pass = Framer(), HighPass()
    level = to_pcm(np.full(FRAME_SAMPLES, 0.1, np.float32))
    before = [high_pass.feed(frame) for frame in framer.feed(to_pcm(tone(100, 0.3)), 0.0)]
    framer.skip(700)
    (after,) = [high_pass.feed(frame) for frame in framer.feed(level, 0.0)]

    assert any(before[-1].pcm)
    assert (after.gap, after.index, any(after.pcm)) == (True, 4800 + 700, False)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=40))
def test_any_cutting_gives_the_same_bytes(cuts: list[int]) -> None:
    pcm = to_pcm(voice(2.0) + np.float32(0.1))
    whole, pieces, framer = HighPass(), HighPass(), Framer()
    expected = [whole.feed(frame) for frame in Framer().feed(pcm, 0.0)]

    found, rest = [], pcm
    for size in [*cuts, len(pcm)]:
        found += [pieces.feed(frame) for frame in framer.feed(rest[:size], 0.0)]
        rest = rest[size:]

    assert found == expected


def test_training_hears_what_the_daemon_hears() -> None:
    sound = voice(1.99) + np.float32(0.05)

    assert np.abs(above(sound) - filtered(sound)[: sound.size]).max() < 1.1 / 32768


def cut(samples: NDArray[np.float32]) -> list[Segment]:
    segmenter, framer = Segmenter(VadConfig(), SegmentConfig()), Framer()
    return [s for frame in framer.feed(to_pcm(samples), 0.0) for s in segmenter.feed(frame)] + segmenter.flush()


@pytest.mark.parametrize("below", ["offset of 10 percent", "rumble of 8 Hz, 6 dB over speech", "steps"])
def test_segments_hold_the_same_sound_whatever_lies_below_it(scene: Path, below: str) -> None:
    samples = read_audio(scene) * np.float32(0.5)
    n = np.arange(samples.size)
    loud = float(np.sqrt(np.mean(np.square(samples)))) * 2
    more = {
        "offset of 10 percent": np.full(samples.size, 0.1),
        "rumble of 8 Hz, 6 dB over speech": loud * np.sqrt(2) * np.sin(2 * np.pi * 8 * n / SAMPLE_RATE),
        "steps": np.where(n // (7 * SAMPLE_RATE) % 2, 0.03, -0.03),
    }[below]

    clean, changed = cut(samples), cut(samples + more.astype(np.float32))

    assert len(changed) == len(clean)
    assert [s.t_start for s in changed] == pytest.approx([s.t_start for s in clean], abs=0.16)
    assert [s.t_end for s in changed] == pytest.approx([s.t_end for s in clean], abs=0.16)
