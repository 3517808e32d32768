"""An archive by processes that are killed, starve, hear nonsense or are interrupted: nothing lost or half-written."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from archiving import cuts, fatal, files, score, started

from sadstream.base.errors import UnavailableError
from sadstream.cluster.archive import pool
from sadstream.cluster.archive.messages import ScoreOrder, WorkerMessage
from sadstream.cluster.archive.plan import find
from sadstream.cluster.archive.schedule import ArchiveRemark

SPANS = ((0, 7), (7, 14), (14, 20), (0, 14))


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def await_files(folder: Path, count: int) -> None:
    until = time.monotonic() + 30
    while len(list(folder.rglob("*.jsonl"))) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "talks"
    cuts(folder, *SPANS)
    return folder


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A single recording."""
    return cuts(tmp_path, (0, 7))[0]


@pytest.fixture(scope="module")
def undisturbed(talks: Path) -> dict[str, bytes]:
    """What one worker makes of it."""
    done = score(talks, "--out", talks.parent / "scores", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    return files(talks.parent / "scores")


pytestmark = [pytest.mark.models, pytest.mark.usefixtures("real_models")]  # their manifests are read, nothing more


def test_each_recording_has_a_file_that_says_of_what_and_all_are_in_one_table(undisturbed: dict[str, bytes]) -> None:
    assert sorted(undisturbed) == ["0.wav.jsonl", "1.wav.jsonl", "2.wav.jsonl", "3.wav.jsonl", "scores.csv"]
    rows = list(csv.DictReader(undisturbed["scores.csv"].decode().splitlines()))
    for name in sorted(undisturbed)[:-1]:
        head, *events = map(json.loads, undisturbed[name].splitlines())
        assert (head["type"], head["file"], head["scores"]) == ("recording", name[: -len(".jsonl")], len(events))
        assert {event["session"] for event in events} == {head["sha256"][:16]}
        assert [float(row["p_sad"]) for row in rows if row["file"] == head["file"]] == [one["p_sad"] for one in events]
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)


