"""Offsets, hum and channels are added as the tables say, and what moved is counted as they say; no models."""

from pathlib import Path

import numpy as np
import pytest

from train.corpora.clips import daemon_segments, read_audio
from train.evaluation.sound.channels import beside, kept, others
from train.evaluation.sound.signal import (
    AudioParts,
    HeardSegment,
    auc,
    counterpart,
    difference,
    disturbances,
    disturbed,
    hum,
    without_stages,
)
from train.features.noises import loud_dbfs

SPEAKERS = np.array(["a", "a", "b", "b"])
LABELS = np.array([0, 1, 0, 1])


def said(begin: float, end: float, p_sad: float = 0.3, sad: bool = False) -> HeardSegment:
    return HeardSegment(begin, end, p_sad, sad, "")


def test_a_hum_lies_ten_decibels_below_the_clip() -> None:
    rng = np.random.default_rng(0)
    clip = (rng.standard_normal(32_000) * 0.1).astype(np.float32)

    for harmonics in (1, 7):
        found = hum(clip, clip.size, 50.0, harmonics, rng)
        assert 10 * np.log10(np.square(found).mean() / np.square(clip).mean()) == pytest.approx(-10.0, abs=0.2)


def test_a_disturbance_goes_on_behind_the_clip_and_none_is_over_full_scale() -> None:
    clip = np.full(16_000, 0.95, np.float32)
    found = {one.name: disturbed(clip, one, np.random.default_rng(0)) for one in disturbances()}

    assert found["offset 10 %"][:16_000].max() == 1.0
    assert found["offset 10 %"][-1] == pytest.approx(0.1)
    assert found["as recorded"][-1] == 0.0
    assert found["hum 50 Hz, with harmonics, from 1 s before"].size == found["hum 50 Hz"].size + 16_000


def test_the_movement_of_a_ranking_is_that_of_the_same_speakers() -> None:
    first = AudioParts(LABELS, np.array([0.0, 1.0, 0.2, 0.8]), SPEAKERS)
    worse = AudioParts(LABELS, np.array([0.0, 1.0, 0.9, 0.8]), SPEAKERS)

    assert auc(LABELS, first.parts) == 1.0
    assert difference(first, first).interval.high == 0.0
    assert difference(first, worse).interval.value == pytest.approx(-0.25)


def test_without_the_stages_an_offset_stays_in_the_segments(scene: Path) -> None:
    samples = read_audio(scene)[: 8 * 16_000] * np.float32(0.5) + np.float32(0.05)
    with_stages, without = daemon_segments(samples, 0), daemon_segments(samples, 0, without_stages())

    assert abs(float(with_stages[0].samples[:16_000].mean())) < 0.005
    assert float(without[0].samples[:16_000].mean()) > 0.03


def test_a_segment_is_compared_with_the_one_that_shares_its_time() -> None:
    assert counterpart(said(1.0, 3.0), [said(0.0, 1.2), said(1.1, 3.1)]) == said(1.1, 3.1)
    assert counterpart(said(1.0, 3.0), [said(2.5, 5.0)]) is None


def test_a_mix_keeps_scores_only_if_it_keeps_every_segment() -> None:
    alone = [said(0.0, 3.0, 0.30), said(3.0, 5.0, 0.49)]

    assert kept(alone, alone).found == (True, True, True)
    assert kept(alone, alone[:1]).found == (False, False, False)
    assert kept(alone, [alone[0], said(3.0, 5.0, 0.52, sad=True)]).found == (False, True, False)


def test_other_channels_lie_within_twenty_decibels_of_the_speech(scene: Path) -> None:
    samples, rng = read_audio(scene)[: 5 * 16_000] * np.float32(0.05), np.random.default_rng(0)

    for name in others():
        channels, at = beside(samples, [name], rng)
        more_db = loud_dbfs(channels[:, 1 - at]) - loud_dbfs(samples)
        assert channels.shape == (samples.size, 2)
        assert name == "silence" or -20.5 < more_db < 20.5
        assert np.abs(channels[:, at] - samples).max() < 0.002
