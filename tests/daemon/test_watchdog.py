"""What counts as a hang, and what does not."""

from sadstream.daemon.supervision.watchdog import ABSENCE_S, Watchdog

LIMIT_S = 10.0


def ticked(seconds: float) -> tuple[Watchdog, float]:
    """A watchdog that was asked every 0.2 s for so long, and found nothing."""
    watchdog, now_s = Watchdog(100.0), 100.0
    while now_s < 100.0 + seconds:
        now_s += 0.2
        assert watchdog.hung(now_s, LIMIT_S, 0.0, {"mic": 0.0}) is None
    return watchdog, now_s + 0.2


def test_an_analyser_at_one_segment_for_longer_than_the_limit_has_hung() -> None:
    watchdog, now_s = ticked(1.0)

    assert watchdog.hung(now_s, LIMIT_S, LIMIT_S, {}) is None
    assert watchdog.hung(now_s, LIMIT_S, LIMIT_S + 0.1, {}) == "the analyser has hung for 10 s"


def test_a_reader_without_a_sign_of_life_is_named() -> None:
    watchdog, now_s = ticked(1.0)

    assert watchdog.hung(now_s, LIMIT_S, 0.0, {"mic": 0.1, "door": 11.0}) == "door: its reader has hung for 10 s"


def test_after_an_absence_of_the_loop_itself_the_others_have_the_limit_to_catch_up() -> None:
    """As after SIGSTOP or a suspend: everybody was away."""
    watchdog, now_s = ticked(1.0)
    now_s += ABSENCE_S + 60.0

    assert watchdog.hung(now_s, LIMIT_S, 60.0, {"mic": 60.0}) is None
    while now_s < 100.0 + 1.4 + ABSENCE_S + 60.0 + LIMIT_S - 1.0:
        now_s += 0.5
        assert watchdog.hung(now_s, LIMIT_S, 60.0, {"mic": 60.0}) is None
    for _ in range(6):
        now_s += 0.5
        found = watchdog.hung(now_s, LIMIT_S, 60.0, {"mic": 60.0})
    assert found == "mic: its reader has hung for 10 s"
