"""Where rooms knock: who is let in, what is refused, and that no room is moved by another's floods and garbage."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import zmq
from doors import HELLO, Knocker, RunningDoor, door, keyed, noise, request
from fakes import slow

from sadstream.base.errors import BusyError
from sadstream.cluster.door import ERRORS_CUT, expect_free
from sadstream.daemon.remote.request import (
    LONGEST_FRAME,
    HelloAnswer,
    RefusedAnswer,
    ScoredAnswer,
    answer_frame,
    request_frames,
)
from sadstream.events.keys import allow


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/door"


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def test_a_hello_says_who_scores_and_a_segment_is_scored(endpoint: str) -> None:
    with door(endpoint), Knocker(endpoint) as room:
        hello = room.hello()
        segment = room.send(request(), noise())

        found = dict([room.answer() or (), room.answer() or ()])

    assert found[hello] == HELLO
    assert isinstance(found[segment], ScoredAnswer)


def test_a_door_behind_which_nobody_scores_says_so(endpoint: str) -> None:
    with door(endpoint) as running, Knocker(endpoint) as room:
        running.ready = False
        time.sleep(0.2)
        room.hello()
        _, answer = room.answer() or (b"", None)

    assert isinstance(answer, HelloAnswer)
    assert not answer.ready


def test_the_third_segment_of_a_stream_is_refused_at_once(endpoint: str) -> None:
    with door(endpoint, slow(0.3)), Knocker(endpoint) as room:
        sent = [room.send(request(), noise()) for _ in range(3)]
        number, answer = room.answer() or (b"", None)

        assert (number, answer) == (sent[2], RefusedAnswer(why="busy"))
        assert {(room.answer() or (b"", None))[0] for _ in range(2)} == set(sent[:2])


def test_every_segment_is_answered_under_four_times_the_load(endpoint: str) -> None:
    """Sent = scored + refused: nothing is queued until it is worth nothing."""
    with door(endpoint, slow(0.1)) as running, Knocker(endpoint) as room:
        for n in range(40):
            room.send(request(0.2, lane=n % 16, wait_ms=500.0), noise(0.2))
            time.sleep(0.025)
        answers = [(room.answer() or (b"", None))[1] for _ in range(40)]
        assert room.answer(0.3) is None
        assert running.door is not None
        report = running.door.report()

    refused = [answer for answer in answers if isinstance(answer, RefusedAnswer)]
    assert {answer.why for answer in refused} <= {"busy", "late"}, refused
    assert len(refused) == report.busy + report.late > 10
    assert report.scored == 40 - len(refused)


def test_one_that_dies_under_a_segment_costs_none(endpoint: str) -> None:
    with door(endpoint) as running, Knocker(endpoint) as room:
        score, tries = running.score, []

        async def dies_once(*frames: bytes) -> list[bytes]:
            tries.append(frames)
            if len(tries) == 1:
                raise ConnectionError("died")
            return await score(*frames)

        running.score = dies_once
        room.send(request(), noise())
        _, answer = room.answer() or (b"", None)

        assert isinstance(answer, ScoredAnswer)
        assert running.door is not None
        assert running.door.report().second_tries == 1


def test_what_waits_while_all_are_at_work_goes_out_together(endpoint: str) -> None:
    asked = []

    async def score(*frames: bytes) -> list[bytes]:
        asked.append(len(frames) // 2)
        await asyncio.sleep(0.3)
        return [answer_frame(HELLO)] * (len(frames) // 2)

    with RunningDoor(endpoint, None, score, calls=1) as running, ExitStack() as stack:
        assert running.door is not None
        running.door.resize(1, 4)
        rooms = [stack.enter_context(Knocker(endpoint)) for _ in range(6)]
        for room in rooms:
            room.send(request(), noise())
        assert all(room.answer() is not None for room in rooms)

    assert asked == [1, 4, 1]


def test_where_more_comes_than_can_be_done_it_is_refused_at_once_and_what_is_taken_in_is_in_time(endpoint: str) -> None:
    """40 rooms ask two scorers of which each takes a second for one, and wait for two seconds."""

    async def score(*frames: bytes) -> list[bytes]:
        await asyncio.sleep(1.0)
        return [answer_frame(HELLO)]

    with RunningDoor(endpoint, None, score, calls=2), ExitStack() as stack:
        rooms = [stack.enter_context(Knocker(endpoint)) for _ in range(40)]
        for room in rooms[:2]:  # it learns how long a call takes
            room.send(request(), noise())
            assert room.answer() is not None
        start = time.monotonic()
        for room in rooms:
            room.send(request(), noise())
        answers, waiting, poller = [], {room.socket: room for room in rooms}, zmq.Poller()
        for socket_of_room in waiting:
            poller.register(socket_of_room, zmq.POLLIN)
        while waiting and (ready := poller.poll(5_000)):  # whichever answer comes next: nobody says whom the door took
            for answered, _ in ready:
                poller.unregister(answered)
                _, answer = waiting.pop(answered).answer() or (b"", None)
                answers.append((answer == RefusedAnswer(why="busy"), time.monotonic() - start))

    assert len(answers) == 40
    taken = [spent for refused, spent in answers if not refused]
    assert 2 <= len(taken) <= 4
    assert max(taken) < 2.5
    assert max(spent for refused, spent in answers if refused) < 0.2


def test_a_flood_of_garbage_keeps_no_answer(tmp_path: Path) -> None:
    """A room that is no longer heard sends on as fast as it can; another's segment is answered meanwhile."""
    keys, known, unknown = keyed(tmp_path)
    allow(tmp_path / "rooms.keys", unknown.public.decode(), "loud")
    endpoint = free_endpoint()
    stop = threading.Event()
    with (
        door(endpoint, keys=keys),
        Knocker(endpoint, known) as room,
        Knocker(endpoint, unknown) as loud,
    ):

        def flood() -> None:
            while not stop.is_set():
                loud.send_raw(b"garbage")

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for _ in range(20):
                room.send(request(), noise())
                assert isinstance((room.answer(2.0) or (b"", None))[1], ScoredAnswer)
        finally:
            stop.set()
            thread.join()


