"""A mark is a time and a place in the stream, in a file of its owner's, and never a word."""

import json
import time
from pathlib import Path

import pytest
from wire import a_score

from sadstream.base.errors import UnavailableError
from sadstream.client.lines import local_clock
from sadstream.views.watch.marks import MarksFile


def test_marks_are_lines_that_find_the_score_again(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    marks = MarksFile(path)
    marks.add(None)
    marks.add(a_score(7, text="secret words"))
    first, second = (json.loads(line) for line in path.read_text().splitlines())

    assert list(first) == ["time"]
    assert second == {"time": second["time"], "stream": "mic", "session": "a" * 16, "score_seq": 7, "t_end": 15.5}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("zone", "clock"), [("Asia/Tokyo", "21:00:00"), ("UTC", "12:00:00"), ("EST5", "07:00:00")])
def test_what_is_shown_is_local_time(zone: str, clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert local_clock("2030-01-31T12:00:00.000Z") == clock
    finally:
        monkeypatch.undo()
        time.tzset()


def test_older_marks_stay(tmp_path: Path) -> None:
    for _ in range(2):
        MarksFile(tmp_path / "marks.jsonl").add(None)

    assert len((tmp_path / "marks.jsonl").read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no/marks: cannot be written"):
        MarksFile(tmp_path / "no" / "marks")
