"""Segments depend on the audio alone: not on how it arrives, nor on how loud the speaker is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadstream.audio.filters.framing import Framer
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.base.samples import FRAME_BYTES, SAMPLE_RATE, AudioFrame, to_pcm
from sadstream.config.tables import SegmentConfig, VadConfig

VOICED, QUIET = b"\x01\x01\xff\xfe" * (FRAME_BYTES // 4), bytes(FRAME_BYTES)


class Marked:
    """A detector that knows: frames of anything are speech."""

    def is_speech(self, pcm: bytes, sample_rate: int) -> bool:
        """Any sample that is not zero."""
        assert sample_rate == SAMPLE_RATE
        return any(pcm)


def frames(pattern: str, gap_at: int | None = None) -> list[AudioFrame]:
    """`x` is a voiced frame, `.` a quiet one."""
    return [
        AudioFrame(VOICED if mark == "x" else QUIET, 480 * n, float(n), gap=n == gap_at)
        for n, mark in enumerate(pattern)
    ]


def cut(pattern: str, gap_at: int | None = None, config: SegmentConfig | None = None) -> list[Segment]:
    segmenter = Segmenter(VadConfig(), config or SegmentConfig(), Marked())
    found = [segment for frame in frames(pattern, gap_at) for segment in segmenter.feed(frame)]
    return found + segmenter.flush()


def spans(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Start and end in frames."""
    return [(round(s.t_start / 0.03), round(s.t_end / 0.03)) for s in segments]


def samples_of(path: Path) -> NDArray[np.float32]:
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    return samples  # type: ignore[no-any-return]


def segments_of(samples: NDArray[np.float32], vad: VadConfig | None = None) -> list[Segment]:
    segmenter, framer = Segmenter(vad or VadConfig(), SegmentConfig()), Framer()
    found = framer.feed(to_pcm(samples), 0.0) + framer.flush(0.0)
    return [segment for frame in found for segment in segmenter.feed(frame)] + segmenter.flush()


def test_speech_between_pauses_is_one_segment_with_pre_roll_and_hold() -> None:
    ((start, end),) = spans(cut("." * 20 + "x" * 30 + "." * 40))

    assert start in range(9, 16)  # 210 ms before the window, less what puts the sound on the grid
    assert end == 60


def test_speech_of_seven_seconds_is_cut_at_three() -> None:
    assert spans(cut("x" * 233 + "." * 20)) == [(0, 100), (100, 200), (200, 243)]


def test_segments_never_overlap_and_number_from_zero_without_a_hole() -> None:
    found = cut(("x" * 35 + "." * 12) * 8)

    edges = [edge for span in spans(found) for edge in span]
    assert edges == sorted(edges)
    assert [segment.number for segment in found] == list(range(8))


@pytest.mark.parametrize("blip", ["x", "xx", "x.x.x", "xxxxx"])
def test_a_click_opens_nothing(blip: str) -> None:
    assert cut("." * 30 + blip + "." * 30) == []


def test_a_tail_without_enough_speech_is_no_segment() -> None:
    assert spans(cut("x" * 103 + "." * 30)) == [(0, 100)]


def test_speech_before_a_gap_is_kept_and_never_joined_with_what_follows() -> None:
    assert spans(cut("x" * 60, gap_at=40)) == [(0, 40), (40, 60)]


def test_flush_gives_what_is_open_and_leaves_nothing() -> None:
    segmenter = Segmenter(VadConfig(), SegmentConfig(), Marked())
    for frame in frames("x" * 50):
        assert segmenter.feed(frame) == []

    assert spans(segmenter.flush()) == [(0, 50)]
    assert segmenter.flush() == []


def test_a_segment_is_padded_with_zeros_to_three_seconds() -> None:
    (segment,) = cut("x" * 50)

    assert segment.samples.shape == (48_000,)
    assert segment.samples.dtype == np.float32
    assert np.all(segment.samples[: 50 * 480] != 0)
    assert np.all(segment.samples[50 * 480 :] == 0)


def test_voiced_is_the_share_of_voiced_frames() -> None:
    (segment,) = cut("x" * 30 + "." * 10)

    assert segment.voiced == pytest.approx(30 / 40)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=40))
def test_any_cutting_of_real_speech_gives_the_same_segments(cuts: list[int]) -> None:
    pcm = to_pcm(samples_of(Path("sadstream/cli/demo/scene/scene.flac"))[: 16_000 * 7])
    whole = Segmenter(VadConfig(), SegmentConfig())
    pieces = Segmenter(VadConfig(), SegmentConfig())
    framer, found, rest = Framer(), [], pcm
    expected = [s for frame in Framer().feed(pcm, 0.0) for s in whole.feed(frame)] + whole.flush()

    for size in [*cuts, len(pcm)]:
        found += [s for frame in framer.feed(rest[:size], 0.0) for s in pieces.feed(frame)]
        rest = rest[size:]
    found += pieces.flush()

    assert [(s.number, s.t_start, s.t_end, s.voiced) for s in found] == [
        (s.number, s.t_start, s.t_end, s.voiced) for s in expected
    ]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("level_dbfs", [-45.0, -30.0, -20.0, -10.0])
def test_a_quiet_speaker_is_cut_like_a_loud_one(scene: Path, level_dbfs: float) -> None:
    samples = samples_of(scene)
    gain = 10 ** (level_dbfs / 20) / np.sqrt(np.mean(samples**2))

    found = segments_of(np.clip(samples * gain, -1, 1))

    # Eight utterances, one of them longer than 3 s, and the beginning of the fan.
    assert len(found) in range(9, 12)


@pytest.mark.parametrize("level_dbfs", [-60.0, -40.0, -20.0, -10.0])
def test_steady_noise_is_no_speech_once_it_is_known(level_dbfs: float) -> None:
    noise = np.random.default_rng(0).standard_normal(30 * SAMPLE_RATE) * 10 ** (level_dbfs / 20)

    found = segments_of(np.clip(noise, -1, 1).astype(np.float32))

    assert all(segment.t_start < 12.0 for segment in found)


@pytest.mark.parametrize("level_dbfs", [-120.0, -60.0])
def test_silence_gives_no_segment(level_dbfs: float) -> None:
    noise = np.random.default_rng(0).standard_normal(60 * SAMPLE_RATE) * 10 ** (level_dbfs / 20)

    assert segments_of(noise.astype(np.float32)) == []
