"""Scores on disk: never the words, never at the scoring's cost."""

import csv
import io
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from daemon import run
from wire import a_score, assert_true_to_contract

from sadstream.base.errors import ConfigError, DataError, MissingFileError, UsageError
from sadstream.daemon.pipeline.background_worker import BackgroundWorker
from sadstream.events import Score, to_json
from sadstream.events.journal import PENDING, Journal, check_path, read, read_columns, unix_s
from sadstream.views.history import moment_s, print_history

Opened: TypeAlias = Callable[..., Journal]

DAY_S = 86_400.0


def at(age_s: float) -> str:
    """The time so long ago, as an event says it."""
    moment = datetime.now(UTC) - timedelta(seconds=age_s)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def scored(seq: int, age_s: float = 0.0, **changes: Any) -> Score:
    """A score of so long ago."""
    return replace(a_score(seq, **changes), time=at(age_s))


def stored(path: Path) -> list[Score]:
    """All of a journal."""
    return list(read(path, 0.0, time.time() + DAY_S))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal goes."""
    return tmp_path / "scores.sqlite"


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Journals that are closed at the end."""
    with ExitStack() as stack:
        yield lambda *told, **more: stack.enter_context(closing(Journal(*told, **more)))


def test_what_is_written_is_read_again_in_order(path: Path, opened: Opened) -> None:
    journal = opened(path, 30.0)
    journal.write([scored(2, 10.0), scored(1, 20.0)])
    journal.write([scored(3, 5.0)])

    assert [score.seq for score in stored(path)] == [1, 2, 3]
    assert [score.seq for score in read(path, time.time() - 15.0, time.time())] == [2, 3]
    assert [score.seq for score in read(path, 0.0, time.time(), stream="door")] == []


def test_columns_are_what_the_scores_say(path: Path, opened: Opened) -> None:
    opened(path, 30.0).write([scored(2, 10.0), scored(1, 20.0, mood=None), scored(3, 5.0)])
    names = ("p_sad", "sad", "text_logit", "mood", "seq")
    found = read_columns(path, names)
    rows = sorted(zip(found.time_s, found.stream, *found.values, strict=True))

    assert found.oldest_s == min(found.time_s)
    assert rows == [
        (unix_s(score.time), score.stream, *(getattr(score, name) for name in names)) for score in stored(path)
    ]
    assert [*read_columns(path, ("seq",), time.time() - 15.0).values[0]] == [2, 3]
    assert read_columns(path, ("seq",), time.time() + DAY_S).values == [[]]
    with pytest.raises(ValueError, match="fields of a score"):
        read_columns(path, ("p_sad') FROM score --",))


def test_words_and_names_never_reach_the_disk(path: Path, opened: Opened) -> None:
    journal = opened(path, 30.0)
    journal.write([scored(0, text="canary in the coal mine", speaker="canary")])
    journal.close()

    assert (stored(path)[0].text, stored(path)[0].speaker) == (None, None)
    for file in path.parent.iterdir():
        assert b"canary" not in file.read_bytes()


def test_a_provisional_score_is_not_kept(path: Path, opened: Opened) -> None:
    journal = opened(path, 30.0)
    journal.write([scored(0, provisional=True), scored(1)])

    assert [score.seq for score in stored(path)] == [1]


def test_the_file_is_its_owners_alone(path: Path, opened: Opened) -> None:
    journal = opened(path, 30.0)
    journal.write([scored(0)])

    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_what_is_too_old_is_deleted(path: Path, opened: Opened) -> None:
    journal = opened(path, 2.0)
    journal.write([scored(0, 3 * DAY_S), scored(1, DAY_S)])

    assert [score.seq for score in stored(path)] == [1]


def test_a_daemon_that_writes_and_one_that_reads_do_not_wait_for_each_other(path: Path, opened: Opened) -> None:
    journal = opened(path, 30.0)
    journal.write([scored(0)])
    reading = sqlite3.connect(path)
    reading.execute("BEGIN")
    reading.execute("SELECT * FROM score").fetchall()
    journal.write([scored(1)])
    reading.close()

    assert journal.lost == 0
    assert len(stored(path)) == 2


def test_a_locked_file_costs_nothing_but_a_wait_in_memory(
    path: Path, caplog: pytest.LogCaptureFixture, opened: Opened
) -> None:
    journal = opened(path, 30.0, retry_s=0.0)
    journal.write([scored(0)])
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    journal.write([scored(1)])
    journal.write([scored(2)])
    other.rollback()
    other.close()
    journal.write([scored(3)])

    assert [score.seq for score in stored(path)] == [0, 1, 2, 3]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "0 scores lost" in caplog.text


