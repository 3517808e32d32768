"""A moment of which two scores come is counted once, unless both are asked for."""

from collections.abc import Iterator

from wire import a_score

from sadstream.client import Gap, Line, Reader
from sadstream.client.lines import line
from sadstream.events import Score

TWICE = [event for n in range(3) for event in (
    a_score(2 * n, segment=n, provisional=True), a_score(2 * n + 1, segment=n),
)]  # fmt: skip


def taken(events: list[Score], provisional: bool) -> Iterator[object]:
    request = Line(
        endpoint="ipc:///x", stream=None, types=frozenset({"score", "gap"}), latest=False, replay=0, curve=None,
        provisional=provisional,
    )  # fmt: skip
    reader = Reader(request, None)
    for event in events:
        yield from reader.take([], event)


def test_each_moment_comes_once_and_no_gap_is_told_where_a_provisional_score_was() -> None:
    assert list(taken(TWICE, provisional=False)) == TWICE[1::2]


def test_both_come_where_both_are_asked_for_each_with_its_mark() -> None:
    heard = [item for item in taken(TWICE, provisional=True) if isinstance(item, Score)]

    assert [(score.segment, bool(score.provisional)) for score in heard] == [
        (segment, early) for segment in range(3) for early in (True, False)
    ]


def test_a_lost_provisional_score_is_a_gap_all_the_same() -> None:
    (first, gap, last) = taken([TWICE[1], TWICE[3]], provisional=False)

    assert isinstance(gap, Gap)
    assert (gap.first_seq, gap.last_seq) == (2, 2)
    assert (first, last) == (TWICE[1], TWICE[3])


def test_listen_marks_it() -> None:
    assert "provisional" in line(TWICE[0])
    assert "provisional" not in line(TWICE[1])
