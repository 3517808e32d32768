"""A journal on a disk without room: nothing that memory holds is lost, and the scoring does not notice."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from test_journal import scored, stored

from sadstream.client import subscribe
from sadstream.events.journal import PENDING, Journal

FULL = """
import json, resource, sys, time
from pathlib import Path
from test_journal import scored, stored
from sadstream.events.journal import Journal
path = Path(sys.argv[1])
journal = Journal(path, 30.0, retry_s=0.5)
journal.write([scored(0)])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
for number in range(1, 900):
    journal.write([scored(number)])
full = len(stored(path))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
time.sleep(0.6)
journal.write([])
print(json.dumps([full, len(stored(path)), journal.lost]))
"""


def test_a_file_that_cannot_grow_any_more_loses_nothing_that_memory_holds(tmp_path: Path) -> None:
    """The kernel refuses the write, as it does on a full disk; later there is room again."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "scores.sqlite")],
        check=False, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    full, whole, lost = json.loads(done.stdout)

    assert full < 800
    assert (whole, lost) == (900, 0)
    assert done.stderr.count("scoring goes on") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(folder)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"mounting a file system needs root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(1000):
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return ballast


@pytest.mark.parametrize("full_first", [False, True], ids=["it-fills-up", "full-at-the-start"])
def test_a_file_system_without_room_costs_only_what_memory_cannot_hold(
    small_disk: Path, full_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """ENOSPC from the kernel, in the database, its log and its shared memory; later there is room again."""
    path, total = small_disk / "scores.sqlite", PENDING + 50
    journal = Journal(path, 30.0, retry_s=0.0)
    if not full_first:
        journal.write([scored(0)])
    ballast = fill(small_disk)
    for number in range(1, total + 1):
        journal.write([scored(number)])
    lost_while_full = journal.lost
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    journal.write([])
    journal.close()
    kept = [score.seq for score in sorted(stored(path), key=lambda score: score.seq)]

    assert 0 < lost_while_full == journal.lost <= 50
    assert len(kept) + journal.lost == total + (not full_first)
    assert kept[-PENDING:] == list(range(total - PENDING + 1, total + 1))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert f"{journal.lost} scores lost in all" in caplog.text


def test_a_daemon_on_a_full_file_system_scores_on_says_so_and_writes_when_there_is_room(
    small_disk: Path, endpoint: str, tmp_path: Path
) -> None:
    config, log = tmp_path / "a.toml", tmp_path / "log"
    config.write_text(f'[journal]\npath = "{small_disk}/scores.sqlite"\n')
    fakes = [sys.executable, str(Path(__file__).parents[1].joinpath("fakes.py")), "run", "capture=good"]
    ballast = fill(small_disk)
    with (
        log.open("wb") as stderr,
        subprocess.Popen([*fakes, "--publish", endpoint, "--config", str(config)], stderr=stderr) as daemon,
    ):
        try:
            items = iter(subscribe(endpoint, types=("score",), timeout_s=60.0))
            while_full = [next(items).seq for _ in range(3)]
            said = log.read_text()
            ballast.unlink()
            until = time.monotonic() + 20.0
            while "written again" not in log.read_text() and time.monotonic() < until:
                time.sleep(0.1)
            last = next(items).seq
            daemon.terminate()
            assert daemon.wait(10) == 0
        finally:
            daemon.kill()

    assert while_full == [0, 1, 2]
    assert said.count("the scoring goes on") == 1
    assert "written again; 0 scores lost in all" in log.read_text()
    assert [score.seq for score in stored(small_disk / "scores.sqlite")][: last + 1] == list(range(last + 1))
