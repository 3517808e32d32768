"""The fake daemon is true to the contract, and says everything that a real one may."""

import subprocess
from itertools import islice

import pytest
from daemon import run, start
from wire import assert_true_to_contract, free_tcp

from sadstream.client import subscribe
from sadstream.client.follower import Gap
from sadstream.client.follower import Restart as Restarted
from sadstream.events import Event, Score, Status, to_json
from sadstream.testing.story import LOST, ROUND_SEGMENTS, EpisodeStep, RestartStep, ScoreStep, StatusStep, script

SPEED = "60"


def a_round(seed: int) -> list[object]:
    """The script up to its first restart."""
    steps: list[object] = []
    for step in script(seed):
        steps.append(step)
        if isinstance(step, RestartStep):
            return steps
    raise AssertionError


def test_the_same_seed_tells_the_same_story() -> None:
    assert [repr(s) for s in islice(script(3), 900)][:400] == [repr(s) for s in islice(script(3), 900)][:400]
    assert a_round(3)[:100] != a_round(4)[:100]


@pytest.mark.parametrize("seed", range(8))
def test_every_round_has_an_episode_a_gap_no_device_and_a_restart(seed: int) -> None:
    steps = a_round(seed)
    phases = [step.phase for step in steps if isinstance(step, EpisodeStep)]

    assert {"start", "update", "end"} <= set(phases)
    assert sum(isinstance(step, ScoreStep) and step.lost for step in steps) == LOST
    assert StatusStep("no-device", "device-lost") in steps
    assert isinstance(steps[-1], RestartStep)


def test_what_it_publishes_is_true_and_an_app_sees_gap_and_restart() -> None:
    endpoint = free_tcp()
    fake = start("fake", "--publish", endpoint, "--speed", SPEED, "--rounds", "2", "--seed", "5", "--emotions")
    try:
        found = []
        for item in subscribe(endpoint, timeout_s=60.0):
            found.append(item)
            if sum(isinstance(i, Status) and i.state == "stopping" for i in found) == 2:
                break
        assert fake.wait(10) == 0
    finally:
        fake.kill()
        fake.communicate()
    for item in found:
        if isinstance(item, Event):
            assert_true_to_contract(to_json(item))
    gaps = [item for item in found if isinstance(item, Gap) and item.event_type == "score"]
    scores = [item for item in found if isinstance(item, Score)]

    assert {item.state for item in found if isinstance(item, Status)} >= {"listening", "no-device", "stopping"}
    assert all(score.likeliest and score.valence is not None and score.arousal is not None for score in scores)
    assert {item.type for item in found} >= {"score", "status", "episode", "gap", "restart"}
    assert sum(isinstance(item, Restarted) for item in found) == 1
    assert LOST in [gap.missed for gap in gaps]
    first = scores[0].seq
    assert len(scores) + sum(gap.missed for gap in gaps) == 2 * ROUND_SEGMENTS - first


def test_its_gap_can_be_filled_from_its_memory(endpoint: str) -> None:
    fake = start("fake", "--publish", endpoint, "--speed", SPEED, "--rounds", "1")
    try:
        found = []
        for item in subscribe(endpoint, timeout_s=60.0, replay=500, types=("score", "gap", "status")):
            found.append(item)
            if isinstance(item, Status) and item.state == "stopping":
                break
    finally:
        fake.kill()
        fake.communicate()

    scores = [item for item in found if isinstance(item, Score)]
    assert [item.seq for item in scores] == list(range(ROUND_SEGMENTS))
    assert {item.emotions for item in scores} == {None}
    assert not [item for item in found if isinstance(item, Gap)]


def test_listen_tells_people_of_it_on_standard_error(endpoint: str) -> None:
    fake = start("fake", "--publish", endpoint, "--speed", SPEED)
    try:
        done = run("listen", endpoint, "--json", "--count", str(ROUND_SEGMENTS + 10), "--timeout", "60")
    finally:
        fake.kill()
        fake.communicate()

    assert done.returncode == 0, done.stderr
    assert f"{LOST} score events lost" in done.stderr
    assert "the daemon is a new one" in done.stderr
    assert all(assert_true_to_contract(line) for line in done.stdout.splitlines())


def test_it_binds_where_a_daemon_may(endpoint: str) -> None:
    for arguments, code in (
        (("--publish", "tcp://0.0.0.0:5556"), 78), (("--stream", "No!"), 2), (("--publish", "nonsense"), 78)
    ):  # fmt: skip
        done: subprocess.CompletedProcess[str] = run("fake", *arguments, "--rounds", "1")
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == 1
