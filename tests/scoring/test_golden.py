"""The scene sounds the same however it comes in: from a file, at any pace, or through a microphone."""

import json
import math
import os
import statistics
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import microphone
import pytest
import soundfile
from daemon import config_file, heard, run, scores, start

from sadstream.base.samples import to_pcm

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("real_models")]
PARTS = ("p_sad", "bias_logit", "audio_logit", "text_logit", "offset_logit", "t_start", "t_end", "voiced")
WORDS = "[publish]\ntext = true\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(config_file(tmp_path_factory.mktemp("golden"), WORDS))


@pytest.fixture(scope="module")
def reference(words: str, scene_file: str) -> list[dict[str, Any]]:
    """What `score` says of the scene."""
    done = run("score", scene_file, "--config", words, env=os.environ)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def scene_file() -> str:
    return "sadstream/cli/demo/scene/scene.flac"


def test_the_scene_has_its_eight_utterances(reference: list[dict[str, Any]]) -> None:
    assert len(reference) in range(8, 14)
    said = " ".join(event["text"].lower() for event in reference)
    assert said.count("talking by the door") + said.count("sitting by the door") >= 6
    assert [event["segment"] for event in reference] == list(range(len(reference)))


def test_the_parts_of_every_score_sum_to_its_logit(reference: list[dict[str, Any]]) -> None:
    for event in reference:
        parts = sum(event[name] for name in ("bias_logit", "audio_logit", "text_logit", "offset_logit"))
        assert parts == pytest.approx(math.log(event["p_sad"] / (1 - event["p_sad"])), abs=1e-4)
        assert event["sad"] == (event["p_sad"] >= event["threshold"])
        assert event["text_used"] or event["text_logit"] == 0


def test_sad_voices_score_above_the_lively_ones_on_average(reference: list[dict[str, Any]]) -> None:
    """Clips 2, 4 and 6 of the scene are spoken sadly, 5 is angry and 7 happy (actors not trained on)."""
    sad = [event["audio_logit"] for event in reference if event["t_start"] // 1 in (3, 4, 10, 20)]
    lively = [event["audio_logit"] for event in reference if event["t_start"] // 1 in (16, 23)]

    assert (len(sad), len(lively)) == (3, 2)
    assert sum(sad) / len(sad) > sum(lively) / len(lively)


@pytest.mark.parametrize("pace", ["fast", "realtime"])
def test_the_daemon_says_what_score_says(
    pace: str, endpoint: str, words: str, scene_file: str, reference: list[dict[str, Any]]
) -> None:
    events = heard(endpoint, "--source", scene_file, "--pace", pace, "--config", words)

    found = scores(events)
    assert len(found) == len(reference)
    assert [event["text"] for event in found] == [event["text"] for event in reference]
    for event, expected in zip(found, reference, strict=True):
        for name in PARTS:
            assert event[name] == pytest.approx(expected[name], abs=1e-4), name
    assert [event["seq"] for event in found] == list(range(len(found)))
    assert found[-1]["dropped"] == 0
    assert events[-1]["state"] == "stopping"


@pytest.mark.microphone
@pytest.mark.skipif(
    microphone.missing() is not None, reason=f"no virtual microphone: {microphone.missing()} is missing"
)
def test_a_microphone_hears_what_the_recording_holds(
    endpoint: str, words: str, scene_file: str, reference: list[dict[str, Any]]
) -> None:
    samples, _ = soundfile.read(scene_file, dtype="float32")
    with microphone.virtual_microphone() as mic:
        speech = bytes(16_000) + to_pcm(samples) + bytes(32_000)
        events = _heard_while(endpoint, words, mic.environment, partial(mic.play, speech), len(reference))

    found = scores(events)
    assert len(found) == len(reference)
    assert [event["text"] for event in found] == [event["text"] for event in reference]
    edges = [
        event[edge] - expected[edge]
        for event, expected in zip(found, reference, strict=True)
        for edge in ("t_start", "t_end")
    ]
    shift = statistics.median(edges)  # how long the microphone was open before the scene began
    assert edges == pytest.approx([shift] * len(edges), abs=0.0601)
    for event, expected in zip(found, reference, strict=True):
        assert event["p_sad"] == pytest.approx(expected["p_sad"], abs=0.05)


def _heard_while(
    endpoint: str, words: str, environment: dict[str, str], play: Callable[[], None], count: int
) -> list[dict[str, Any]]:
    daemon = start("run", "--publish", endpoint, "--config", words, env=environment)
    listener = start("listen", endpoint, "--json", "--timeout", "150", "--count", str(count))
    assert listener.stdout is not None
    events: list[dict[str, Any]] = []
    player: threading.Thread | None = None
    try:
        for line in listener.stdout:
            events.append(json.loads(line))
            if player is None and events[-1].get("state") == "listening":
                player = threading.Thread(target=play)
                player.start()
        assert player is not None, "the microphone was never heard"
        player.join()
        daemon.terminate()
        _, errors = daemon.communicate(timeout=30)
        assert daemon.returncode == 0, errors
    finally:
        for process in (listener, daemon):
            process.kill()
            process.communicate()
    return events
