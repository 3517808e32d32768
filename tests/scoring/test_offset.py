"""A voice's offset: from talk that came before, never from the segment itself, and no more than is known."""

import pytest

from sadstream.scoring.mood.offset import LEAST_S, LIMIT, WINDOW_S, RunningOffset, calibrated_offset


def test_a_gloomy_voice_is_lifted_towards_the_others() -> None:
    assert calibrated_offset([1.0] * 30, reference=-0.6) == pytest.approx(-1.6, abs=0.2)


def test_few_segments_move_it_little() -> None:
    few, many = calibrated_offset([1.0] * 2, -0.6), calibrated_offset([1.0] * 200, -0.6)

    assert -0.6 < few < 0
    assert many == pytest.approx(-1.6, abs=0.05)


def test_it_is_bounded() -> None:
    assert calibrated_offset([-3.0] * 10_000, 3.0) == LIMIT


def test_a_voice_like_the_others_is_left_alone() -> None:
    assert calibrated_offset([-0.6] * 30, -0.6) == pytest.approx(0.0)


def test_the_running_offset_says_nothing_before_a_minute_of_talk() -> None:
    running = RunningOffset(reference=0.0)

    assert [running.feed(2.0, 3.0) for _ in range(int(LEAST_S / 3))] == [0.0] * int(LEAST_S / 3)
    assert running.feed(2.0, 3.0) < -1.0


def test_it_never_knows_the_segment_that_it_is_for() -> None:
    one, other = RunningOffset(0.0), RunningOffset(0.0)
    for _ in range(30):
        one.feed(0.5, 3.0)
        other.feed(0.5, 3.0)

    assert one.feed(3.0, 3.0) == other.feed(-3.0, 3.0)


def test_a_sad_minute_does_not_move_the_median_far() -> None:
    running = RunningOffset(0.0)
    for _ in range(100):
        running.feed(0.1, 3.0)
    before = running.offset
    for _ in range(20):
        running.feed(3.0, 3.0)

    assert running.offset == pytest.approx(before, abs=0.01)


def test_talk_of_long_ago_is_forgotten() -> None:
    running = RunningOffset(0.0)
    for part in [2.0] * 200 + [0.0] * int(WINDOW_S / 3 + 1):
        running.feed(part, 3.0)

    assert running.offset == 0.0
