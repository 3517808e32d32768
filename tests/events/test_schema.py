"""The schema that `sadstream schema` prints says what the records say."""

import json

import jsonschema
import pytest
from daemon import run
from wire import a_score, a_status, an_episode, validator

from sadstream.events import Event, to_json
from sadstream.events.schema import event_schema

EVENTS = [
    a_score(),
    a_score(text="a", mood=0.1, emotions={"sad": 1.0}),
    a_status(last_score_seq=3, replay="ipc:///x"),
    an_episode(),
]


def test_the_command_prints_it_and_it_is_a_schema() -> None:
    printed = json.loads(run("schema").stdout)

    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == event_schema()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_it_accepts_events_and_those_with_more_fields(event: Event) -> None:
    body = json.loads(to_json(event))

    validator().validate(body)
    validator().validate(body | {"from_the_future": 1})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_it_refuses_a_missing_field(event: Event) -> None:
    body = json.loads(to_json(event))
    optional = {"score": {"text", "mood", "emotions"}, "status": {"replay"}, "episode": set()}[event.type]
    for name in set(body) - optional:
        assert not validator().is_valid({key: value for key, value in body.items() if key != name}), name
    for name in optional & set(body):
        assert validator().is_valid({key: value for key, value in body.items() if key != name}), name


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (a_score(), {"p_sad": 1.2}), (a_score(), {"stream": "Room 1"}), (a_score(), {"seq": -1}),
        (a_score(), {"emotions": {}}), (a_score(), {"emotions": {"a": 2}}), (a_score(), {"emotions": {"A": 1}}),
        (a_score(), {"emotions": {"a" * n: 0.01 for n in range(1, 18)}}), (a_score(), {"arousal": -2}),
        (a_score(), {"text": None}), (a_score(), {"time": "now"}), (a_score(), {"v": 2}),
        (a_status(), {"state": "bored"}), (a_status(), {"rtf": -1}), (an_episode(), {"phase": "middle"}),
        (an_episode(), {"type": "score"}),
    ],
    ids=str,
)  # fmt: skip
def test_it_refuses_what_a_reader_refuses(event: Event, changes: dict[str, object]) -> None:
    assert not validator().is_valid(json.loads(to_json(event)) | changes)


def test_what_it_cannot_check_it_says() -> None:
    said = event_schema()["$defs"]["Score"]["description"]

    assert "sum to the logit of `p_sad`" in said
    assert "`emotions` to 1" in said


def test_null_stands_only_where_the_contract_has_it() -> None:
    """The parts of a model that is not additive, and a status before the first score."""
    body = json.loads(to_json(a_score())) | dict.fromkeys(
        ("bias_logit", "audio_logit", "text_logit", "offset_logit"), None
    )

    assert validator().is_valid(body)
    assert validator().is_valid(json.loads(to_json(a_status())) | {"last_score_seq": None})
    assert not validator().is_valid(body | {"voiced": None})
