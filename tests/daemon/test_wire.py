"""The whole daemon on the wire, with an analyser that makes up its scores: replay, journal, keys, words."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from wire import assert_true_to_contract, free_tcp

from sadstream.client import subscribe
from sadstream.client.follower import Gap
from sadstream.events import Event, Score, Status, to_json
from sadstream.events.journal import read
from sadstream.events.keys import allow, new_key

FAKE_RUN = [sys.executable, str(Path(__file__).parents[1].joinpath("fakes.py")), "run"]
WORDS = "canary in the coal mine"
SEEN = 3  # the score at which a daemon is killed or joined late; the scene has more


@contextmanager
def daemon(fakes: str, scene: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that plays the scene once somebody listens."""
    command = [*FAKE_RUN, fakes, "--source", str(scene), "--pace", "fast", "--wait-subscriber", "60", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def heard(endpoint: str, **options: Any) -> list[Any]:
    """Everything up to its last word, each event true to the contract."""
    found = []
    for item in subscribe(endpoint, timeout_s=60.0, **options):
        found.append(item)
        if isinstance(item, Event):
            assert_true_to_contract(to_json(item))
        if isinstance(item, Status) and item.state == "stopping":
            break
    return found


def settings(folder: Path, text: str) -> list[str]:
    """`--config` and a file of this content."""
    path = folder / "sadstream.toml"
    path.write_text(text)
    return ["--config", str(path)]


def whole(found: list[Any]) -> bool:
    """Every score of the session is there, by what the last status says."""
    last = found[-1].last_score_seq
    return bool(last > SEEN and [score.seq for score in scores(found)] == list(range(last + 1)))


def scores(found: list[Any]) -> list[Score]:
    """The scores alone."""
    return [item for item in found if isinstance(item, Score)]


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_a_recording_is_heard_whole(endpoint: str, scene: Path, scheme: str) -> None:
    endpoint = endpoint if scheme == "ipc" else free_tcp()
    with daemon("", scene, "--publish", endpoint) as running:
        found = heard(endpoint)
        assert running.wait(20) == 0

    assert whole(found)
    assert not [item for item in found if isinstance(item, Gap)]


def test_a_late_subscriber_gets_the_scores_it_missed(endpoint: str, scene: Path) -> None:
    with daemon("busy=0.3", scene, "--publish", endpoint):
        first = next(
            item for item in subscribe(endpoint, timeout_s=60.0) if isinstance(item, Score) and item.seq == SEEN
        )
        found = heard(endpoint, replay=100)

    assert whole(found)
    assert scores(found)[SEEN] == first


def test_the_journal_holds_every_score_that_was_sent_and_no_word(endpoint: str, scene: Path, tmp_path: Path) -> None:
    """Also when the words are sent to subscribers."""
    folder = tmp_path / "state"
    folder.mkdir()
    config = settings(tmp_path, f'[journal]\npath = "{folder}/scores.sqlite"\n[publish]\ntext = true\n')
    with daemon(f"words={WORDS}", scene, "--publish", endpoint, *config) as running:
        found = heard(endpoint)
        assert running.wait(20) == 0
        assert running.stderr is not None
        log = running.stderr.read()
    kept = list(read(folder / "scores.sqlite", 0.0, 2e10))

    assert whole(found)
    assert [score.seq for score in kept] == [score.seq for score in scores(found)]
    assert {score.text for score in scores(found)} == {WORDS}
    assert all(b"canary" not in path.read_bytes() for path in folder.iterdir())
    assert "canary" not in log
    assert "keeps scores, no words, in" in log


def test_a_daemon_killed_in_the_middle_leaves_a_whole_journal(endpoint: str, scene: Path, tmp_path: Path) -> None:
    """And the next one goes on in the same file."""
    path = tmp_path / "scores.sqlite"
    config = settings(tmp_path, f'[journal]\npath = "{path}"\n')
    with daemon("busy=0.2", scene, "--publish", endpoint, *config) as running:
        next(i for i in subscribe(endpoint, timeout_s=60.0) if isinstance(i, Score) and i.seq == SEEN)
        running.kill()
        running.wait(20)
    killed = [score.seq for score in read(path, 0.0, 2e10)]
    with daemon("", scene, "--publish", endpoint, *config) as running:
        found = heard(endpoint)
        assert running.wait(20) == 0
    kept = list(read(path, 0.0, 2e10))

    assert killed == list(range(len(killed)))
    assert len(killed) >= SEEN
    assert [score.seq for score in kept] == killed + [score.seq for score in scores(found)]
    assert kept[0].session != kept[-1].session


def test_a_disk_that_takes_nothing_stops_no_score_and_changes_no_exit_code(
    endpoint: str, scene: Path, tmp_path: Path
) -> None:
    config = settings(tmp_path, '[journal]\npath = "/dev/full"\n')
    with daemon("", scene, "--publish", endpoint, *config) as running:
        found = heard(endpoint)
        assert running.wait(20) == 0
        assert running.stderr is not None
        log = running.stderr.read()

    assert whole(found)
    assert log.count("the scoring goes on") == 1


def test_a_journal_where_none_can_be_is_78_before_anything_starts(endpoint: str, scene: Path, tmp_path: Path) -> None:
    config = settings(tmp_path, f'[journal]\npath = "{tmp_path}/none/scores.sqlite"\n')
    with daemon("load=60", scene, "--publish", endpoint, *config) as running:
        assert running.wait(20) == 78
        assert running.stderr is not None
        assert "no folder" in running.stderr.read().splitlines()[-1]


def test_a_daemon_on_a_network_is_heard_with_a_key(scene: Path, tmp_path: Path) -> None:
    """Bound to every interface; heard here with the key, and not at all without."""
    server, mine, listed = tmp_path / "curve.key", tmp_path / "mine.key", tmp_path / "allowed.keys"
    server_public = new_key(server)
    allow(listed, new_key(mine), "me")
    endpoint = free_tcp()
    public_endpoint = endpoint.replace("127.0.0.1", "0.0.0.0")
    config = settings(tmp_path, f'[publish]\nsecret_key = "{server}"\nallow = "{listed}"\n')
    with daemon("", scene, "--publish", public_endpoint, *config) as running:
        assert list(subscribe(endpoint, timeout_s=2.0)) == []
        found = heard(endpoint, server_key=server_public, secret_key=mine, replay=10)
        assert running.wait(20) == 0

    assert whole(found)


def test_the_tables_in_the_docs_are_those_of_the_last_measurement() -> None:
    bench = Path(__file__).parents[2] / "bench"
    report = json.loads((bench.parent / "docs/bench-wire.json").read_text())
    tables = runpy.run_path(str(bench / "wire_table.py"))["markdown"](report)

    assert tables in (bench.parent / "docs/wire.md").read_text()


@pytest.mark.slow
def test_the_measurement_ends_and_fills_every_cell(tmp_path: Path) -> None:
    bench = Path(__file__).parents[2] / "bench/wire.py"
    command = [sys.executable, str(bench), "--seconds", "0.5", "--turns", "1", "--json", str(tmp_path / "x.json")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr
    assert "nan" not in done.stdout
    for transport in ("tcp", "ipc"):
        ten = json.loads((tmp_path / "x.json").read_text())[transport]["one_of_ten"]
        assert [ten[tenth]["lost"] for tenth in ("reads", "frozen")] == [0, 0]
