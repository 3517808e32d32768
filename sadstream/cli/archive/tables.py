"""What an archive came to: a table of all scores, one of what failed, and the exit code."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sadstream.base import logs
from sadstream.base.boundary import one_line
from sadstream.base.files import expect_place, replacing, save_atomic
from sadstream.cli.recordings import COLUMNS, csv_row
from sadstream.cluster.archive.plan import ArchivedRecording, FailedRecording, FoundArchive, expect_ours
from sadstream.cluster.archive.score_file import ScoreHead

SCORES, FAILED = "scores.csv", "failed.csv"
SCORES_MARK = b"file,segment,t_start,t_end,p_sad,"  # as every version's table begins
FAILED_MARK = b"file,exit_code,line"
CUT = 65  # the exit code of a recording that ends early


@dataclass(slots=True)
class Tally:
    """What has come of the recordings so far."""

    heads: dict[str, ScoreHead] = field(default_factory=dict)  # by the recording's name
    failed: dict[str, FailedRecording] = field(default_factory=dict)
    there: int = 0
    heard_s: float = 0.0

    def add(self, recording: ArchivedRecording, head: ScoreHead) -> None:
        """A recording has its file of scores; where they end early it failed as well, and that is said."""
        self.heads[recording.file] = head
        if head.trouble:
            self.fail(FailedRecording(recording.file, CUT, head.trouble))

    def fail(self, failed: FailedRecording) -> None:
        """A recording has no scores, or not all; that is said."""
        self.failed[failed.file] = failed
        say(f"{failed.file}: {failed.line}")

    @property
    def exit_code(self) -> int:
        """0, 66 if all that was wrong is missing files, else 65; 1 for a bug of ours."""
        codes = {failed.code for failed in self.failed.values()}
        if not codes or 1 in codes:
            return len(codes & {1})
        return 66 if codes == {66} else 65


def expect_places(found: FoundArchive, out: Path, force: bool) -> None:
    """Before the work: what is to be written is nobody else's; BusyError."""
    for name, mark in ((SCORES, SCORES_MARK), (FAILED, FAILED_MARK)):
        reads = [one.path for one in found.recordings if one.path.name == name]
        if out.is_dir():
            expect_place("--out", out / name, mark=mark, reads=reads, force=force)
    if not force:
        expect_ours(found.recordings)


def write_tables(found: FoundArchive, tally: Tally, out: Path) -> None:
    """All scores as one table, in the order of the input, and what failed, where anything did."""
    with replacing(out / SCORES) as table:
        table.write(f"{','.join(COLUMNS)}\n".encode())
        for recording in found.recordings:
            if recording.file in tally.heads:
                with recording.target.open(encoding="utf-8") as lines:
                    next(lines)
                    for event in map(json.loads, lines):
                        table.write(f"{csv_row(event['file'], event)}\n".encode())
    if not tally.failed:
        (out / FAILED).unlink(missing_ok=True)
        return
    text = io.StringIO(FAILED_MARK.decode() + "\n", newline="")
    text.seek(0, io.SEEK_END)
    rows = csv.writer(text, lineterminator="\n")
    for file, failed in sorted(tally.failed.items(), key=_place(found)):
        rows.writerow([one_line(file), failed.code, one_line(failed.line)])
    save_atomic(out / FAILED, text.getvalue().encode())


def _place(found: FoundArchive) -> Callable[[tuple[str, FailedRecording]], int]:
    """Where in the input a recording stands; first what was not even found."""
    places = {recording.file: n for n, recording in enumerate(found.recordings)}
    return lambda failed: places.get(failed[0], -1)


def say(line: str) -> None:
    """A line on standard error."""
    logs.fatal(one_line(f"sadstream: {line}"))
