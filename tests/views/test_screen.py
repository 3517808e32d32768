"""Events in, a frame out: right in any size, readable without colour, never a word of what was said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import a_score, a_status, an_episode

from sadstream.client.follower import Gap, Restart, Stale
from sadstream.views.watch.glyphs import ASCII, BLOCKS
from sadstream.views.watch.screen import NOTE_S, Screen


def screen(streams: tuple[str, ...] = ("mic",), **status: object) -> Screen:
    made = Screen("tcp://127.0.0.1:5556")
    for stream in streams:
        made.feed(a_status(0, stream=stream, **status), 0.0)
        for number in range(5):
            made.feed(a_score(number, stream=stream, mood=0.5, text="secret words"), 0.0)
    made.feed(an_episode(0), 0.0)
    return made


def text(made: Screen, width: int = 80, height: int = 24, now_s: float = 1.0) -> str:
    return "\n".join(row.plain for row in made.frame(width, height, now_s, BLOCKS))


@given(width=st.integers(1, 300), height=st.integers(1, 100), streams=st.integers(0, 3))
def test_a_frame_fits_any_terminal(width: int, height: int, streams: int) -> None:
    rows = screen(tuple("abc"[:streams])).frame(width, height, 1.0, BLOCKS)

    assert 0 < len(rows) <= height
    assert max(row.cell_len for row in rows) <= width
    assert not any("\n" in row.plain for row in rows)


def test_eighty_by_twenty_four_shows_all_of_it() -> None:
    shown = text(screen())

    for part in (
        "LISTENING", "p_sad", "limit  0.50", "voice    for", "words    for", "mood", "episode 0 ON", "1 of 1 sad",
        "dropped 0", "real-time factor 0.10", "latency 4 ms", "q quit", "tcp://127.0.0.1:5556",
    ):  # fmt: skip
        assert part in shown, shown
    assert len(shown.splitlines()) == 24


def test_the_likeliest_emotion_stands_beside_the_newest_score_where_there_is_one() -> None:
    made = screen()
    before = text(made)
    made.feed(a_score(1, emotions={"calm": 0.25, "happy": 0.75}), 1.0)

    assert "emotion happy 0.75" in text(made)
    assert "emotion" not in before
    assert "calm" not in text(made)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 3), (12, 1)])
def test_what_matters_most_is_left_where_there_is_little_room(width: int, height: int) -> None:
    assert "DEAF" in text(screen(state="no-device", reason="device-lost"), width, height)


def test_a_deaf_daemon_says_why() -> None:
    shown = text(screen(state="degraded", reason="muted"))

    assert "DEAF" in shown
    assert "zeros" in shown
    assert "(muted)" in shown


def test_a_daemon_that_never_spoke_is_waited_for_and_then_said_to_be_absent() -> None:
    made = Screen("tcp://127.0.0.1:5556")
    assert "WAITING" in text(made)

    made.feed(Stale(stream=None, silent_s=11.0, last_state=None), 11.0)
    assert "is a daemon publishing there" in text(made, now_s=60.0)

    made.feed(a_status(0), 61.0)
    assert "LISTENING" in text(made, now_s=61.0)


def test_findings_are_told_for_a_while() -> None:
    made = screen()
    made.feed(Gap(stream="mic", session="a" * 16, event_type="score", first_seq=5, last_seq=7), 10.0)

    assert "3 score events lost" in text(made, now_s=11.0)
    assert "3 score events lost" not in text(made, now_s=10.0 + NOTE_S)
    assert "lost 3" in text(made, now_s=10.0 + NOTE_S)


def test_a_daemons_name_for_its_session_commands_no_terminal() -> None:
    made = screen()
    made.feed(Restart(stream="mic", session="\x1b]0;mine\x07\n", previous="a"), 1.0)

    assert "(session ?]0;mine??)" in text(made)


def test_words_are_never_shown() -> None:
    assert "secret" not in text(screen(), 300, 100)


def test_tab_goes_round_the_streams_and_back() -> None:
    made = screen(("mic", "room1", "room2"))
    seen = []
    for key in ("next", "next", "next", "previous"):
        made.press(key)
        (chosen,) = [name for name in ("mic", "room1", "room2") if f"▸{name}" in text(made)]
        seen.append(chosen)

    assert seen == ["room1", "room2", "mic", "room2"]


def test_p_pauses_and_then_resumes() -> None:
    assert screen().press("pause") == "pause"
    assert screen(state="paused", reason="user").press("pause") == "resume"
    assert Screen("x").press("pause") == "pause"
    assert screen().press("quit") == "quit"


def test_ascii_is_ascii() -> None:
    made = screen(("mic", "room1"))
    made.mark()

    assert "".join(row.plain for row in made.frame(80, 24, 1.0, ASCII)).isascii()


def test_without_colour_a_sad_score_is_still_told_from_another() -> None:
    made = Screen("x")
    for number, logit in enumerate((3.0, -3.0)):
        made.feed(a_score(number, audio_logit=logit), 0.0)

    assert next(row for row in text(made).splitlines() if row.startswith("S sad")).endswith("S ")
    assert "not sad" in text(made)
