"""Scores, events and training ask for nothing that Linux alone has, and one module alone for a kind of processor."""

import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_corpus import corpus

from train.corpora.prepare import prepare

SEAM = Path("sadstream/scoring/weights/packed.py")
SOURCES = sorted([*Path("sadstream").rglob("*.py"), *Path("train").rglob("*.py")])
PROCESSOR = re.compile(
    r"fbgemm|qnnpack|mkl|onednn|xnnpack|avx|sse[2-4]|quantized|_fp16$|^(x86|x86_64|amd64|aarch64|arm64)$", re.IGNORECASE
)


def as_on_a_mac(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    program, setting = str(Path("tests/macos.py").resolve()), {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, program, *arguments], cwd=cwd, env=setting, capture_output=True, text=True, check=False
    )


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_the_scene_is_scored_without_what_macos_lacks(scene: Path) -> None:
    done = as_on_a_mac("sadstream", "score", str(scene))

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) >= 8


def test_events_are_heard_without_what_macos_lacks(endpoint: str) -> None:
    command = [sys.executable, "-m", "sadstream", "fake", "--publish", endpoint, "--speed", "20"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
        done = as_on_a_mac("sadstream", "listen", endpoint, "--count", "2", "--timeout", "60")
        daemon.kill()

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


def test_a_system_is_trained_without_what_macos_lacks(tmp_path: Path) -> None:
    prepare("iemocap", corpus(tmp_path / "corpus"), tmp_path / "data", allow_partial=True, say=print)
    done = as_on_a_mac(
        "sadstream-train", "fit", "thesis-small", "--manifest", str(tmp_path / "data"), "--system", "cnn-lstm",
        "--epochs", "1", "--allow-partial", "--out", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache"),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "1 epochs" in done.stdout


def test_every_module_is_imported_without_what_macos_lacks() -> None:
    done = as_on_a_mac("import", "sadstream", "train")

    assert done.returncode == 0, done.stderr
    assert {"sadstream.daemon.service", "sadstream.cli.recordings", "train.training.run"} <= set(done.stdout.split())


def test_the_daemon_says_that_it_needs_linux(scene: Path) -> None:
    done = as_on_a_mac("sadstream", "run", "--source", str(scene))

    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "sadstream: run needs Linux; score, listen and training do not\n"


def test_a_pipe_is_not_put_on_the_disk_where_memory_is_no_file(scene: Path) -> None:
    done = as_on_a_mac("sadstream", "score", "-")

    assert done.returncode == 69
    assert "a pipe is kept in memory, which needs Linux" in done.stderr
    assert done.stderr.count("\n") == 1


def names(source: str) -> Iterator[str]:
    """Every name and string of a module, without its comments and what documents it."""
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        documents = token.type == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.NL)
        if token.type in (tokenize.NAME, tokenize.STRING) and not documents:
            yield token.string
        before = token.type if token.type != tokenize.COMMENT else before


def test_one_module_alone_asks_for_a_kind_of_processor() -> None:
    found = {path for path in SOURCES for name in names(path.read_text()) if PROCESSOR.search(name.strip("\"'"))}

    assert found == {SEAM}
