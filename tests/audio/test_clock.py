"""The clock that judges a microphone: late, lost, or at a wrong rate."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sadstream.audio.sources.clock import AHEAD_S, LOST_S, STALE_S, WINDOW_S, ClockReading, SampleClock
from sadstream.base.samples import SAMPLE_RATE

BLOCK = 480
BLOCK_S = BLOCK / SAMPLE_RATE


def feed(clock: SampleClock, start_s: float, seconds: float, speed: float = 1.0) -> tuple[list[ClockReading], float]:
    """Blocks that come regularly; what the clock says, and the time after them."""
    count = int(seconds / BLOCK_S)
    found = [clock.feed(int(BLOCK * speed), start_s + (n + 1) * BLOCK_S) for n in range(count)]
    return found, start_s + count * BLOCK_S


def faults(found: list[ClockReading]) -> set[str]:
    return {reading.fault for reading in found} - {"none"}


def lost_s(found: list[ClockReading]) -> float:
    return sum(reading.lost for reading in found) / SAMPLE_RATE


def test_an_hour_without_a_fault_has_none() -> None:
    found, _ = feed(SampleClock(), 100.0, 3600.0)

    assert faults(found) == set()
    assert lost_s(found) == 0.0


def test_a_sound_card_that_is_a_little_off_is_no_fault() -> None:
    """1,000 ppm is ten times the worst that is sold; each way, for an hour of blocks of a second."""
    for off in (-1e-3, 1e-3):
        clock = SampleClock()
        found = [clock.feed(int(SAMPLE_RATE * (1 + off)), 100.0 + n) for n in range(3600)]

        assert faults(found) == set()
        assert lost_s(found) < 1.0


@settings(max_examples=50, deadline=None)
@given(jitter=st.lists(st.floats(0.0, 0.15), min_size=400, max_size=400))
def test_blocks_that_come_unevenly_are_no_loss(jitter: list[float]) -> None:
    clock, now_s = SampleClock(), 0.0
    found = []
    for n, late_s in enumerate(jitter):
        now_s = max(now_s, (n + 1) * BLOCK_S + late_s)
        found.append(clock.feed(BLOCK, now_s))

    assert faults(found) == set()
    assert lost_s(found) < LOST_S


def test_what_was_lost_is_known_within_two_windows_and_to_a_tenth_of_a_second() -> None:
    clock = SampleClock()
    _, now_s = feed(clock, 0.0, 10.0)
    found, _ = feed(clock, now_s + 0.7, 2 * WINDOW_S + 0.1)

    assert faults(found) == set()
    assert abs(lost_s(found) - 0.7) < 0.1


def test_late_audio_that_is_all_there_is_no_loss() -> None:
    """A pause of a second, then the backlog at once."""
    clock = SampleClock()
    _, now_s = feed(clock, 0.0, 10.0)
    found = [clock.feed(int(1.0 * SAMPLE_RATE), now_s + 1.0)]
    found += feed(clock, now_s + 1.0, 10.0)[0]

    assert faults(found) == set()
    assert lost_s(found) == 0.0


def test_audio_that_is_too_old_is_a_stall_at_once() -> None:
    clock = SampleClock()
    _, now_s = feed(clock, 0.0, 10.0)

    assert clock.feed(BLOCK, now_s + STALE_S + 1.0).fault == "stalled"


def test_half_the_rate_is_known_after_one_window() -> None:
    found, _ = feed(SampleClock(), 0.0, WINDOW_S + 0.1, speed=0.5)

    assert faults(found) == {"rate"}


def test_three_times_the_rate_is_known_within_a_second() -> None:
    found, _ = feed(SampleClock(), 0.0, AHEAD_S, speed=3.0)

    assert faults(found) == {"rate"}


def test_a_rate_that_is_eight_percent_off_is_known_after_four_windows() -> None:
    """44.1 kHz taken for 48 kHz."""
    found, _ = feed(SampleClock(), 0.0, 4 * WINDOW_S + 0.3, speed=44.1 / 48)

    assert faults(found) == {"rate"}


def test_a_first_block_that_holds_much_is_no_fault() -> None:
    clock = SampleClock()
    found = [clock.feed(BLOCK, 0.03), clock.feed(int(0.4 * SAMPLE_RATE), 0.04)]
    found += feed(clock, 0.04, 10.0)[0]

    assert faults(found) == set()