def test_two_workers_make_the_same_bytes(talks: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    score(talks, "--out", tmp_path, "--workers", "2")

    assert files(tmp_path) == undisturbed


def test_a_second_call_starts_nobody_and_writes_no_scores(talks: Path, undisturbed: dict[str, bytes]) -> None:
    out = talks.parent / "scores"
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.jsonl")}
    done = score(talks, "--out", out, fakes="unloadable=1")

    assert done.returncode == 0
    assert "0 scored, 4 there already" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.jsonl")} == before
    assert files(out) == undisturbed


def test_what_changed_is_done_again_and_nothing_else(
    talks: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    shutil.copytree(talks, tmp_path / "talks")
    arguments = (tmp_path / "talks", "--out", tmp_path / "scores", "--workers", "1")
    score(*arguments)
    shutil.copy(talks / "0.wav", tmp_path / "talks/1.wav")
    (tmp_path / "other.toml").write_text("[segment]\nhold_ms = 330\n")
    changed = score(*arguments)

    assert "1 scored, 3 there already" in changed.stdout
    assert files(tmp_path / "scores")["3.wav.jsonl"] == undisturbed["3.wav.jsonl"]
    assert "4 scored, 0 there already" in score(*arguments, "--config", tmp_path / "other.toml").stdout


def test_a_worker_that_is_killed_loses_nothing(talks: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with started(talks, "--out", tmp_path, "--workers", "2", fakes="slow=0.2") as process:
        await_files(tmp_path, 1)
        for worker in workers_of(process):
            worker.kill()
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert "4 scored" in out
    assert files(tmp_path) == undisturbed


@pytest.mark.parametrize(("how", "says"), [("memory", "out of memory"), ("signal", "killed by signal 9")])
def test_a_recording_that_nobody_survives_is_named_and_the_rest_is_scored(
    talks: Path, tmp_path: Path, undisturbed: dict[str, bytes], how: str, says: str
) -> None:
    bad = fatal(tmp_path / "fatal.wav")
    done = score(talks, bad, "--out", tmp_path / "scores", fakes=f"fatal={how}")
    found = files(tmp_path / "scores")

    assert done.returncode == 65
    assert done.stderr == f"sadstream: fatal.wav: its worker ended 3 times: {says}\n"
    assert found.pop("failed.csv").decode().splitlines()[1:] == [f"fatal.wav,69,its worker ended 3 times: {says}"]
    assert found == undisturbed


def test_workers_that_cannot_load_end_it_with_69(talks: Path, tmp_path: Path) -> None:
    done = score(talks, "--out", tmp_path, fakes="unloadable=1")

    assert done.returncode == 69
    assert "before it could score: killed by signal 9; try --workers 1" in done.stderr
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_bad_recordings_are_named_with_what_each_would_cost_alone(talks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    shutil.copytree(talks, folder)
    (folder / "text.wav").write_text("a letter, not a recording")
    (cut,) = cuts(tmp_path / "more", (0, 20), suffix="flac")
    cut.write_bytes(cut.read_bytes()[:150_000])
    arguments = (folder, cut, tmp_path / "gone.wav", "--out", tmp_path / "scores")
    done = score(*arguments)
    table = (tmp_path / "scores/failed.csv").read_text()
    again = score(*arguments)

    assert (done.returncode, again.returncode) == (65, 65)
    assert [row["file"] + row["exit_code"] for row in csv.DictReader(table.splitlines())] == [
        "gone.wav66", "text.wav65", "0.flac65"
    ]  # fmt: skip
    assert len(done.stderr.splitlines()) == 3
    # What was heard before the cut is kept, and said to be cut as long as the recording is.
    assert json.loads((tmp_path / "scores/0.flac.jsonl").read_text().splitlines()[0])["scores"] > 0
    assert "0 scored, 5 there already, 3 failed" in again.stdout
    assert (tmp_path / "scores/failed.csv").read_text() == table
    assert score(tmp_path / "gone.wav", "--out", tmp_path / "scores").returncode == 66


def test_an_interruption_leaves_whole_files_and_the_next_call_goes_on(
    talks: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    with started(talks, "--out", tmp_path, "--workers", "1", fakes="slow=0.3") as process:
        await_files(tmp_path, 1)
        (worker,) = workers_of(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "of 4 recordings are done; the same command goes on from there" in err
    assert not worker.is_running()
    partial = files(tmp_path)
    assert 0 < len(partial) < 4
    assert all(content == undisturbed[name] for name, content in partial.items())
    assert "0 scored" not in score(talks, "--out", tmp_path).stdout
    assert files(tmp_path) == undisturbed


def await_workers(process: subprocess.Popen[str], count: int) -> None:
    until = time.monotonic() + 30
    while len(workers_of(process)) < count:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_second_command_into_the_same_folder_is_73_and_workers_end_with_the_first(talk: Path, tmp_path: Path) -> None:
    with started(talk, "--out", tmp_path, "--workers", "1", fakes="slow=1") as process:
        await_workers(process, 1)
        workers = workers_of(process)
        done = score(talk, "--out", tmp_path)
        process.kill()

    assert done.returncode == 73
    assert "another sadstream scores into it" in done.stderr
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert (len(gone), alive) == (1, [])


class _BusyCluster:
    """A pool whose workers never come."""

    workers = range(1)

    def give(self, worker: int, order: ScoreOrder) -> None:
        raise AssertionError

    def take(self) -> list[tuple[int, WorkerMessage]]:
        time.sleep(0.05)
        return []

    def retire(self, worker: int) -> None:
        raise AssertionError


def test_a_cluster_without_a_free_core_is_said_and_then_given_up(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LATE_S", 0.1)
    monkeypatch.setattr(pool, "COME_S", 0.3)
    events = pool.score_archive(find([talk], tmp_path).recordings, "", 0o600, _BusyCluster())
    remarks: list[ArchiveRemark] = []
    with pytest.raises(UnavailableError, match="no worker came"):
        remarks.extend(event for event in events if isinstance(event, ArchiveRemark))

    assert len(remarks) == 1


def test_somebody_elses_files_are_in_the_way_unless_forced(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("mine")

    assert score(talk, "--out", tmp_path).returncode == 73
    assert (tmp_path / "scores.csv").read_text() == "mine"
    assert score(talk, "--out", tmp_path, "--force").returncode == 0


@pytest.mark.parametrize(
    "options",
    [["--out", "o", "--plot", "p.png"], ["--out", "o", "--format", "csv"], ["--workers", "2"], ["--dry-run"]],
    ids=" ".join,
)
def test_what_does_not_go_together_is_2(talks: Path, options: list[str]) -> None:
    done = score(talks, *options)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_without_recordings_is_66(tmp_path: Path) -> None:
    done = score(tmp_path, "--out", tmp_path / "scores")

    assert done.returncode == 66
    assert "no recordings there" in done.stderr
    assert not (tmp_path / "scores").exists()


def test_words_are_in_the_files_only_where_they_are_published_and_then_for_their_owner(
    talk: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    (tmp_path / "words.toml").write_text("[publish]\ntext = true\n")
    score(talk, "--out", tmp_path / "scores", "--config", tmp_path / "words.toml")
    (path, *_) = sorted((tmp_path / "scores").glob("*.jsonl"))

    assert '"text":"' in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert not any(b'"text":"' in content for content in undisturbed.values())


def test_a_dry_run_says_how_long_and_writes_nothing(talk: Path, tmp_path: Path) -> None:
    done = score(talk, "--out", tmp_path / "scores", "--dry-run")

    assert done.returncode == 0
    assert done.stdout.startswith("1 recordings: 0 scored already, 1 to score\nto score: 0:00:07 of sound; ")
    assert not (tmp_path / "scores").exists()


def test_recordings_of_any_name_are_scored(tmp_path: Path) -> None:
    (path,) = cuts(tmp_path / "in", (0, 7))
    strange = os.fsencode(tmp_path / "in") + b"/=\xff\n.wav"
    path.rename(os.fsdecode(strange))
    done = score(tmp_path / "in", "--out", tmp_path / "scores")
    table = (tmp_path / "scores/scores.csv").read_bytes()

    assert done.returncode == 0, done.stderr
    assert b"./=\\xff\\n.wav,0," in table
    assert "0 scored, 1 there already" in score(tmp_path / "in", "--out", tmp_path / "scores").stdout
