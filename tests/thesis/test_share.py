"""The thesis's runs by several processes and by a cluster: the same bytes as by one, also where one is killed."""

import contextlib
import importlib.util
import os
import shutil
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
from train.training.run import Run

SYSTEMS = ("attention", "cnn")
THREADS = 2  # of which Ray would make one, and that gives the CNN other weights
# What a run's times and its machine come to; all else is the same each time.
OWN_WAY = ("timing.json", "provenance.json")

NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install '.[cluster]'")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that all runs left."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if Path(name).name not in OWN_WAY}


def tables(markdown: str) -> str:
    """A report but for the seconds of its last table, and for the machines."""
    lines = markdown.partition("## Training")[0].splitlines()
    return "\n".join(line for line in lines if line and not line.startswith("**Runs of"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A tiny corpus, the command that trains on it, and what the plain loop made of it in the same folder."""
    found, before = prepared(tmp_path_factory.mktemp("share")), torch.get_num_threads()
    out, base = found.folder / "out", Path("configs/thesis.toml").resolve()
    path = found.folder / "tiny.toml"
    path.write_text(
        f'base = "{base}"\nname = "tiny"\n[model]\nchannels = [2, 4]\nhidden = 4\n[features]\nn_mels = 16\n'
        f'[text]\nencoder = "{found.folder / "encoder"}"\n[training]\nepochs = 12\n'
    )
    asked = ThesisRequest(found.release, out, load_preset(str(path)), SYSTEMS, 1, False, False, allow_partial=True)
    torch.set_num_threads(THREADS)
    text = reproduce(asked, found.session, False, lambda _: None)
    out.rename(found.folder / "loop")
    words = ["reproduce", "--iemocap", found.release, "--out", out, "--preset", path, "--allow-partial"]
    words += ["--cache", found.folder / "cache", "--threads", THREADS, "--compute", "cpu"]
    words += [word for system in SYSTEMS for word in ("--system", system)]
    command = [sys.executable, "-m", "train", *map(str, words)]
    yield SimpleNamespace(
        command=command, out=out, loop=found.folder / "loop", text=text, asked=asked, session=found.session
    )
    torch.set_num_threads(before)


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
    half, holder = await_half_a_run(made.out / "runs", stopped)
    with held(half) as free:
        assert not free
    assert holder == stopped.pid
    os.kill(holder, signal.SIGKILL)
    stopped.communicate(timeout=60)
    assert not (half / "learned.json").exists()
    again = start()
    own = reproduce(replace(made.asked, share=ProcessShare.asked("1/2")), made.session, False, lambda _: None)
    out, err = again.communicate(timeout=120)

    assert (again.returncode, out, own) == (0, "", ""), err
    assert "share 0/2: done\n" in err
    assert err.endswith(f"after the last share: sadstream-train report {made.out}\n")
    assert not list(made.out.glob("report*"))
    run = Run(half)
    run.write("provenance.json", run.provenance.model_copy(update={"machine": "another"}))
    report = write_report(made.out, made.out)[0].read_text()
    assert "**Runs of 2 kinds of machine: " in report
    assert tables(report) == tables(made.text)
    assert files(made.out / "runs") == files(made.loop / "runs")


@NEEDS_RAY
def test_a_cluster_makes_the_loops_bytes_although_a_worker_was_killed_and_a_run_cannot_be_done(
    made: SimpleNamespace, begun: list[subprocess.Popen[str]]
) -> None:
    """A real one, of this machine's processors, that ends with the command."""
    shutil.rmtree(made.out, ignore_errors=True)
    foreign = made.out / "runs" / "tiny-text-encoder-seed0-fixed"
    shutil.copytree(made.loop / "runs" / "tiny-cnn-seed0-fixed", foreign)
    command = subprocess.Popen(
        [*made.command, "--system", "text", "--cluster"],
        stdout=-1,
        stderr=-1,
        text=True,
        env=os.environ | {"XDG_CONFIG_HOME": str(made.out)},  # no token of a cluster that serves here
    )
    begun.append(command)
    half, worker = await_half_a_run(made.out / "runs", command)
    assert worker != command.pid
    os.kill(worker, signal.SIGKILL)
    out, err = command.communicate(timeout=120)

    assert (command.returncode, out) == (78, ""), err
    assert f"sadstream: cluster: a worker died or was killed, process {worker}\n" in err
    assert "Text Only (encoder, not BERT), seed 0, fold fixed: failed on" in err
    assert err.splitlines()[-1].startswith(f"sadstream-train: 1 of 3 failed, named above: {foreign}: holds a run of")
    shutil.rmtree(foreign)
    assert files(made.out / "runs") == files(made.loop / "runs")
    assert Run(half).provenance.threads == THREADS


# A head and one that joins it, a machine each, until the input ends.
MACHINES = """
import sys
from contextlib import ExitStack
from pathlib import Path
from sadstream.cluster import nodes, tokens

token = tokens.make_token(Path(sys.argv[1]))
with ExitStack() as ends:
    head = nodes.start_head(nodes.NodeSettings(token, nodes.free_base_port(), cpus=2))
    ends.callback(head.end)
    reach = f"127.0.0.1:{head.settings.base_port}"
    ends.callback(nodes.join_head(reach, nodes.NodeSettings(token, nodes.free_base_port(), cpus=2)).end)
    print(reach, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
@NEEDS_RAY
def test_two_machines_make_the_loops_bytes_and_its_report(
    made: SimpleNamespace, begun: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Joined to one cluster that somebody else started; on it all runs at once."""
    shutil.rmtree(made.out, ignore_errors=True)
    token = tmp_path / "token"
    begun.append(subprocess.Popen([sys.executable, "-c", MACHINES, token], stdin=-1, stdout=-1, text=True))
    assert begun[0].stdout
    head = begun[0].stdout.readline().strip()
    command = [*made.command, "--cluster", "--head", head, "--token", str(token)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    begun[0].communicate("\n", timeout=60)

    assert done.returncode == 0, done.stderr
    assert "2 tasks for 2 machines with 4 processors, 2 threads each" in done.stderr
    assert tables(done.stdout) == tables(made.text)
    assert files(made.out / "runs") == files(made.loop / "runs")


def await_half_a_run(runs: Path, command: subprocess.Popen[str]) -> tuple[Path, int]:
    """The folder of a run that was begun and not ended, and the process that is at it."""
    until = time.monotonic() + 120
    while time.monotonic() < until and command.poll() is None:
        for state in runs.glob("*/state.pt"):
            holder = None if (state.parent / "learned.json").exists() else holder_of(state.parent / "run.lock")
            if holder is not None and holder != os.getpid():
                return state.parent, holder
        time.sleep(0.002)
    raise AssertionError(f"ended with {command.poll()} before it was seen at a run")


def holder_of(lock: Path) -> int | None:
    """The process that has this file open."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if descriptor.readlink() == lock:
                return int(descriptor.parts[2])
    return None