def test_where_nobody_can_score_a_segment_is_an_error_that_says_nothing(endpoint: str) -> None:
    async def fails(*frames: bytes) -> list[bytes]:
        raise ValueError("the words of somebody")

    with RunningDoor(endpoint, None, fails), Knocker(endpoint) as room:
        room.send(request(), noise())
        _, answer = room.answer() or (b"", None)

    assert answer == RefusedAnswer(why="error", what="nobody could score it")


def test_one_that_hangs_is_given_up_when_nobody_waits_any_more(endpoint: str) -> None:
    async def hangs(*frames: bytes) -> list[bytes]:
        await asyncio.sleep(60)
        return []

    with RunningDoor(endpoint, None, hangs), Knocker(endpoint) as room:
        room.send(request(wait_ms=300.0), noise())
        _, answer = room.answer() or (b"", None)

    assert answer == RefusedAnswer(why="late")


def test_whoever_is_not_on_the_list_gets_nothing(tmp_path: Path) -> None:
    keys, known, unknown = keyed(tmp_path)
    endpoint = free_endpoint()
    with (
        door(endpoint, keys=keys) as running,
        Knocker(endpoint, known) as room,
        Knocker(endpoint, unknown) as stranger,
        Knocker(endpoint) as plain,
    ):
        room.hello()
        room.send(request(), noise())
        for one in (stranger, plain):
            one.socket.setsockopt(zmq.SNDTIMEO, 0)
            with suppress(zmq.Again):  # turned away already
                one.hello()
                one.send(request(), noise())

        assert room.answer() is not None
        assert stranger.answer(0.5) is None
        assert plain.answer(0.1) is None
        assert running.door is not None
        assert running.door.report().scored == 1


