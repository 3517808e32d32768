"""Whose segment is next: the rooms by turns, and no room more than its share."""

from doors import request

from sadstream.cluster.fair_queue import IN_FLIGHT, ROOM_IN_FLIGHT, ROUNDS, FairQueue, WaitingSegment


def segment(room: str, number: int = 0, received_s: float = 0.0, **said: object) -> WaitingSegment:
    asked = request(**said)  # type: ignore[arg-type]
    return WaitingSegment(room.encode(), room.encode(), bytes([number]), b"", asked, b"", received_s)


def fed(queue: FairQueue, *segments: WaitingSegment) -> list[bool]:
    return [queue.feed(one, 0.0) for one in segments]


def taken(queue: FairQueue, now_s: float = 0.0) -> list[str]:
    """The rooms of the next batch."""
    work, _ = queue.take(now_s)
    return [one.room.decode() for one in work]


def test_rooms_take_turns_whatever_one_of_them_sends() -> None:
    queue = FairQueue(calls=1, batch=6)
    loud = [segment("loud", lane, lane=lane) for lane in range(4)]
    assert all(fed(queue, *loud, segment("quiet"), segment("calm")))

    assert taken(queue) == ["loud", "quiet", "calm", "loud", "loud", "loud"]


def test_a_rooms_segments_keep_their_order() -> None:
    queue = FairQueue(calls=9, batch=9)
    given = [segment("one", number, lane=number % 2) for number in range(4)]
    fed(queue, *given)
    first, _ = queue.take(0.0)

    assert [one.id for one in first] == [b"\0", b"\1"]  # one of each stream at a time
    assert taken(queue) == []
    queue.done(first, 0.1)
    assert [one.id for one in queue.take(0.0)[0]] == [b"\2", b"\3"]


def test_a_stream_has_two_in_flight_and_the_third_is_refused_until_one_is_done() -> None:
    queue = FairQueue(calls=9, batch=1)
    first = segment("room", 0)
    given = fed(queue, first, segment("room", 1), segment("room", 2), segment("room", 3, lane=1))
    assert given == [True] * IN_FLIGHT + [False, True]

    queue.take(0.0)
    assert not queue.feed(segment("room", 4), 0.0)
    queue.done([first], 0.1)

    assert queue.feed(segment("room", 5), 0.0)


def test_a_room_that_says_it_has_many_streams_is_bounded_all_the_same() -> None:
    queue = FairQueue(calls=16, batch=16)

    assert sum(fed(queue, *(segment("room", n, lane=n) for n in range(64)))) == ROOM_IN_FLIGHT
    assert queue.feed(segment("other"), 0.0)


def test_no_more_wait_than_a_few_rounds_of_batches() -> None:
    queue = FairQueue(calls=2, batch=3)

    assert sum(fed(queue, *(segment(f"room{n}") for n in range(100)))) == ROUNDS * 6
    assert queue.waiting == ROUNDS * 6


def test_while_a_call_is_free_nothing_waits_and_then_batches_grow_with_what_does() -> None:
    queue = FairQueue(calls=2, batch=4)
    batches = []
    for n in range(3):
        queue.feed(segment(f"room{n}"), 0.0)
        batches.append(queue.take(0.0)[0])
    assert [len(batch) for batch in batches] == [1, 1, 0]

    fed(queue, *(segment(f"room{n}") for n in range(3, 9)))
    queue.done(batches[0], 0.1)
    assert taken(queue) == ["room2", "room3", "room4", "room5"]
    assert taken(queue) == []
    queue.done(batches[1], 0.1)
    assert taken(queue) == ["room6", "room7", "room8"]


def test_what_would_not_be_answered_in_time_is_refused_as_calls_went_lately() -> None:
    """Calls take a second, two at once, and rooms wait for two: one waits a turn, the next would be answered late."""
    queue = FairQueue(calls=2, batch=1)
    for n in range(2):
        queue.feed(segment(f"first{n}"), 0.0)
        queue.done(queue.take(0.0)[0], 1.0)
    fed(queue, segment("a"), segment("b"))
    assert taken(queue) + taken(queue) == ["a", "b"]

    assert fed(queue, *(segment(f"room{n}") for n in range(4))) == [True, True, False, False]
    assert queue.feed(segment("patient", wait_ms=4000.0), 0.0)


def test_slow_calls_refuse_nobody_once_they_are_over() -> None:
    queue = FairQueue(calls=1, batch=1)
    queue.feed(segment("slow"), 0.0)
    queue.done(queue.take(0.0)[0], 60.0)

    assert queue.feed(segment("next"), 0.0)
    assert taken(queue) == ["next"]


def test_what_nobody_waits_for_any_more_is_said_and_costs_nothing() -> None:
    queue = FairQueue(calls=1, batch=1)
    fed(queue, segment("late", wait_ms=500.0), segment("old", age_ms=5900.0), segment("new"))

    work, late = queue.take(1.0)

    assert [one.room for one in work] == [b"new"]
    assert {one.room for one in late} == {b"late", b"old"}
    assert (queue.waiting, queue.working) == (0, 1)
