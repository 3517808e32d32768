"""Whose segment is next: the rooms by turns, and no room more than its share."""

from doors import request

from sadstream.cluster.fair_queue import IN_FLIGHT, ROOM_IN_FLIGHT, FairQueue, WaitingSegment


def segment(room: str, number: int = 0, received_s: float = 0.0, **said: object) -> WaitingSegment:
    asked = request(**said)  # type: ignore[arg-type]
    return WaitingSegment(room.encode(), room.encode(), bytes([number]), b"", asked, b"", received_s)


def taken(queue: FairQueue, now_s: float = 0.0) -> list[str]:
    work, _ = queue.take(now_s)
    return [one.room.decode() for one in work]


def test_rooms_take_turns_whatever_one_of_them_sends() -> None:
    queue = FairQueue(slots=6, most=100)
    for lane in range(4):
        assert queue.feed(segment("loud", lane, lane=lane))
    assert queue.feed(segment("quiet"))
    assert queue.feed(segment("calm"))

    assert taken(queue) == ["loud", "quiet", "calm", "loud", "loud", "loud"]


def test_a_rooms_segments_keep_their_order() -> None:
    queue = FairQueue(slots=9, most=100)
    fed = [segment("one", number, lane=number % 2) for number in range(4)]
    for one in fed:
        queue.feed(one)

    assert [one.id for one in queue.take(0.0)[0]] == [b"\0", b"\1"]  # one of each stream at a time
    queue.done(fed[1])
    assert [one.id for one in queue.take(0.0)[0]] == [b"\3"]


def test_a_stream_has_two_in_flight_and_the_third_is_refused_until_one_is_done() -> None:
    queue = FairQueue(slots=9, most=100)
    first = segment("room", 0)
    fed = [queue.feed(one) for one in (first, segment("room", 1), segment("room", 2), segment("room", 3, lane=1))]
    assert fed == [True] * IN_FLIGHT + [False, True]

    queue.take(0.0)
    assert not queue.feed(segment("room", 4))
    queue.done(first)

    assert queue.feed(segment("room", 5))


def test_a_room_that_says_it_has_many_streams_is_bounded_all_the_same() -> None:
    queue = FairQueue(slots=1, most=1000)

    assert sum(queue.feed(segment("room", n, lane=n)) for n in range(64)) == ROOM_IN_FLIGHT
    assert queue.feed(segment("other"))


def test_no_more_wait_than_there_is_room_for() -> None:
    queue = FairQueue(slots=1, most=3)

    assert [queue.feed(segment(f"room{n}")) for n in range(5)] == [True, True, True, False, False]
    assert queue.waiting == 3


def test_only_as_many_are_in_work_as_there_are_slots() -> None:
    queue = FairQueue(slots=2, most=100)
    segments = [segment(f"room{n}") for n in range(3)]
    for one in segments:
        queue.feed(one)

    assert len(taken(queue)) == 2
    assert taken(queue) == []
    queue.done(segments[0])
    assert taken(queue) == ["room2"]


def test_what_nobody_waits_for_any_more_is_said_and_costs_nothing() -> None:
    queue = FairQueue(slots=1, most=100)
    queue.feed(segment("late", wait_ms=500.0))
    queue.feed(segment("old", age_ms=5900.0))
    queue.feed(segment("new"))

    work, late = queue.take(1.0)

    assert [one.room for one in work] == [b"new"]
    assert {one.room for one in late} == {b"late", b"old"}
    assert (queue.waiting, queue.working) == (0, 1)
