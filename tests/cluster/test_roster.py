"""A name belongs to one session at a time, and each event is passed on once."""

from typing import Any

import pytest
from wire import a_score, a_status

from sadstream.cluster.gather import roster
from sadstream.cluster.gather.roster import Roster, Verdict
from sadstream.events import STALE_S, Event
from sadstream.events.codec import FrameHead, read_head, to_wire

HERE, THERE = b"here", b"there"
FIRST, SECOND = "a" * 16, "b" * 16


@pytest.fixture
def gone() -> set[bytes]:
    """Connections that have ended."""
    return set()


@pytest.fixture
def roll(gone: set[bytes]) -> Roster:
    """A roster that has heard two scores of one room."""
    made = Roster(lambda connection: connection not in gone)
    assert fed(made, a_score(0, FIRST)) is fed(made, a_score(1, FIRST)) is Verdict.NEW
    return made


def head(event: Event) -> FrameHead:
    return read_head(to_wire(event))[0]


def fed(made: Roster, event: Event, connection: bytes = HERE, now_s: float = 0.0) -> Verdict:
    return made.feed(head(event), event, connection, now_s)


def test_an_event_is_new_once_whichever_connection_brings_it(roll: Roster) -> None:
    assert fed(roll, a_score(1, FIRST), THERE) is Verdict.REPEATED
    assert fed(roll, a_score(5, FIRST), THERE) is Verdict.NEW
    assert fed(roll, a_status(0, FIRST), THERE) is Verdict.NEW


def test_a_second_session_is_refused_while_the_first_speaks(roll: Roster) -> None:
    assert fed(roll, a_score(0, SECOND), THERE) is Verdict.REFUSED
    assert fed(roll, a_score(2, FIRST), HERE, STALE_S) is Verdict.NEW
    assert fed(roll, a_score(1, SECOND), THERE, STALE_S + 1) is Verdict.REFUSED
    assert fed(roll, a_score(0, SECOND, stream="hall"), THERE) is Verdict.NEW


@pytest.mark.parametrize("how", ["its connection is gone", "it is silent", "it said that it stops", "it is the same"])
def test_a_room_that_starts_again_has_its_name_at_once(roll: Roster, gone: set[bytes], how: str) -> None:
    later: dict[str, Any] = {"connection": THERE, "now_s": 1.0}
    if how == "its connection is gone":
        gone.add(HERE)
    elif how == "it is silent":
        later["now_s"] = STALE_S + 0.1
    elif how == "it said that it stops":
        fed(roll, a_status(0, FIRST, state="stopping"))
    else:
        later["connection"] = HERE

    assert fed(roll, a_score(0, SECOND), **later) is Verdict.TAKEN_OVER
    assert fed(roll, a_score(1, SECOND), **later) is Verdict.NEW
    assert fed(roll, a_score(2, FIRST), b"elsewhere", later["now_s"]) is Verdict.REFUSED


def test_silence_is_told_once_and_ends_with_the_next_word(roll: Roster) -> None:
    assert list(roll.fallen_silent(STALE_S)) == []
    assert roll.speaks("mic", STALE_S)
    assert list(roll.fallen_silent(STALE_S + 1)) == ["mic"]
    assert list(roll.fallen_silent(STALE_S + 2)) == []
    assert not roll.speaks("mic", STALE_S + 1)
    fed(roll, a_score(2, FIRST), now_s=20.0)
    assert roll.speaks("mic", 20.0)
    assert list(roll.fallen_silent(20.0 + STALE_S + 1)) == ["mic"]


def test_invented_names_fill_no_memory(roll: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "STREAMS", 3)
    found = [fed(roll, a_score(0, stream=f"room{number}"), now_s=1.0) for number in range(4)]

    assert found == [Verdict.NEW, Verdict.NEW, Verdict.CROWDED, Verdict.CROWDED]
    assert roll.forgotten(roster.FORGET_S + 0.5) == ["mic"]
    assert fed(roll, a_score(0, stream="room3")) is Verdict.NEW


def test_what_is_to_come_is_an_event_too() -> None:
    frame = b'sad.weather.mic {"v":3,"type":"weather","stream":"mic","session":"s","seq":4,"rain":true}'
    found, event = read_head(frame)

    assert (found.stream, found.type, found.session, found.seq, event) == ("mic", "weather", "s", 4, None)
