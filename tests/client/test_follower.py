"""A reader of the wire counts exactly: repetitions, gaps, restarts, silence."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from wire import a_score, a_status

from sadstream.client.follower import Follower, Gap, Restart, Stale
from sadstream.events import STALE_S, Event, Score

TYPES = ("score", "status", "episode")


def followed(*events: Event, types: tuple[str, ...] = TYPES, **options: Any) -> list[Any]:
    follower = Follower(types, 0.0, **options)
    return [item for event in events for item in follower.feed(event, 0.0)]


def test_events_in_order_pass_as_they_are() -> None:
    events = [a_score(4), a_score(5), a_score(6)]

    assert followed(*events) == events


def test_a_repetition_is_dropped() -> None:
    """A daemon says its last events again whenever somebody joins."""
    assert followed(a_score(4), a_score(5), a_score(5), a_score(4), a_score(6)) == [a_score(4), a_score(5), a_score(6)]


@given(st.integers(0, 100), st.sets(st.integers(1, 60), min_size=1))
def test_a_gap_is_counted_exactly(first: int, arrived: set[int]) -> None:
    """Whatever arrives of a session: received and missed are all there were between first and last."""
    seqs = [first, *sorted(first + step for step in arrived)]
    items = followed(*(a_score(seq) for seq in seqs))
    missed = [item for item in items if isinstance(item, Gap)]

    assert sum(gap.missed for gap in missed) == seqs[-1] - first + 1 - len(seqs)
    lost = {seq for gap in missed for seq in range(gap.first_seq, gap.last_seq + 1)}
    assert lost == set(range(first, seqs[-1] + 1)) - set(seqs)


def test_a_joiner_misses_nothing_of_what_was_before() -> None:
    events = [a_score(812), a_status(99, last_score_seq=812), a_score(813)]

    assert followed(*events) == events


def test_a_restart_is_no_gap() -> None:
    new = a_score(0, session="b" * 16)
    items = followed(a_score(7), new)

    assert items == [a_score(7), Restart(stream="mic", session="b" * 16, previous="a" * 16), new]


def test_what_a_new_session_said_before_we_were_back_is_a_gap_after_the_restart() -> None:
    items = followed(a_score(7), a_score(3, session="b" * 16))

    assert [type(item) for item in items] == [Score, Restart, Gap, Score]
    assert (items[2].first_seq, items[2].last_seq, items[2].session) == (0, 2, "b" * 16)


def test_a_status_tells_of_lost_scores_before_the_next_one_comes() -> None:
    items = followed(a_score(3), a_status(0, last_score_seq=5), a_score(6))

    assert [type(item).__name__ for item in items] == ["Score", "Gap", "Status", "Score"]
    assert items[1].missed == 2


def test_a_lost_status_and_the_scores_it_stood_for_are_both_told() -> None:
    items = followed(a_score(3), a_status(0, last_score_seq=3), a_status(2, last_score_seq=5))
    gaps = [(item.event_type, item.first_seq, item.last_seq) for item in items if isinstance(item, Gap)]

    assert gaps == [("status", 1, 1), ("score", 4, 5)]


def test_scores_that_nobody_asked_for_are_not_missed() -> None:
    items = followed(a_status(0, last_score_seq=3), a_status(1, last_score_seq=9), types=("status",))

    assert not any(isinstance(item, Gap) for item in items)


def test_streams_and_types_are_counted_apart() -> None:
    events = [a_score(1), a_score(7, stream="door"), a_status(30), a_score(2), a_score(8, stream="door"), a_status(31)]

    assert followed(*events) == events


def test_whoever_wants_the_latest_only_hears_of_no_gaps() -> None:
    assert followed(a_score(1), a_score(9), count_gaps=False) == [a_score(1), a_score(9)]


def test_silence_is_told_once_and_ends_with_the_next_event() -> None:
    follower = Follower(TYPES, 0.0)
    list(follower.feed(a_status(0), 1.0))

    assert list(follower.tick(1.0 + STALE_S)) == []
    assert list(follower.tick(1.1 + STALE_S)) == [Stale(stream="mic", silent_s=STALE_S + 0.1, last_state="listening")]
    assert list(follower.tick(2.0 + STALE_S)) == []
    assert list(follower.feed(a_status(1), 20.0)) == [a_status(1)]
    assert [stale.stream for stale in follower.tick(20.1 + STALE_S)] == ["mic"]


def test_a_clean_end_is_told_from_death() -> None:
    follower = Follower(TYPES, 0.0)
    list(follower.feed(a_status(0, state="stopping"), 0.0))
    (stale,) = follower.tick(STALE_S + 1)

    assert stale.last_state == "stopping"


def test_nobody_at_all_is_told_too() -> None:
    follower = Follower(TYPES, 5.0)

    assert follower.due_s() == 5.0 + STALE_S
    assert [stale.stream for stale in follower.tick(5.1 + STALE_S)] == [None]
    assert list(follower.tick(99.0)) == []
    assert follower.due_s() == float("inf")
