"""An event is what the contract says, or it is refused; readers of version 1 stay readers."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import a_score, a_status, an_episode, assert_true_to_contract

from sadstream.events import Event, Score, WireError, from_json, from_wire, parts_agree, to_json, to_wire, topic

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "v1").glob("*.json"))
FEELS = {"emotions": {"sad": 0.6, "not-so-sad": 0.4}, "valence": -0.4, "arousal": 0.0}
EVENTS = [
    a_score(),
    a_score(mood=0.4, uncertain=True, provisional=True, text="słowa", **FEELS),
    a_status(),
    an_episode(),
]


def altered(event: Event, **changes: Any) -> bytes:
    """Its frame with other fields."""
    body = json.loads(to_json(event)) | changes
    return (topic(event.type, event.stream) + json.dumps(body)).encode()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_event_survives_the_wire(event: Event) -> None:
    again = from_wire(to_wire(event))

    assert again is not None
    assert to_json(again) == to_json(event)
    assert_true_to_contract(to_json(event))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_of_version_1_stay_readable(path: Path) -> None:
    """Every field that a golden event has is read as it stands; these files are never changed."""
    expected = json.loads(path.read_text())
    read = from_json(path.read_text())

    assert read is not None
    again = json.loads(to_json(read))
    assert again == {name: value for name, value in expected.items() if name in again}
    assert set(expected) - set(again) <= {"a_field_of_the_future"}
    assert_true_to_contract(path.read_text())


def test_there_are_golden_files_for_every_type() -> None:
    assert {json.loads(path.read_text())["type"] for path in GOLDEN} == {"score", "status", "episode"}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_unknown_fields_are_ignored(event: Event) -> None:
    assert from_wire(altered(event, from_the_future={"deep": [1]})) == from_wire(to_wire(event))


@pytest.mark.parametrize("changes", [{"type": "weather"}, {"v": 2}])
def test_unknown_types_and_versions_are_left_out(changes: dict[str, Any]) -> None:
    assert from_wire(altered(a_score(), **changes)) is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_carry_is_never_sent(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_wire(a_score(voiced=number))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "9" * 5000])
def test_a_number_that_is_none_is_never_read(text: str) -> None:
    frame = to_wire(a_score()).replace(b'"voiced":0.8', f'"voiced":{text}'.encode())

    with pytest.raises(WireError):
        from_wire(frame)


@pytest.mark.parametrize(
    "changes",
    [
        {"p_sad": 1.5}, {"p_sad": "0.5"}, {"p_sad": None}, {"p_sad": True}, {"sad": 1}, {"seq": -1}, {"seq": 1.0},
        {"seq": 2**60}, {"seq": True}, {"stream": "Room 1"}, {"stream": ""}, {"time": "yesterday"},
        {"time": "2030-02-31T12:00:00Z"}, {"time": "2030-01-31T25:00:00Z"}, {"t_end": 0.0},
        {"text_reason": "boredom"}, {"latency_ms": {}}, {"latency_ms": 5}, {"audio_logit": 0.7}, {"bias_logit": None},
        {"emotions": {}}, {"emotions": {"sad": 0.9}}, {"emotions": {"Sad": 1.0}}, {"emotions": {"sad": True}},
        {"emotions": {"a": 1.5, "b": -0.5}}, {"emotions": {"a" * n: 1 / 17 for n in range(1, 18)}}, {"emotions": [1]},
        {"valence": 1.1}, {"arousal": "calm"},
        {"threshold": 0.1, "sad": False}, {"text_logit": 0.1}, {"text": "\ud800"}, {"session": 5}, {"model": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_score_that_contradicts_the_contract_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        from_wire(altered(a_score(), **changes))


@pytest.mark.parametrize("name", [n for n in json.loads(to_json(a_score())) if n not in ("v", "type")])
def test_a_score_with_a_field_missing_is_refused(name: str) -> None:
    body = json.loads(to_json(a_score()))
    del body[name]

    with pytest.raises(WireError, match=name):
        from_json(json.dumps(body))


@pytest.mark.parametrize("changes", [{"state": "bored"}, {"reason": None}, {"last_score_seq": -2}, {"rtf": -1.0}])
def test_a_status_that_contradicts_the_contract_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        from_wire(altered(a_status(), **changes))


@pytest.mark.parametrize("changes", [{"phase": "middle"}, {"sad_segments": 2}, {"last_score_seq": 1}, {"t_end": 1.0}])
def test_an_episode_that_contradicts_the_contract_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        from_wire(altered(an_episode(), **changes))


def test_a_topic_that_is_not_the_events_own_is_refused() -> None:
    frame = to_wire(a_score(stream="room1"))

    with pytest.raises(WireError, match="topic"):
        from_wire(frame.replace(b"sad.score.room1 ", b"sad.score.room2 "))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_a_wire_error(frame: bytes) -> None:
    with suppress(WireError):
        from_wire(frame)


@given(st.data())
def test_a_damaged_event_is_an_event_or_a_wire_error(data: st.DataObject) -> None:
    """One event of any type with bytes put in, taken out and replaced."""
    frame = bytearray(to_wire(data.draw(st.sampled_from(EVENTS))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame) - 1))
        frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with suppress(WireError):
        from_wire(bytes(frame))


@pytest.mark.parametrize("t_end", [1e-320, 1e-7])
def test_a_segment_that_lasts_no_time_as_written_is_refused(t_end: float) -> None:
    with pytest.raises(WireError, match="t_end"):
        from_wire(altered(EVENTS[0], t_start=0.0, t_end=t_end))


@given(st.floats(-2e-4, 2e-4), st.floats(-5e-7, 5e-7))
def test_what_can_be_read_can_be_written_and_read_again(off: float, less: float) -> None:
    """Also where rounding moves a part of the logit over the tolerance."""
    with suppress(WireError):
        event = from_wire(altered(EVENTS[0], audio_logit=0.5 + off, bias_logit=-1.0 + less))
        assert event is not None
        again = to_json(event)
        try:
            assert from_json(again) is not None
        except WireError as error:
            raise AssertionError(again) from error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(EVENTS), st.data())
def test_any_value_in_any_field_is_an_event_or_a_wire_error(event: Event, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(json.loads(to_json(event)))))
    with suppress(WireError):
        from_wire(altered(event, **{name: data.draw(json_values)}))


def test_deep_nesting_is_a_wire_error() -> None:
    with pytest.raises(WireError):
        from_wire(b"sad.score.mic " + b'{"v":' * 100_000)


@given(st.floats(-12.0, 12.0), st.floats(-12.0, 12.0))
def test_parts_sum_to_the_logit_also_where_p_is_near_0_or_1(audio: float, text: float) -> None:
    """Rounding p_sad to six decimals would lose the logit below 0.005 and above 0.995."""
    p_sad = 1.0 / (1.0 + math.exp(-(audio + text)))
    parts = {"bias_logit": 0.0, "audio_logit": audio, "text_logit": text, "text_used": True, "text_reason": "none"}
    read = from_wire(to_wire(a_score(p_sad=p_sad, sad=p_sad >= 0.5, **parts)))

    assert isinstance(read, Score)
    assert parts_agree(read)


def test_the_decision_at_the_threshold_survives_rounding() -> None:
    """p_sad a hair above the threshold stays above it on the wire."""
    p_sad = 0.37876924564301945
    logit = math.log(p_sad / (1 - p_sad))
    for threshold in (p_sad, p_sad + 1e-9, p_sad - 1e-9):
        event = a_score(
            p_sad=p_sad, threshold=threshold, sad=p_sad >= threshold, bias_logit=logit, audio_logit=0.0,
        )  # fmt: skip
        read = from_wire(to_wire(event))
        assert isinstance(read, Score)
        assert read.sad == (p_sad >= threshold)


def test_an_optional_field_is_absent_not_null() -> None:
    body = json.loads(to_json(a_score()))

    assert not {"text", "mood", "uncertain", "provisional", *FEELS} & set(body)
    assert "replay" not in json.loads(to_json(a_status()))


def test_a_model_that_is_not_additive_has_null_parts() -> None:
    event = a_score(bias_logit=None, audio_logit=None, text_logit=None, offset_logit=None, p_sad=0.7, sad=True)
    body = assert_true_to_contract(to_json(event))

    assert body["audio_logit"] is None


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=16), st.floats(-2e-3, 2e-3))
def test_emotions_that_can_be_read_can_be_written_and_read_again(weights: list[float], off: float) -> None:
    shares = [weight / (sum(weights) or 1.0) for weight in weights]
    emotions = {"a" * (1 + number): share for number, share in enumerate(shares)}
    with suppress(WireError):
        event = from_wire(altered(EVENTS[0], emotions=emotions | {"a": max(0.0, emotions["a"] + off)}))
        assert isinstance(event, Score)
        assert from_json(to_json(event)) is not None


def test_a_wire_error_never_repeats_what_was_sent() -> None:
    """A frame may hold words."""
    frame = altered(a_score(), text={"secret words": 1}, p_sad="secret words")

    with pytest.raises(WireError) as error:
        from_wire(frame)
    assert "secret" not in str(error.value)
