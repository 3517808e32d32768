"""What apps test themselves with: made-up events that are true, a scripted stream, a daemon that does as it is told."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from daemon import run, start
from wire import assert_true_to_contract

from sadstream.base.errors import UnavailableError
from sadstream.client import Gap, Restart, Stale, subscribe
from sadstream.events import Event, Score, Status, to_json
from sadstream.testing import episode, fake_daemon, gap, restart, score, scores, scripted, stale, status

PHASES = ("start", "update", "end")
STATES = ("starting", "listening", "no-device", "overloaded", "degraded", "paused", "stopping")


@pytest.mark.parametrize(
    "event",
    [
        score(), score(0.001), score(0.999), score(audio_logit=-3.0), score(0.3, text_used=False), score(text="słowa"),
        score(emotions={"sad": 0.25, "calm": 0.75}, valence=-1.0, arousal=1.0),
        score(provisional=True), score(0.5, threshold=0.6), score(text_reason="silence"), *scores(0.1, 0.5, 0.9),
        *(status(state) for state in STATES), *(episode(phase) for phase in PHASES), episode(segments=2),
    ],
    ids=to_json,
)  # fmt: skip
def test_a_made_up_event_is_true_to_the_contract(event: Event) -> None:
    assert_true_to_contract(to_json(event))


def test_what_follows_from_what_is_given_follows() -> None:
    assert score(0.8).sad
    assert not score(0.8, threshold=0.9).sad
    assert score(audio_logit=5.0).p_sad > 0.97
    assert score(text_reason="loop").text_logit == 0.0
    assert [(one.seq, one.segment, one.t_start) for one in scores(0.1, 0.9)] == [(0, 0, 0.0), (1, 1, 3.0)]
    assert (gap(3, first_seq=5).first_seq, gap(3, first_seq=5).last_seq) == (5, 7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: score(1.0), lambda: score(0.5, audio_logit=1.0), lambda: score(stream="Kitchen"),
        lambda: score(emotions={"sad": 0.5}), lambda: score(valence=2.0),
        lambda: score(t_start=2.0, t_end=1.0), lambda: score(text_used=False, text_logit=1.0),
        lambda: episode(segments=2, sad_segments=3), lambda: status(reason="sunshine"), lambda: score(time="noon"),
    ],
)  # fmt: skip
def test_what_no_daemon_would_say_cannot_be_made(make: Any) -> None:
    with pytest.raises(ValueError, match=r"score|episode|status"):
        make()


def test_a_script_is_played_as_a_subscription_that_numbers_what_a_daemon_would() -> None:
    items = [status(), score(0.2), score(0.9), gap(3), score(), restart(), score(), stale(), episode()]
    heard = list(scripted(items))

    assert [item.type for item in heard] == [item.type for item in items]
    assert [item.seq for item in heard if isinstance(item, Score)] == [0, 1, 5, 0]
    assert [item.segment for item in heard if isinstance(item, Score)] == [0, 1, 2, 0]
    (lost,) = [item for item in heard if isinstance(item, Gap)]
    assert (lost.first_seq, lost.last_seq) == (2, 4)
    assert len({item.session for item in heard if isinstance(item, Event)}) == 2
    assert all(assert_true_to_contract(to_json(item)) for item in heard if isinstance(item, Event))


def test_async_hears_the_same_script() -> None:
    async def heard() -> list[object]:
        async with scripted([score(), 0.05, score()]) as events:
            return [item async for item in events]

    assert asyncio.run(heard()) == list(scripted([score(), score()]))


def test_a_script_keeps_its_times_and_closes_at_once() -> None:
    began_s = time.monotonic()
    assert len(list(scripted([0.2, score(), 10.0, score()], speed=50.0))) == 2
    assert 0.2 < time.monotonic() - began_s < 2.0

    events = scripted([score(), 60.0, score()])
    assert isinstance(next(events), Score)
    closer = threading.Timer(0.1, events.close)
    closer.start()
    assert list(events) == []
    closer.join()


def told(heard: list[Any], *kinds: type) -> list[Any]:
    return [item for item in heard if isinstance(item, kinds)]


@pytest.mark.parametrize("endpoint_asked", ["", "tcp://127.0.0.1:0"])
def test_an_app_hears_what_the_fake_daemon_is_told_to_say(endpoint_asked: str) -> None:
    heard: list[Any] = []
    with fake_daemon(endpoint_asked) as daemon:
        events = subscribe(daemon.endpoint, timeout_s=30.0)
        app = threading.Thread(target=lambda: heard.extend(events))
        app.start()
        daemon.wait_for_subscriber()
        said = daemon.send(score(0.2), score(0.9), status("paused"))
        lost = daemon.lose(score(), score())
        said += daemon.send(score(), episode("start"))
        first = daemon.session
        daemon.restart()
        daemon.wait_for_subscriber()
        said += daemon.send(score(0.7))
    while not (told(heard, Status) and told(heard, Status)[-1].state == "stopping"):
        time.sleep(0.01)
    events.close()
    app.join(5.0)

    assert not app.is_alive()
    assert [item for item in heard if item in said] == said
    assert [item.seq for item in told(heard, Score)] == [0, 1, 4, 0]
    assert [(item.first_seq, item.missed) for item in told(heard, Gap)] == [(lost[0].seq, 2)]
    assert [item.previous for item in told(heard, Restart)] == [first]
    assert not told(heard, Stale)


def test_what_it_lost_can_be_asked_for_again() -> None:
    with fake_daemon() as daemon:
        daemon.send(*scores(0.1, 0.2))
        daemon.lose(score(0.3))
        daemon.say("listening")
        past = list(subscribe(daemon.endpoint, types=("score", "gap"), replay=9, timeout_s=1.0))

    assert [round(event.p_sad, 3) for event in past if isinstance(event, Score)] == [0.1, 0.2, 0.3]
    assert not told(past, Gap)


def test_one_that_was_killed_says_so_and_nobody_listening_is_told() -> None:
    with fake_daemon() as daemon:
        with pytest.raises(TimeoutError):
            daemon.wait_for_subscriber(timeout_s=0.0)
        daemon.kill()
        with pytest.raises(UnavailableError, match="restart"):
            daemon.send(score())


def test_status_beside_it_says_what_it_is_and_pause_reaches_it() -> None:
    with fake_daemon() as daemon:
        daemon.send(score())
        done = run("status", daemon.endpoint)
        assert "mic: listening (none), 1 scored" in done.stdout
        assert "fake" in done.stdout
        assert "paused (user)" in run("pause", daemon.endpoint).stdout


def test_without_a_place_for_its_control_it_publishes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sadstream").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with fake_daemon("tcp://127.0.0.1:0") as daemon:
        daemon.send(score(0.9))
        with subscribe(daemon.endpoint, types=("score",), timeout_s=20.0) as events:
            assert next(events).type == "score"

    assert "no pause, resume and status" in capfd.readouterr().err


def test_it_is_a_fixture_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sadstream.testing.fixtures"]\n')
    (tmp_path / "test_app.py").write_text(
        "from sadstream.client import subscribe\nfrom sadstream.testing import score\n\n"
        "def test_it(sadstream_daemon):\n"
        "    sadstream_daemon.send(score(0.9))\n"
        "    with subscribe(sadstream_daemon.endpoint, types=('score',), timeout_s=20.0) as events:\n"
        "        assert next(events).sad\n"
    )
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=False, env=alone
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_story_begins_where_it_says(endpoint: str) -> None:
    command = [sys.executable, "-m", "sadstream.testing", "--endpoint", endpoint, "--speed", "60"]
    fake = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert fake.stderr is not None
        assert endpoint in fake.stderr.readline()
        assert "fake" in run("status", endpoint).stdout
        assert next(iter(subscribe(endpoint, types=("score",), timeout_s=20.0))).type == "score"
    finally:
        fake.kill()
        fake.communicate()


def test_its_pause_holds_over_a_restart(endpoint: str) -> None:
    fake = start("fake", "--publish", endpoint, "--speed", "300")
    try:
        with subscribe(endpoint, timeout_s=30.0) as events:
            assert next(event for event in events if isinstance(event, Score))
            run("pause", endpoint)
            assert next(event for event in events if isinstance(event, Status) and event.state == "paused")
            assert next(event for event in events if isinstance(event, Restart))
            first = next(events)
    finally:
        fake.kill()
        fake.communicate()

    assert isinstance(first, Status)
    assert first.state == "paused"


def test_the_command_says_where_it_publishes(endpoint: str) -> None:
    fake = start("fake", "--publish", endpoint)
    try:
        assert fake.stderr is not None
        assert fake.stderr.readline() == f"sadstream fake: made-up events at {endpoint}; Ctrl-C ends it\n"
    finally:
        fake.kill()
        fake.communicate()


def test_the_pages_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", Path("docs/apps.md").read_text(), re.DOTALL)
    run_here = [block for block in blocks if "sadstream.testing import" in block and "conftest" not in block]

    assert len(run_here) == 3
    for block in run_here:
        exec(compile(block, "docs/apps.md", "exec"), {})
