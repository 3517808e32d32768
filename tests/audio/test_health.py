"""Audio that flows and says nothing."""

import numpy as np
import pytest
from fakes import quiet, talk, voice

from sadstream.audio.filters.framing import Framer
from sadstream.audio.health import DcOffset, SignalHealth, SignalRecord
from sadstream.base.samples import FRAME_MS, to_pcm


def reasons(pcm: bytes) -> list[tuple[str, float]]:
    """Every change of reason and the second at which it came."""
    health, found = SignalHealth(), [("none", 0.0)]
    for n, frame in enumerate(Framer().feed(pcm, 0.0)):
        reason = health.feed(frame)
        if reason != found[-1][0]:
            found.append((reason, (n + 1) * FRAME_MS / 1000))
    return found[1:]


def sentences(pcm: bytes) -> list[str]:
    """What is said of a recording."""
    record = SignalRecord()
    framer = Framer()
    for frame in framer.feed(pcm, 0.0) + framer.flush(0.0):
        record.feed(frame)
    return list(record.sentences())


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


class TestRecord:
    def test_each_kind_is_said_once_with_where_and_how_long(self) -> None:
        loud = to_pcm(np.clip(voice(3.0) * 30, -1, 1))

        found = sentences(level(0, 12.0) + to_pcm(voice(3.0)) + loud + to_pcm(voice(6.0)) + loud)

        assert len(found) == 2
        assert found[0] == "muted: nothing but zeros: from 0.0 to 12.0 s, 12.0 s in all"
        assert found[1].startswith("clipped: more than a tenth of the samples at full scale: from 15.1 to 27.0 s")

    @pytest.mark.parametrize(
        ("pcm", "opening"),
        [
            (level(0, 4.0), "muted: nothing but zeros: from 0.0 to 4.0 s"),
            (level(7, 0.5), "constant: one value and no sound: from 0.0 to 0.5 s"),
            (to_pcm(np.clip(voice(0.7) * 30, -1, 1)), "clipped: "),
        ],
        ids=["silence of 4 s", "half a second of one value", "a short shout into a wall"],
    )
    def test_a_recording_shorter_than_the_live_rule_is_known_by_all_of_it(self, pcm: bytes, opening: str) -> None:
        (said,) = sentences(pcm)

        assert said.startswith(opening)

    def test_digital_silence_between_turns_is_no_fault(self) -> None:
        assert sentences((to_pcm(voice(2.0)) + level(0, 6.0)) * 4) == []
        assert sentences(to_pcm(voice(0.5)) + level(0, 2.0)) == []

    def test_nothing_is_said_of_ordinary_talk(self) -> None:
        assert sentences(to_pcm(talk(4).astype(np.float32))) == []


class TestOffset:
    @pytest.mark.parametrize("share", [0.01, -0.01, 0.1, 0.3])
    def test_one_is_known_within_two_seconds_and_its_size_is_said(self, share: float) -> None:
        (said,) = sentences(to_pcm(voice(2.0) * 0.5 + np.float32(share)))

        assert said.startswith(f"a constant offset of {100 * share:+.1f} % of full scale, which is taken out: from 0.0")

    def test_its_end_is_known_too(self) -> None:
        offset, pcm = DcOffset(), to_pcm(np.concatenate([voice(3.0) + np.float32(0.02), voice(5.0)]))
        found = [bool(offset.feed(frame)) for frame in Framer().feed(pcm, 0.0)]

        assert found.index(True) * FRAME_MS < 1100
        assert not found[-1]

    def test_rumble_is_none(self) -> None:
        t = np.arange(16_000 * 10) / 16_000
        assert sentences(to_pcm((voice(10.0) * 0.5 + 0.05 * np.sin(2 * np.pi * 0.4 * t)).astype(np.float32))) == []