def test_a_full_disk_is_announced_once_counted_and_survived(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, opened: Opened
) -> None:
    """The scores that wait are written when there is room again; only what the memory cannot hold is lost."""
    journal = opened(path, 30.0, retry_s=0.0)
    journal.write([scored(0)])
    journal.close()
    monkeypatch.setattr("sadstream.events.journal._opened", refuse)
    for number in range(PENDING + 50):
        journal.write([scored(1 + number)])
    assert journal.lost > 0
    monkeypatch.undo()
    journal.write([])

    assert len(stored(path)) + journal.lost == PENDING + 51
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def refuse(_: Path) -> sqlite3.Connection:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("content", [b"this is no database, but long enough to look like a header" * 9, b"\0" * 8192])
def test_a_file_that_is_no_journal_is_announced_and_left_alone(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture, opened: Opened
) -> None:
    path.write_bytes(content)
    journal = opened(path, 30.0)
    journal.write([scored(0)])

    assert "journal" in caplog.text
    assert path.read_bytes() == content
    with pytest.raises(DataError):
        stored(path)


def damaged(path: Path, **columns: Any) -> Path:
    """A sound journal with one row that no daemon wrote."""
    journal = Journal(path, 30.0)
    journal.write([scored(0)])
    journal.close()
    row = {"time_s": time.time(), "stream": "mic", "session": "s", "seq": 1, "event": to_json(scored(1))} | columns
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO score VALUES (:time_s, :stream, :session, :seq, :event)", row)
        connection.commit()
    return path


@pytest.mark.parametrize(
    "columns", [{"event": b"\xff\xfe"}, {"event": "[" * 5000}, {"event": re.sub(r"-\d\dT", "-32T", to_json(scored(1)))}]
)
def test_a_row_that_no_daemon_wrote_is_one_line(path: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="cannot be read as a journal"):
        stored(damaged(path, **columns))


