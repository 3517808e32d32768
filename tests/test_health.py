"""Audio that flows and says nothing."""

import numpy as np
import pytest
from fakes import quiet, voice

from sadstream.audio import FRAME_MS, Framer, to_pcm
from sadstream.health import SignalHealth


def reasons(pcm: bytes) -> list[tuple[str, float]]:
    """Every change of reason and the second at which it came."""
    health, found = SignalHealth(), [("none", 0.0)]
    for n, frame in enumerate(Framer().feed(pcm, 0.0)):
        reason = health.feed(frame)
        if reason != found[-1][0]:
            found.append((reason, (n + 1) * FRAME_MS / 1000))
    return found[1:]


def level(value: int, seconds: float) -> bytes:
    return value.to_bytes(2, "little", signed=True) * int(16_000 * seconds)


def test_zeros_are_muted_after_ten_seconds() -> None:
    assert reasons(level(0, 15.0)) == [("muted", pytest.approx(10.0, abs=0.04))]


def test_nine_seconds_of_zeros_are_not() -> None:
    assert reasons(level(0, 9.9) + to_pcm(quiet(1.0)) + level(0, 9.9)) == []


def test_the_first_sound_ends_it() -> None:
    assert [reason for reason, _ in reasons(level(0, 11.0) + to_pcm(quiet(1.0)))] == ["muted", "none"]


@pytest.mark.parametrize("value", [1, -1, 100, -32_768, 32_767])
def test_a_constant_level_is_known_within_two_seconds(value: int) -> None:
    ((reason, at_s),) = reasons(level(value, 3.0))

    assert reason == "constant"
    assert at_s < 2.0


def test_clipping_is_known_within_two_seconds_and_over_after_three_good_ones() -> None:
    loud = to_pcm(np.clip(voice(3.0) * 30, -1, 1))
    (first, at_s), (last, over_s) = reasons(loud + to_pcm(voice(6.0)))

    assert (first, last) == ("clipped", "none")
    assert at_s < 2.0
    assert over_s < 8.0


def test_a_loud_voice_is_no_fault() -> None:
    assert reasons(to_pcm(voice(5.0, dbfs=-12.0))) == []


def test_a_quiet_room_is_no_fault() -> None:
    assert reasons(to_pcm(quiet(30.0))) == []
