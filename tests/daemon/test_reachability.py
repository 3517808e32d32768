"""When a cluster counts as away, and when as back."""

from sadstream.daemon.remote.reachability import AWAY_S, HELLOS_BACK, RETURN_S, TIMEOUTS_AWAY, Reachability


def up() -> Reachability:
    found = Reachability()
    found.hello(0.0)
    assert found.is_up
    return found


def test_the_first_hello_is_enough_at_the_start() -> None:
    assert not Reachability().is_up
    assert up().is_up


def test_a_connection_that_is_gone_is_away_at_once() -> None:
    door = up()
    door.lost()

    assert not door.is_up


def test_one_segment_without_an_answer_is_no_reason_and_two_in_a_row_are() -> None:
    door = up()
    for n in range(TIMEOUTS_AWAY - 1):
        door.timed_out()
        door.answered(float(n))
        assert door.is_up
    for _ in range(TIMEOUTS_AWAY):
        door.timed_out()

    assert not door.is_up


def test_silence_is_away() -> None:
    door = up()
    door.elapse(AWAY_S)
    assert door.is_up
    door.elapse(AWAY_S + 0.1)
    assert not door.is_up


def test_it_is_back_after_three_hellos_that_lie_apart() -> None:
    door = up()
    door.lost()
    times = [10.0 + 0.5 * n for n in range(100)]
    back_s = next(now_s for now_s in times if door.hello(now_s) or door.is_up)

    assert back_s == 10.0 + (HELLOS_BACK - 1) * RETURN_S


def test_a_door_that_comes_and_goes_is_not_back() -> None:
    door = up()
    door.lost()
    for now_s in (10.0, 15.0):
        door.hello(now_s)
    door.lost()
    for now_s in (20.0, 25.0):
        door.hello(now_s)

    assert not door.is_up


def test_hellos_with_silence_between_them_do_not_add_up() -> None:
    door = up()
    door.lost()
    door.hello(10.0)
    door.hello(15.0)
    door.elapse(15.0 + AWAY_S + 1)
    door.hello(30.0)

    assert not door.is_up


def test_a_room_without_models_of_its_own_asks_again_at_once() -> None:
    door = Reachability(hellos_back=1)
    door.hello(0.0)
    door.lost()
    door.hello(1.0)

    assert door.is_up