def test_a_schema_that_is_no_text_is_one_line(path: Path, caplog: pytest.LogCaptureFixture, opened: Opened) -> None:
    """SQLite repeats the damaged words in its complaint, and those are no UTF-8 either."""
    content = damaged(path).read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE score (\n", b"CREATE TABLE score (\xff", 1))
    with pytest.raises(DataError, match="cannot be read as a journal"):
        stored(path)
    opened(path, 30.0).write([scored(2)])

    assert "the scoring goes on" in caplog.text


def test_a_deleted_file_is_made_anew(path: Path, opened: Opened) -> None:
    journal = opened(path, 30.0)
    journal.write([scored(0)])
    for file in list(path.parent.iterdir()):
        file.unlink()
    journal.write([scored(1)])

    assert [score.seq for score in stored(path)] == [1]


def test_a_journal_of_another_version_is_not_touched(
    path: Path, caplog: pytest.LogCaptureFixture, opened: Opened
) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 7")
    other.close()
    opened(path, 30.0).write([scored(0)])

    assert "version 7, expected 1" in caplog.text


WRITER = """
import sys
from pathlib import Path
from test_journal import scored
from sadstream.events.journal import Journal
journal = Journal(Path(sys.argv[1]), 30.0)
for number in range(1_000_000):
    journal.write([scored(number)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 30, 400])
def test_what_was_written_survives_kill_9(path: Path, after: int, opened: Opened) -> None:
    """Every score whose write had returned is there, and the next daemon goes on in the same file."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= after:
            break
    writer.send_signal(signal.SIGKILL)
    rest = [int(line) for line in writer.communicate()[0].split()[:-1]]
    written = max([after, *rest])
    seqs = [score.seq for score in sorted(stored(path), key=lambda score: score.seq)]
    opened(path, 30.0).write([scored(0, session="c" * 16)])

    assert seqs[: written + 1] == list(range(written + 1))
    assert len(stored(path)) == len(seqs) + 1


def test_a_slow_disk_delays_nobody(tmp_path: Path) -> None:
    """What is put aside is handed over in order by a thread; the one who puts never waits."""
    handed: list[int] = []
    let_go = threading.Event()

    def slow(scores: Any) -> None:
        let_go.wait(5)
        handed.extend(score.seq for score in scores)

    done = threading.Event()
    with BackgroundWorker("test", slow, done.set) as aside:
        began = time.perf_counter()
        for number in range(500):
            aside.put(a_score(number))
        assert time.perf_counter() - began < 0.5
        let_go.set()
        until = time.monotonic() + 5
        while len(handed) < 500 and time.monotonic() < until:
            time.sleep(0.01)
    assert handed == list(range(500))
    assert done.wait(1)


def test_a_disk_that_hangs_does_not_hold_up_the_end() -> None:
    never = threading.Event()
    with BackgroundWorker("test", lambda _: never.wait(5) and None, lambda: None) as aside:
        aside.put(a_score(0))
        time.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5
    never.set()


def test_a_place_that_cannot_be_written_is_known_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        check_path(tmp_path / "none" / "scores.sqlite")
    with pytest.raises(ConfigError, match="cannot be written"):
        check_path(tmp_path)


def test_history_prints_people_json_csv_and_a_picture(path: Path, tmp_path: Path, opened: Opened) -> None:
    felt = [None, {"sad": 0.75, "calm": 0.25}]
    opened(path, 30.0).write([scored(n, 7200.0 - 600 * n, audio_logit=n / 4, emotions=felt[n % 2]) for n in range(13)])
    base = ("history", "--journal", str(path))
    as_json = run(*base, "--since", "61m", "--json").stdout.splitlines()
    table = list(csv.DictReader(io.StringIO(run(*base, "--since", "3h", "--csv").stdout)))
    people = run(*base, "--since", "3h", "--until", "1h").stdout.splitlines()
    drawn = run(*base, "--since", "3h", "--plot", str(tmp_path / "x.png"))

    assert [assert_true_to_contract(line)["seq"] for line in as_json] == list(range(6, 13))
    assert [row["seq"] for row in table] == [str(number) for number in range(13)]
    assert [float(row["p_sad"]) for row in table] == [score.p_sad for score in stored(path)]
    assert [row["emotions"] for row in table[:2]] == ["", '{"sad":0.75,"calm":0.25}']
    assert len(people) == 7
    assert sum("  emotion sad 0.75" in line for line in people) == 3
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_history_of_nothing_says_so(path: Path, opened: Opened) -> None:
    opened(path, 30.0).write([scored(0, DAY_S)])
    done = run("history", "--journal", str(path))

    assert (done.returncode, done.stdout) == (0, "")
    assert "no scores" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("--journal", "none.sqlite"), 66), (("--journal", "x", "--json", "--csv"), 2)],
)
def test_history_without_a_journal_is_one_line(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = run("history", *arguments, cwd=tmp_path)

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1


def test_moments() -> None:
    assert moment_s("90s", 1000.0) == 910.0
    assert moment_s("1.5h", 10_000.0) == 4600.0
    assert moment_s("1970-01-02T00:00Z", 0.0) == DAY_S
    assert moment_s("1970-01-01T02:00+01:00", 0.0) == 3600.0
    assert unix_s("1970-01-01T00:00:01.500Z") == 1.5
    with pytest.raises(UsageError, match="expected an age"):
        moment_s("yesterday", 0.0)


def test_a_missing_journal_says_how_to_have_one(path: Path) -> None:
    with pytest.raises(MissingFileError, match="path"):
        stored(path)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/Berlin", "America/St_Johns", "UTC"])
def test_a_time_without_a_zone_is_local_as_what_is_printed(
    zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opened: Opened
) -> None:
    """Winter, summer, and either side of a change of the clocks; what history prints finds the score again."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        path = tmp_path / "scores.sqlite"
        moments = ["2026-01-15T12:00:00.000Z", "2026-07-15T12:00:00.000Z", "2026-03-29T00:59:59.000Z"]
        moments += ["2026-03-29T01:00:01.000Z"]
        journal = opened(path, 36_500.0)
        journal.write([replace(scored(number), time=moment) for number, moment in enumerate(moments)])
        journal.close()
        for moment in moments:
            local = f"{datetime.fromtimestamp(unix_s(moment), UTC).astimezone():%Y-%m-%d %H:%M:%S}"
            until = f"{datetime.fromtimestamp(unix_s(moment) + 1, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
            assert print_history(path, local, until, None, "text") == 1
            assert capsys.readouterr().out.startswith(local)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59", "soon", "12:00", "2026-13-01"])
def test_what_is_no_time_of_this_clock_is_said_or_taken(text: str) -> None:
    with suppress(UsageError):
        assert math.isfinite(moment_s(text, 0.0))
