"""What a watcher calls a stream: deaf and gone are said plainly, and first."""

from dataclasses import replace
from typing import get_args

import pytest
from wire import a_score, a_status

from sadstream.client.follower import Gap, Stale
from sadstream.events import Reason, State
from sadstream.views.watch.watched_stream import SENTENCES, WatchedStream, condition_of


@pytest.mark.parametrize("reason", get_args(Reason))
@pytest.mark.parametrize("state", get_args(State))
def test_every_state_and_reason_of_the_contract_has_words(state: State, reason: Reason) -> None:
    said = condition_of(state, reason)

    assert said.word
    assert reason == "none" or state in ("listening", "starting") or reason in said.sentence
    assert set(SENTENCES) == set(get_args(Reason))


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [
        ("listening", "none", "LISTENING"),
        ("no-device", "device-lost", "DEAF"),
        ("degraded", "muted", "DEAF"),
        ("degraded", "constant", "DEAF"),
        ("degraded", "clipped", "DEGRADED"),
        ("overloaded", "slow", "OVERLOADED"),
        ("paused", "user", "PAUSED"),
    ],
)
def test_what_hears_nobody_is_deaf(state: State, reason: Reason, word: str) -> None:
    assert condition_of(state, reason).word == word


def test_a_state_has_an_age_by_the_daemons_clock() -> None:
    heard = WatchedStream()
    heard.event(a_status(0, state="no-device", reason="device-lost"), 100.0)  # its clock: 1.5 s

    assert heard.condition(104.0).age == "for 4 s"
    heard.event(replace(a_score(0), monotonic_s=31.5), 130.0)
    assert heard.condition(131.0).age == "for 31 s"


def test_a_late_heartbeat_is_said_before_the_daemon_is_called_gone() -> None:
    heard = WatchedStream()
    heard.event(a_status(0), 100.0)

    assert heard.condition(105.0).age == "for 5 s"
    assert heard.condition(108.0).age == "silent for 8 s"
    heard.finding(Stale(stream="mic", silent_s=11.0, last_state="listening"))
    assert heard.condition(111.0).word == "GONE"
    heard.event(a_score(0), 112.0)
    assert heard.condition(112.0).word == "LISTENING"


def test_a_daemon_that_said_goodbye_is_not_dead() -> None:
    heard = WatchedStream()
    heard.event(a_status(0, state="stopping", reason="signal"), 0.0)
    heard.finding(Stale(stream="mic", silent_s=11.0, last_state="stopping"))

    assert heard.condition(11.0).word == "ENDED"


def test_health_counts_what_was_lost_on_either_side() -> None:
    heard = WatchedStream()
    heard.event(a_score(0), 0.0)
    heard.event(a_status(0, dropped=4, rtf=0.25), 0.0)
    heard.finding(Gap(stream="mic", session="a" * 16, event_type="score", first_seq=1, last_seq=3))

    assert heard.health() == "dropped 4  lost 3  real-time factor 0.25  latency 4 ms, median 4, worst 4"
