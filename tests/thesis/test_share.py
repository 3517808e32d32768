"""The thesis's runs by several processes that know nothing of each other: the same bytes as by one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_corpus import prepared

from train.presets import load_preset
from train.thesis.report import write_report
from train.thesis.reproduce import ThesisRequest, reproduce
from train.training.launch import ProcessShare, held

SYSTEMS = ("attention", "cnn")
# What a run's times and its machine come to; all else is the same each time.
OWN_WAY = ("timing.json", "provenance.json")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that all runs left."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if Path(name).name not in OWN_WAY}


def tables(markdown: str) -> str:
    """A report but for the seconds of its last table."""
    return markdown.partition("## Training")[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tiny corpus, the command that trains on it, and what the plain loop made of it in the same folder."""
    found = prepared(tmp_path_factory.mktemp("share"))
    out, base = found.folder / "out", Path("configs/thesis.toml").resolve()
    path = found.folder / "tiny.toml"
    path.write_text(
        f'base = "{base}"\nname = "tiny"\n[model]\nchannels = [2, 4]\nhidden = 4\n[features]\nn_mels = 16\n'
        f'[text]\nencoder = "{found.folder / "encoder"}"\n[training]\nepochs = 12\n'
    )
    asked = ThesisRequest(found.release, out, load_preset(str(path)), SYSTEMS, 1, False, False, allow_partial=True)
    text = reproduce(asked, found.session, False, lambda _: None)
    out.rename(found.folder / "loop")
    # The machine's threads are part of what the bytes are.
    words = ["reproduce", "--iemocap", found.release, "--out", out, "--preset", path, "--allow-partial"]
    words += ["--cache", found.folder / "cache", "--threads", torch.get_num_threads(), "--compute", "cpu"]
    words += [word for system in SYSTEMS for word in ("--system", system)]
    command = [sys.executable, "-m", "train", *map(str, words)]
    return SimpleNamespace(
        command=command, out=out, loop=found.folder / "loop", text=text, asked=asked, session=found.session
    )


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that end with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_two_shares_make_the_loops_bytes_although_one_was_killed(
    made: SimpleNamespace, begun: list[subprocess.Popen[str]]
) -> None:
    def start() -> subprocess.Popen[str]:
        begun.append(subprocess.Popen([*made.command, "--share", "0/2"], stdout=-1, stderr=-1, text=True))
        return begun[-1]

    stopped = start()
    half = await_half_a_run(made.out / "runs", stopped)
    with held(half) as free:
        assert not free
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.communicate(timeout=60)
    assert not (half / "learned.json").exists()
    again = start()
    own = reproduce(replace(made.asked, share=ProcessShare.asked("1/2")), made.session, False, lambda _: None)
    out, err = again.communicate(timeout=120)

    assert (again.returncode, out, own) == (0, "", ""), err
    assert f"share 0/2: done; after the last one: sadstream-train report {made.out}\n" in err
    assert not list(made.out.glob("report*"))
    markdown, _ = write_report(made.out, made.out)
    assert tables(markdown.read_text()) == tables(made.text)
    assert files(made.out / "runs") == files(made.loop / "runs")


def await_half_a_run(runs: Path, process: subprocess.Popen[str]) -> Path:
    """The folder of a run that this process has begun and not ended."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        for state in runs.glob("*/state.pt"):
            if not (state.parent / "learned.json").exists() and is_held_by(process.pid, state.parent):
                return state.parent
        time.sleep(0.002)
    raise AssertionError(f"ended with {process.poll()} before it was seen at a run")


def is_held_by(pid: int, folder: Path) -> bool:
    """Whether a process has the lock of a run's folder open."""
    lock = str(folder / "run.lock")
    return any(os.path.realpath(fd) == lock for fd in Path(f"/proc/{pid}/fd").iterdir())
