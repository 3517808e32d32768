"""The same bytes from one process of this machine, from actors of which one is killed, and from two nodes."""

import contextlib
import importlib.util
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from archiving import cuts, files
from daemon import run, start

from sadstream.cluster import nodes
from sadstream.cluster.nodes import NodeSettings, free_base_port, join_head, start_head
from sadstream.cluster.tokens import make_token

pytestmark = [
    pytest.mark.models,
    pytest.mark.usefixtures("real_models"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install '.[cluster]'"),
]
CLOCKED = {"file", "session", "time", "monotonic_s", "latency_ms"}  # what `--out` makes the same at any time
KILL_S = 180


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "talks"
    cuts(folder, (0, 7), (7, 14), (14, 20))
    return folder


@pytest.fixture(scope="module")
def alone(talks: Path) -> dict[str, bytes]:
    """What one process makes of it, with the real models."""
    return scored(talks, talks.parent / "alone", "--workers", "1")


def scored(talks: Path, out: Path, *options: str) -> dict[str, bytes]:
    with scoring(talks, out, *options) as process:
        said, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (0, "")
    assert "3 scored" in said
    return files(out)


def scoring(talks: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    return start("score", str(talks), "--out", str(out), "--compute", "cpu", *options)


def test_an_archive_says_what_score_says_of_each_recording(talks: Path, alone: dict[str, bytes]) -> None:
    done = run("score", *map(str, sorted(talks.iterdir())))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kept = [json.loads(line) for name in sorted(alone) if name.endswith("jsonl") for line in alone[name].splitlines()]
    both = [[{key: one[key] for key in one if key not in CLOCKED} for one in some] for some in (events, kept)]

    assert len(events) >= 5
    assert both[0] == [one for one in both[1] if one["type"] == "score"]


def test_actors_of_which_one_is_killed_make_the_same_bytes(
    talks: Path, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with scoring(talks, tmp_path, "--cluster", "--workers", "2") as process:
        busy_actor(process).kill()
        said, errors = process.communicate(timeout=240)

    assert process.returncode == 0, errors
    assert all(line.startswith("sadstream: cluster: a worker died") for line in errors.splitlines())
    assert "3 scored" in said
    assert files(tmp_path) == alone


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[tuple[list[nodes.Node], tuple[str, ...]]]:
    """Two nodes of a core each, and the options that find them."""
    token = make_token(tmp_path / "token")
    settings = NodeSettings(token, free_base_port(), cpus=1)
    head = f"127.0.0.1:{settings.base_port}"
    with (
        ended(start_head(settings)) as one,
        ended(join_head(head, NodeSettings(token, free_base_port(), cpus=1))) as other,
    ):
        yield [one, other], ("--cluster", "--head", head, "--token", str(token))


@pytest.mark.slow
def test_two_processes_and_two_nodes_make_the_same_bytes_and_leave_no_word_behind(
    talks: Path, tmp_path: Path, alone: dict[str, bytes], two_nodes: tuple[list[nodes.Node], tuple[str, ...]]
) -> None:
    running, options = two_nodes
    (tmp_path / "words.toml").write_text("[publish]\ntext = true\n")
    with_words = scored(talks, tmp_path / "words", *options, "--config", str(tmp_path / "words.toml"))
    said = {json.loads(line).get("text") for name in alone for line in with_words[name].splitlines() if "json" in name}
    left = [path.read_bytes() for node in running for path in node.folder.rglob("*") if path.is_file()]

    assert (
        len(canaries := [text.strip().encode() for text in said if text and len(text) > 8]) >= 2
    )  # the scene has no more
    assert sum(map(len, left)) > 10_000
    assert not [text for text in canaries if any(text in content for content in left)]
    assert scored(talks, tmp_path / "nodes", *options) == alone
    assert scored(talks, tmp_path / "processes", "--workers", "2") == alone


def busy_actor(process: "subprocess.Popen[str]") -> psutil.Process:
    """An actor that is at a recording."""
    until = time.monotonic() + KILL_S
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        for one in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "ArchiveActor.begin" in " ".join(one.cmdline()) or "ArchiveActor.more" in " ".join(one.cmdline()):
                    return one
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no actor came: {process.communicate()}")


@contextlib.contextmanager
def ended(node: nodes.Node) -> Iterator[nodes.Node]:
    """A node that ends with the block."""
    try:
        yield node
    finally:
        node.end()
