"""The subscribers under examples/ against a live daemon: true events, exact gaps, restarts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daemon import SADSTREAM, start
from wire import assert_true_to_contract, free_tcp

from sadstream.testing import fake_daemon, score
from sadstream.testing.story import LOST, ROUND_SEGMENTS

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEED = "60"
NPM_S = 120


def needs(*programs: str) -> None:
    """Skip, visibly, where a program is absent."""
    for one in programs:
        if shutil.which(one) is None:
            pytest.skip(f"no {one} on this machine")


@pytest.fixture(scope="module")
def python_command() -> list[str]:
    return [sys.executable, str(EXAMPLES / "python" / "subscriber.py")]


@pytest.fixture(scope="module")
def javascript_command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    needs("node", "npm")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(EXAMPLES / "javascript", folder, dirs_exist_ok=True)
    done = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund"],
        check=False, cwd=folder, capture_output=True, text=True, timeout=NPM_S,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"npm cannot install zeromq here: {done.stderr[-200:]}")
    return ["node", str(folder / "subscriber.mjs")]


@pytest.fixture(scope="module")
def c_command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    needs("gcc", "make")
    if not any(Path("/usr").rglob("include/zmq.h")):
        pytest.skip("no zmq.h on this machine (Debian: libzmq3-dev)")
    folder = tmp_path_factory.mktemp("c")
    shutil.copytree(EXAMPLES / "c", folder, dirs_exist_ok=True)
    done = subprocess.run(["make", "-C", folder], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [str(folder / "subscriber")]


@contextmanager
def running(command: list[str], folder: Path, **options: Any) -> Iterator[tuple[Path, Path]]:
    """A program whose standard output and error go to two files."""
    out, err = folder / "out", folder / "err"
    with out.open("w") as out_file, err.open("w") as err_file:
        process = subprocess.Popen(command, stdout=out_file, stderr=err_file, process_group=0, **options)
        try:
            yield out, err
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)


def wait_for(path: Path, pattern: str, times: int, timeout_s: float = 60.0) -> str:
    """A file's text once a pattern is in it so many times."""
    until = time.monotonic() + timeout_s
    while len(re.findall(pattern, text := path.read_text())) < times:
        assert time.monotonic() < until, f"{pattern} is not there {times} times:\n{text[-500:]}"
        time.sleep(0.05)
    return text


@pytest.mark.parametrize("language", ["python", "javascript", "c"])
def test_a_subscriber_hears_all_and_knows_what_it_missed(
    language: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two rounds of the fake: two gaps of three, one restart; heard and missed are all there were."""
    command = request.getfixturevalue(f"{language}_command")
    endpoint = free_tcp()
    with running([*command, endpoint], tmp_path) as (out, err):
        fake = start("fake", "--publish", endpoint, "--speed", SPEED, "--rounds", "2")
        try:
            text = wait_for(out, '"state":"stopping"', 2)
        finally:
            fake.kill()
            fake.communicate()
        told = err.read_text().splitlines()
    events = [assert_true_to_contract(line) for line in text.splitlines()]
    scores = [event for event in events if event["type"] == "score"]
    sessions = list(dict.fromkeys(event["session"] for event in events))
    gaps = [line.split() for line in told if line.startswith("gap mic score")]
    missed = sum(int(last) - int(first) + 1 for *_, first, last in gaps)

    assert told.count("restart mic") == 1
    assert len(sessions) == 2
    assert [str(LOST)] * 2 == [str(int(last) - int(first) + 1) for *_, first, last in gaps if int(first) > 40]
    assert len(scores) + missed + scores[0]["seq"] == 2 * ROUND_SEGMENTS
    assert {event["type"] for event in events} == {"score", "status", "episode"}
    for session in sessions:
        seqs = [event["seq"] for event in scores if event["session"] == session]
        assert seqs == sorted(set(seqs))


@pytest.mark.parametrize("language", ["python", "javascript", "c"])
def test_a_subscriber_whose_reader_goes_ends_without_a_word(language: str, request: pytest.FixtureRequest) -> None:
    command = request.getfixturevalue(f"{language}_command")
    with fake_daemon("tcp://127.0.0.1:0") as daemon:
        daemon.send(score())
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*command, daemon.endpoint], text=True, **pipes) as reader:
            assert reader.stdout is not None
            assert reader.stderr is not None
            assert reader.stdout.readline()
            reader.stdout.close()
            daemon.send(*[score() for _ in range(20)])
            told = reader.stderr.read()

    assert told == ""


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "javascript", "c"])
def test_a_subscriber_knows_a_dead_daemon(language: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    command = request.getfixturevalue(f"{language}_command")
    endpoint = free_tcp()
    with running([*command, endpoint], tmp_path) as (out, err):
        fake = start("fake", "--publish", endpoint, "--speed", SPEED)
        wait_for(out, '"type":"score"', 1)
        fake.kill()
        fake.communicate()
        died_s = time.monotonic()
        wait_for(err, "stale mic", 1, 20.0)

    assert 10.0 < time.monotonic() - died_s < 13.0


def test_the_shell_line_prints_sad_moments(tmp_path: Path) -> None:
    needs("sh", "grep")
    endpoint = free_tcp()
    commands = tmp_path / "bin"
    commands.mkdir()
    sadstream = commands / "sadstream"
    sadstream.write_text(f'#!/bin/sh\nexec {" ".join(SADSTREAM)} "$@"\n')
    sadstream.chmod(0o755)
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    with running([str(EXAMPLES / "shell" / "sad-moments.sh"), endpoint], tmp_path, env=environment) as (out, err):
        fake = start("fake", "--publish", endpoint, "--speed", SPEED)
        try:
            wait_for(out, "\n", 5)
            wait_for(err, "the daemon is a new one", 1)
        finally:
            fake.kill()
            fake.communicate()
        lines = out.read_text().splitlines()
    events = [assert_true_to_contract(line) for line in lines]

    assert all(event["type"] == "score" and event["sad"] for event in events)
    assert f"{LOST} score events lost" in err.read_text()
