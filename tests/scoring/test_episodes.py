"""Evidence over time: what starts an episode, what ends it, and what each says of itself."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sadstream.scoring.mood.belief import StretchBelief
from sadstream.scoring.mood.episodes import (
    HYSTERESIS,
    UPDATE_S,
    EpisodeFilter,
    EpisodeUpdate,
    ScoredSegment,
)

llrs = st.lists(st.tuples(st.floats(-6, 6), st.floats(0.3, 3.0), st.floats(0.0, 400.0)), max_size=60)


def talk(values: list[float], start: float = 0.0, gap_s: float = 1.0) -> list[ScoredSegment]:
    """Segments of 2.5 s with these ratios, a pause after each."""
    step = 2.5 + gap_s
    return [ScoredSegment(start + n * step, start + n * step + 2.5, n, r > 1, r) for n, r in enumerate(values)]


def turns(heard: list[ScoredSegment], threshold: float = 2.0) -> list[EpisodeUpdate]:
    episodes = EpisodeFilter(threshold, StretchBelief())
    return [turn for one in heard for turn in episodes.feed(one)] + episodes.flush()


def test_one_sad_segment_is_no_episode() -> None:
    assert turns(talk([-1.0, 3.0, -1.0, -1.0])) == []


def test_several_in_a_row_are_one_and_it_says_when_it_began() -> None:
    said = turns(talk([-1.0] * 5 + [2.5] * 8))

    assert [turn.phase for turn in said] == ["start", "update", "end"]
    start = said[0]
    assert start.t_start == pytest.approx(5 * 3.5)
    assert (start.segments, start.sad_segments) == (start.last_score_seq - start.first_score_seq + 1, start.segments)
    assert start.evidence >= 2.0
    assert start.mood == pytest.approx(1 / (1 + math.exp(-start.evidence)))


def test_sad_segments_with_others_between_them_still_add_up() -> None:
    assert turns(talk([2.5, 2.5, -1.0] * 6))[0].phase == "start"


def test_other_talk_ends_it() -> None:
    said = turns(talk([2.5] * 6 + [-2.0] * 12))

    assert [turn.phase for turn in said if turn.phase != "update"] == ["start", "end"]
    assert said[-1].evidence < 2.0 - HYSTERESIS


def test_silence_ends_it_too() -> None:
    episodes = EpisodeFilter(2.0, StretchBelief())
    for one in talk([2.5] * 6):
        episodes.feed(one)

    assert episodes.elapse(25.0) == []
    (end,) = episodes.elapse(600.0)
    assert end.phase == "end"
    assert end.t_end == pytest.approx(5 * 3.5 + 2.5)


def test_episodes_are_numbered_from_zero() -> None:
    said = turns(talk([2.5] * 6) + talk([2.5] * 6, start=2000.0))

    assert [turn.episode for turn in said if turn.phase == "start"] == [0, 1]
    assert said[-1].t_start == pytest.approx(2000.0)


def test_updates_come_every_ten_seconds_of_audio() -> None:
    updates = [turn.t_end for turn in turns(talk([2.5] * 30)) if turn.phase == "update"]

    assert min(later - earlier for earlier, later in itertools.pairwise(updates)) >= UPDATE_S


def test_what_tells_nothing_moves_nothing_but_time() -> None:
    silent, heard = EpisodeFilter(2.0, StretchBelief()), EpisodeFilter(2.0, StretchBelief())
    for one in talk([2.0] * 4):
        silent.feed(one)
        heard.feed(one)
    silent.elapse(16.0)
    heard.feed(ScoredSegment(14.0, 16.0, 4, False, None))

    assert heard.evidence == pytest.approx(silent.evidence)


@given(llrs)
def test_every_start_has_one_end_and_every_number_is_finite(values: list[tuple[float, float, float]]) -> None:
    t, heard = 0.0, []
    for n, (llr, length, pause) in enumerate(values):
        heard.append(ScoredSegment(t, t + length, n, llr > 1, llr))
        t += length + pause
    open_now = False
    for turn in turns(heard, threshold=1.0):
        assert (turn.phase == "start") != open_now
        open_now = turn.phase != "end"
        assert math.isfinite(turn.evidence)
        assert 0.0 <= turn.mood <= 1.0
        assert turn.t_start <= turn.t_end
        assert turn.sad_segments <= turn.segments
    assert not open_now
