"""One stream without threads or sockets: reports in, events out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import analysis

from sadstream.audio.segmenter import Segment
from sadstream.audio.sources.source import SourceChange
from sadstream.config import Config
from sadstream.daemon.messages import AnalyzedSegment, DroppedSegment, RejectedSegment, SignalFault, SourceChanged
from sadstream.daemon.stream import Stream
from sadstream.events import Episode, Event, Score, Status
from sadstream.events.types import EventName, envelope
from sadstream.scoring.analysis import Timing
from sadstream.scoring.mood.mood import NO_PLAN, MoodPlan

LISTENS = SourceChanged("mic", SourceChange("listening", "none"))
SAD_AT_ONCE = MoodPlan(threshold=-99.0, false_alarms_h=1.0)


def opening() -> Callable[[EventName], dict[str, Any]]:
    """A publisher's openings, without the publisher."""
    sent: Counter[str] = Counter()

    def fields(event_type: EventName) -> dict[str, Any]:
        sent[event_type] += 1
        extra = {"last_score_seq": sent["score"] - 1 if sent["score"] else None} if event_type == "status" else {}
        return envelope("mic", "a" * 16, sent[event_type] - 1) | extra

    return fields


def stream(plan: MoodPlan = NO_PLAN, listens: bool = True, **tables: Any) -> Stream:
    made = Stream("mic", live=True, plan=plan, config=Config.model_validate(tables), opening=opening())
    made.status()
    if listens:
        made.take(LISTENS)
    return made


def analyzed(number: int = 0, waiting: int = 0, provisional: bool = False) -> AnalyzedSegment:
    segment = Segment(number, np.zeros(0, np.float32), 3.0 * number, 3.0 * number + 2.0, 0.9, 0.0)
    found = replace(analysis(segment, "words"), provisional=provisional)
    return AnalyzedSegment("mic", segment, found, Timing(0.0, 0.0, 0.0, 0.0), 0.5, waiting)


def said(events: list[Event]) -> list[str]:
    """What they are, in short."""
    return [f"{event.state}/{event.reason}" if isinstance(event, Status) else event.type for event in events]


def test_a_state_is_said_when_it_changes_and_not_again() -> None:
    made = stream(listens=False)

    assert said(made.take(LISTENS)) == ["listening/none"]
    assert made.take(LISTENS) == []
    assert said(made.take(SignalFault("mic", "muted"))) == ["degraded/muted"]
    assert said(made.short_of("gpu-memory")) == []
    assert said(made.take(SignalFault("mic", "none"))) == ["degraded/gpu-memory"]


def test_an_overload_begins_with_a_lost_segment_and_ends_with_the_last_that_waits() -> None:
    made = stream()

    assert said(made.take(DroppedSegment("mic", stale=False))) == ["overloaded/slow"]
    assert said(made.take(analyzed(waiting=1))) == ["score"]
    assert said(made.take(analyzed(1, waiting=0))) == ["score", "listening/none"]
    assert made.facts.dropped == 1


def test_what_held_no_speech_ends_an_overload_too() -> None:
    made = stream()
    made.take(DroppedSegment("mic", stale=True))

    assert said(made.take(RejectedSegment("mic", waiting=0, stranger=False))) == ["listening/none"]
    assert (made.facts.no_speech, made.facts.segments) == (1, 0)


def test_a_provisional_score_moves_nothing_but_its_own_number() -> None:
    made = stream(SAD_AT_ONCE)
    (early,) = made.take(analyzed(provisional=True))
    score, episode = made.take(analyzed())

    assert isinstance(early, Score)
    assert isinstance(score, Score)
    assert isinstance(episode, Episode)
    assert (early.seq, early.segment, early.provisional) == (0, 0, True)
    assert (score.seq, score.segment, score.provisional) == (1, 0, None)
    assert (episode.phase, episode.first_score_seq, episode.model) == ("start", 1, score.model)
    assert made.facts.segments == 1


def test_the_threshold_of_its_configuration_goes_before_that_of_the_models() -> None:
    made = stream(model={"threshold": 0.9})
    before = made.take(analyzed(6))[0]
    made.config = Config.model_validate({"model": {"threshold": 0.1}, "publish": {"text": True}})
    after = made.take(analyzed(6))[0]

    assert isinstance(before, Score)
    assert isinstance(after, Score)
    assert (before.threshold, before.sad, before.text) == (0.9, False, None)
    assert (after.threshold, after.sad, after.text) == (0.1, True, "words")


def test_a_score_says_whose_it_is_only_where_that_was_switched_on() -> None:
    report = analyzed()
    annas = replace(report, analysis=replace(report.analysis, person="anna"))
    named = stream(voice={"only": ["anna"]}, publish={"speaker": True})

    assert [event.speaker for event in named.take(annas) if isinstance(event, Score)] == ["anna"]
    assert [event.speaker for event in named.take(report) if isinstance(event, Score)] == [None]
    assert [event.speaker for event in stream().take(annas) if isinstance(event, Score)] == [None]


def test_a_score_tells_the_emotions_that_were_heard_unless_that_was_switched_off() -> None:
    report = analyzed()
    heard = replace(report.analysis, emotions=(("sad", 0.75), ("happy", 0.25)), valence=-0.5, arousal=0.0)
    felt = replace(report, analysis=heard)

    def told(made: Stream, one: AnalyzedSegment) -> list[object]:
        return [(said.emotions, said.valence, said.arousal) for said in made.take(one) if isinstance(said, Score)]

    assert told(stream(), felt) == [({"sad": 0.75, "happy": 0.25}, -0.5, 0.0)]
    assert told(stream(), report) == [(None, None, None)]
    assert told(stream(publish={"emotions": False}), felt) == [(None, None, None)]


def test_a_pause_ends_where_the_device_has_to_be_opened_again() -> None:
    made = stream()

    assert said(made.pause()) == ["paused/user"]
    assert said(made.take(SignalFault("mic", "muted"))) == []
    assert said(made.resume()) == ["starting/none"]
    assert said(made.resume()) == []


@pytest.mark.parametrize(("due_s", "expected"), [(0.0, []), (float("inf"), ["listening/none"])])
def test_a_heartbeat_is_said_when_it_is_due(due_s: float, expected: list[str]) -> None:
    assert said(stream().heartbeat(due_s)) == expected


def test_an_episode_that_is_on_ends_with_the_stream() -> None:
    made = stream(SAD_AT_ONCE)
    assert made.flush() == []
    made.take(analyzed())
    (end,) = made.flush()

    assert isinstance(end, Episode)
    assert (end.phase, end.false_alarms_h) == ("end", 1.0)