def test_a_rooms_two_connections_are_one_room(tmp_path: Path) -> None:
    keys, known, _ = keyed(tmp_path)
    endpoint = free_endpoint()
    with door(endpoint, slow(0.3), keys=keys), Knocker(endpoint, known) as one, Knocker(endpoint, known) as two:
        one.send(request(), noise())
        one.send(request(), noise())
        time.sleep(0.15)
        two.send(request(), noise())
        _, answer = two.answer() or (b"", None)

    assert answer == RefusedAnswer(why="busy")


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xff\xfe"],
        [b"[]"],
        [b'{"v":9,"hello":true}'],
        [b"{" * 900],
        [request_frames(request(), noise())[0]],
        [*request_frames(request(), noise()), b"more"],
        [b'{"v":1,"lane":-1}', b""],
    ],
)
def test_what_is_no_request_is_an_error_to_whoever_sent_it(endpoint: str, frames: list[bytes]) -> None:
    with door(endpoint), Knocker(endpoint) as room:
        number = room.send_raw(*frames)
        said, answer = room.answer() or (b"", None)
        assert said == number
        assert isinstance(answer, RefusedAnswer)
        assert answer.why == "error"

        room.send(request(), noise())
        assert isinstance((room.answer() or (b"", None))[1], ScoredAnswer)


def test_a_frame_over_the_limit_ends_its_connection_and_no_other(endpoint: str) -> None:
    with door(endpoint), Knocker(endpoint) as large, Knocker(endpoint) as room:
        large.send_raw(b"{}", bytes(LONGEST_FRAME + 1))
        room.send(request(), noise())

        assert isinstance((room.answer() or (b"", None))[1], ScoredAnswer)
        assert large.answer(0.2) is None


def test_a_room_that_sends_garbage_is_not_heard_for_a_while_and_the_others_are(tmp_path: Path) -> None:
    keys, known, _ = keyed(tmp_path)
    endpoint = free_endpoint()
    with door(endpoint, keys=keys) as running, Knocker(endpoint, known) as room:
        for _ in range(ERRORS_CUT):
            room.send_raw(b"garbage")
        assert [room.answer() is not None for _ in range(ERRORS_CUT)] == [True] * ERRORS_CUT
        room.send(request(), noise())

        assert room.answer(0.5) is None
        assert running.door is not None
        assert running.door.report().errors == ERRORS_CUT


@pytest.mark.parametrize(
    "frames", [request_frames(request(), noise()), [b"garbage", b"more"]], ids=["flood", "garbage"]
)
def test_what_one_room_sends_moves_no_other_rooms_p95_by_a_fifth(endpoint: str, frames: list[bytes]) -> None:
    """300 messages a second beside a room that asks whenever it was answered; four scorers at 50 ms each."""

    async def score(*frames: bytes) -> list[bytes]:
        await asyncio.sleep(0.05)
        return [answer_frame(HELLO)]

    def p95_ms(flooding: bool) -> float:
        spent = []
        with RunningDoor(endpoint, None, score, calls=4), Knocker(endpoint) as room, Knocker(endpoint) as loud:
            for _ in range(40):
                for _ in range(20 if flooding else 0):
                    loud.send_raw(*frames)
                start = time.perf_counter()
                room.send(request(), sound)
                assert room.answer() is not None
                spent.append(1000 * (time.perf_counter() - start))
                time.sleep(0.02)
        return sorted(spent)[37]

    sound = noise(1.0)
    tries = []
    for _ in range(3):  # whatever else the machine does moves one of the two, but not each time
        tries.append((p95_ms(flooding=False), p95_ms(flooding=True)))
        if tries[-1][1] < 1.2 * tries[-1][0]:
            return

    raise AssertionError(tries)


def test_an_address_that_is_taken_is_said(endpoint: str) -> None:
    address = free_endpoint()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
        other.bind(address)
        with pytest.raises(BusyError, match="in use by another program"):
            expect_free(address)
    expect_free(address)
