"""Runs shared out: by a launcher, by an array's share; and two processes never at the same one."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sadstream.base.errors import UsageError
from train.training.launch import ProcessShare, held

# Does the runs of a folder beside whoever else does them; what is done stays done, as with real ones.
WORKER = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from train.training.launch import in_turn

out = Path(sys.argv[1])
def do(one):
    if (one.folder / "done").exists():
        return
    with (out / "log").open("a") as log:
        log.write(f"begin {one.named}\\n")
        log.flush()
        time.sleep(0.2)
        log.write(f"end {one.named}\\n")
    (one.folder / "done").touch()
print("up", flush=True)
sys.stdin.readline()
in_turn([SimpleNamespace(folder=out / name, named=name) for name in "abcdef"], do, lambda line: print(line, flush=True))
"""


def test_shares_are_all_runs_each_once() -> None:
    shares = [ProcessShare.asked(f"{number}/3").of(range(8)) for number in range(3)]

    assert sorted(run for share in shares for run in share) == list(range(8))
    assert ProcessShare.asked(None) == ProcessShare()


@pytest.mark.parametrize("words", ["", "1", "2/2", "0/0", "-1/2", "1/2/3", "a/b", "0.5/2", " 0/2", "٠/٢", "1/9999999"])
def test_a_share_that_is_none_is_a_usage_error(words: str) -> None:
    with pytest.raises(UsageError, match=r"--share .*: expected I/N, from 0/N to N-1/N, such as 0/32"):
        ProcessShare.asked(words)


def test_an_array_within_a_launcher_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(UsageError, match="torchrun shares the runs out itself"):
        ProcessShare.asked("0/2")


def test_only_who_waits_for_nobody_or_is_first_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProcessShare().finishes()
    assert not ProcessShare.asked("0/1").finishes()


def test_workers_beside_each_other_never_do_one_run(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=60)[0] for worker in workers]

    lines = (tmp_path / "log").read_text().splitlines()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert Counter(lines) == Counter(f"{what} {name}" for what in ("begin", "end") for name in "abcdef")
    assert all(lines.index(f"end {name}") > lines.index(f"begin {name}") for name in "abcdef")
    assert ": another process is at it; later" in "".join(said)
    assert "waiting for the process that is at it" in "".join(said)


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = "from pathlib import Path; import sys, time; from train.training.launch import held\nwith held(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"  # noqa: E501
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with held(tmp_path) as ours:
            assert not ours
        os.kill(other.pid, signal.SIGKILL)
    start = time.monotonic()
    with held(tmp_path, wait=True) as ours:
        assert ours

    assert time.monotonic() - start < 5.0
