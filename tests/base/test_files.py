"""Nothing is written over an input, a folder or somebody else's file; what cannot be written is said beforehand."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from daemon import run

from sadstream.base.errors import BusyError, ConfigError, SadstreamError, UnavailableError, UsageError
from sadstream.base.files import PROBE_BYTES, expect_folder, expect_place, write_atomic
from sadstream.config import loading
from sadstream.events import journal, keys
from sadstream.events.journal import check_path
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.mood import voice
from sadstream.views.dashboard.history.table import JournalReader
from sadstream.views.watch.marks import MarksFile
from sadstream.views.web.options import read_token
from train.corpora import manifest
from train.corpora.readers.formats import own_csv as table
from train.metrics import predictions

MARK = b"made by a test"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB without a free byte."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    try:
        (folder / "ballast").write_bytes(bytes(65_536))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def somebody_elses(folder: Path) -> Path:
    (folder / "out").write_text("the only copy")
    return folder / "out"


def a_link_to_somebody_elses(folder: Path) -> Path:
    (folder / "link").symlink_to(somebody_elses(folder))
    return folder / "link"


def a_folder(folder: Path) -> Path:
    return folder


def in_no_folder(folder: Path) -> Path:
    return folder / "no" / "out"


def below_a_file(folder: Path) -> Path:
    return somebody_elses(folder) / "out"


def a_name_too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


def a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


REFUSED = [
    (somebody_elses, BusyError),
    (a_link_to_somebody_elses, BusyError),
    (a_folder, BusyError),
    (in_no_folder, UnavailableError),
    (below_a_file, UnavailableError),
    (a_name_too_long, UnavailableError),
    (a_loop, UnavailableError),
]


@pytest.mark.parametrize(("make", "error"), REFUSED)
def test_a_place_that_is_not_ours_is_refused_before_the_work(
    tmp_path: Path, make: Callable[[Path], Path], error: type[SadstreamError]
) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(error, match="--plot"):
        expect_place("--plot", path, mark=MARK)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_same_command_made_is_replaced_and_the_rest_when_told_to(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", somebody_elses(tmp_path)
    ours.write_bytes(b"<html>" + MARK)

    expect_place("--plot", ours, mark=MARK)
    expect_place("--plot", theirs, mark=MARK, force=True)
    expect_place("--plot", tmp_path / "new", mark=MARK)


@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_written_over_by_whatever_name(tmp_path: Path, force: bool) -> None:
    link, hard = a_link_to_somebody_elses(tmp_path), tmp_path / "hard"
    hard.hardlink_to(tmp_path / "out")

    for path in (tmp_path / "out", link, hard):
        with pytest.raises(UsageError, match="is read from"):
            expect_place("--plot", path, reads=[tmp_path / "out", None], force=force)


def test_a_full_disk_is_said_beforehand_and_nothing_is_left(full_disk: Path) -> None:
    with pytest.raises(UnavailableError, match="No space left"):
        expect_place("--plot", full_disk / "out")
    with pytest.raises(OSError, match="No space left"):
        write_atomic(full_disk / "out", bytes(PROBE_BYTES))
    assert [path.name for path in full_disk.iterdir()] == ["ballast"]


def test_a_link_stays_one_and_a_device_stays_a_device(tmp_path: Path) -> None:
    link = a_link_to_somebody_elses(tmp_path)
    write_atomic(link, b"new")
    expect_place("--plot", Path(os.devnull))
    write_atomic(Path(os.devnull), b"gone")

    assert link.is_symlink()
    assert (tmp_path / "out").read_bytes() == b"new"
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_pipe_gets_the_bytes(tmp_path: Path) -> None:
    read, write = os.pipe()
    path = Path(f"/dev/fd/{write}")
    expect_place("--plot", path)
    write_atomic(path, b"a picture")
    os.close(write)

    assert os.read(read, 100) == b"a picture"


def test_a_long_name_that_fits_is_one(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    expect_place("--plot", path)
    write_atomic(path, b"x")

    assert [found.name for found in tmp_path.iterdir()] == ["x" * 255]


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "endless")
    return folder / "endless"


def a_device(folder: Path) -> Path:
    (folder / "endless").symlink_to("/dev/zero")
    return folder / "endless"


SMALL: dict[str, Callable[[Path], object]] = {
    "configuration": loading.load,
    "secret key": keys.read_secret,
    "allow-list": keys.read_allowed,
    "token": read_token,
    "voice": voice.read_voice,
    "checkpoint": checkpoint.read_header,
    "journal": lambda path: list(journal.read(path, 0.0, 1e10)),
    "page's journal": lambda path: JournalReader(path).table(),
    "manifest": manifest.read,
    "table": table.read_table,
    "predictions": lambda path: predictions.read(path, "test"),
}


@pytest.mark.parametrize("make", [a_pipe, a_device])
@pytest.mark.parametrize("read", SMALL.values(), ids=SMALL)
def test_a_small_file_without_an_end_is_one_line(
    tmp_path: Path, read: Callable[[Path], object], make: Callable[[Path], Path]
) -> None:
    with pytest.raises(SadstreamError, match="endless"):
        read(make(tmp_path))


@pytest.mark.parametrize(
    "words", [["keys", "new"], ["fake", "--publish"], ["watch", "--marks"]], ids=lambda words: words[0]
)
def test_a_place_in_no_folder_is_the_same_exit_code_everywhere(words: list[str], tmp_path: Path) -> None:
    place = f"{'ipc://' if '--publish' in words else ''}{tmp_path}/none/out"
    done = run(*words, place)

    assert done.returncode == 69, done.stderr
    assert done.stderr.count("\n") == 1


COMMANDS = {
    "score --plot": ["score", "{scene}", "--plot", "{out}"],
    "score --report": ["score", "{scene}", "--report", "{out}"],
    "history --plot": ["history", "--journal", "{scene}", "--plot", "{out}"],
    "calibrate --out": ["calibrate", "--source", "{scene}", "--out", "{out}"],
    "keys new": ["keys", "new", "{out}"],
    "watch --marks": ["watch", "--marks", "{out}"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_no_command_writes_over_somebody_elses_file(words: list[str], tmp_path: Path, scene: Path) -> None:
    out = somebody_elses(tmp_path)
    done = run(*(word.format(scene=scene, out=out) for word in words))

    assert done.returncode in (2, 73), done.stderr
    assert done.stderr.count("\n") == 1
    assert out.read_text() == "the only copy"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_enrolling_writes_over_no_file_of_somebody_else(tmp_path: Path, scene: Path) -> None:
    (tmp_path / "anna.json").write_text("{}")
    done = run("enroll", "anna", "--source", str(scene), "--out", str(tmp_path))

    assert (done.returncode, done.stderr.count("\n")) == (73, 1)
    assert (tmp_path / "anna.json").read_text() == "{}"


@pytest.mark.parametrize("content", [b"a letter", b"SQLite format 3\0 and then nonsense", b'{"time": 1}'])
def test_a_file_that_is_no_journal_is_no_journal(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    if content.startswith(b"SQLite"):
        check_path(tmp_path / "a")  # perhaps a damaged journal: the daemon says so and scores on
        return
    with pytest.raises(ConfigError, match="no journal of ours"):
        check_path(tmp_path / "a")


def test_a_pipe_and_somebody_elses_database_are_no_journals(tmp_path: Path) -> None:
    import sqlite3

    os.mkfifo(tmp_path / "pipe")
    with closing(sqlite3.connect(tmp_path / "mail.sqlite")) as mail:
        mail.execute("CREATE TABLE letters (text)")
    for name in ("pipe", "mail.sqlite"):
        with pytest.raises(ConfigError, match="no journal of ours"):
            check_path(tmp_path / name)


def test_marks_go_to_no_file_of_somebody_else(tmp_path: Path) -> None:
    MarksFile(tmp_path / "marks").add(None)
    MarksFile(tmp_path / "marks").add(None)
    os.mkfifo(tmp_path / "pipe")
    for path in (somebody_elses(tmp_path), tmp_path, tmp_path / "pipe"):
        with pytest.raises(BusyError, match="no file of marks"):
            MarksFile(path)


@pytest.mark.parametrize(
    "words",
    [["export", "RUN", "--out", "{out}"], ["open", "--data", "DATA", "--out", "{out}"], ["prepare", "csv", "{out}"]],
    ids=lambda words: words[0],
)
def test_no_command_of_the_workshop_writes_over_somebody_elses_file(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "manifest.csv"
    out.write_text("path,label\na.wav,sad\n")
    more = ["--out", str(tmp_path)] if words[0] == "prepare" else []
    done = subprocess.run(
        [sys.executable, "-m", "train.cli", *(word.format(out=out) for word in words), *more],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode in (2, 73), done.stderr
    assert done.stderr.count("\n") == 1
    assert out.read_text() == "path,label\na.wav,sad\n"


@pytest.mark.parametrize("name", ["new", "new/deep", "."])
def test_a_folder_that_can_be_made_is_a_place_and_is_not_made_yet(tmp_path: Path, name: str) -> None:
    expect_folder("--out", tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_said_before_the_work(tmp_path: Path, full_disk: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing")
    for path in (somebody_elses(tmp_path), tmp_path / "out" / "below", tmp_path / "nowhere", tmp_path / "loop"):
        with pytest.raises(BusyError, match="is no folder"):
            expect_folder("--out", path)
    for path in (full_disk, full_disk / "new", Path("/proc/new")):
        with pytest.raises(UnavailableError, match="cannot be written"):
            expect_folder("--out", path)
