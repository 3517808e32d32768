"""`sadstream score`: many recordings, events on standard output, trouble and progress on standard error."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID, TextColumn, TimeRemainingColumn

from sadstream.audio.health import SignalRecord
from sadstream.audio.sources.recording import Recording
from sadstream.audio.spool import is_spooled, spooled
from sadstream.base import logs
from sadstream.base.boundary import one_line
from sadstream.base.errors import DataError, MissingFileError, SadstreamError, UsageError
from sadstream.base.files import expect_place
from sadstream.base.progress import bars
from sadstream.base.samples import Channel
from sadstream.config import Config
from sadstream.config.loading import configured
from sadstream.config.tables import StreamConfig
from sadstream.events import Score
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.mood.mood import MoodPlan
from sadstream.scoring.mood.plan import read_plan
from sadstream.scoring.recording import (
    OF_A_FILE,
    RecordedSegment,
    event_line,
    notes_of,
    score_recording,
    unreadable,
)
from sadstream.views.plot import MARK as PICTURE
from sadstream.views.report.write import MARK as PAGE

COLUMNS = (
    "file", "segment", "t_start", "t_end", "p_sad", "threshold", "sad", "bias_logit", "audio_logit", "text_logit",
    "offset_logit", "text_used", "text_reason", "voiced", "model", "emotions", "valence", "arousal",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True, slots=True)
class ScoreOutputs:
    """What is to come of recordings beside their scores."""

    output: str = "jsonl"
    plot: Path | None = None
    report: Path | None = None
    words: bool = False  # in the report
    embed_audio: bool = False  # in the report
    force: bool = False  # also over files that were made by something else
    channel: Channel | None = None  # none: the first stream's of the configuration


@dataclass(slots=True)
class _ScoredRecording:
    """What a recording came to; `whole` when it was read to its end."""

    scored: list[RecordedSegment] = field(default_factory=list)
    updates: list[EpisodeUpdate] = field(default_factory=list)
    whole: bool = False
    notes: tuple[str, ...] = ()  # what is to be said of its sound


def score_files(paths: Sequence[Path], wanted: ScoreOutputs, config: Path | None, compute: str | None) -> int:
    """Print every good recording's scores; 65 if any was bad, 66 if all that was wrong is missing files."""
    settings = configured(config, {"compute": {"device": compute}})
    _check(paths, wanted, config)
    channel = wanted.channel or settings.stream[0].channel
    good, bad = _opened(paths, settings.stream[0].model_copy(update={"channel": channel}))
    if good:
        _require(good[0], wanted)
        plan = read_plan(settings)
        analyzer = Analyzer(load_models(settings))
        if wanted.output == "csv":
            print(",".join(COLUMNS))
        with bars(TextColumn("{task.completed:.0f} s"), TimeRemainingColumn()) as progress:
            for recording in good:
                found = _score_one(recording, settings, analyzer, plan, wanted.output, progress, bad)
                _draw(recording, found, analyzer, plan, wanted)
    return verdict(bad)


def _check(paths: Sequence[Path], wanted: ScoreOutputs, config: Path | None) -> None:
    for option, path in (("--plot", wanted.plot), ("--report", wanted.report)):
        if path is not None and len(paths) != 1:
            raise UsageError(f"{option} {path}: expected one recording, found {len(paths)}")
    if wanted.report is None and (wanted.words or wanted.embed_audio):
        raise UsageError("--words, --embed-audio: what a page holds; expected --report OUT.html too")
    if wanted.plot is not None and wanted.report is not None and wanted.plot.resolve() == wanted.report.resolve():
        raise UsageError(f"--plot, --report {wanted.report}: expected two files")
    for option, path, mark in (("--plot", wanted.plot, PICTURE), ("--report", wanted.report, PAGE)):
        if path is not None:
            expect_place(option, path, mark=mark, reads=(*paths, config), force=wanted.force)


def _require(recording: Recording, wanted: ScoreOutputs) -> None:
    """What the pictures need, before models load."""
    if wanted.plot is not None:
        from sadstream.views.plot import require_matplotlib

        require_matplotlib()
    if wanted.report is not None:
        from sadstream.views.report.write import require_pictures

        require_pictures(recording, wanted.report)


def _draw(
    recording: Recording, found: _ScoredRecording, analyzer: Analyzer, plan: MoodPlan, wanted: ScoreOutputs
) -> None:
    if wanted.plot is not None and found.scored:
        from sadstream.views.plot import plot_recording

        plot_recording(recording, found.scored, wanted.plot)
    if wanted.report is not None and (found.whole or found.scored):
        from sadstream.views.report.write import report_data, write_report

        notes = (recording.remark, *found.notes)
        report = report_data(recording, found.scored, found.updates, analyzer.models, plan, wanted.words, notes)
        write_report(recording, report, wanted.report, wanted.embed_audio)


def _opened(paths: Sequence[Path], stream: StreamConfig) -> tuple[list[Recording], list[SadstreamError]]:
    """Bad files are known before the models load."""
    good: list[Recording] = []
    bad: list[SadstreamError] = []
    for path in paths:
        try:
            recording = spooled(path, stream) if is_spooled(path) else Recording(path, stream.channel)
            good.append(recording)
            _remark(recording.remark)
        except (DataError, MissingFileError) as error:
            _name(bad, error)
        except OF_A_FILE as error:
            _name(bad, unreadable(path, error))
    return good, bad


def _remark(remark: str) -> None:
    if remark:
        logs.fatal(one_line(f"sadstream: {remark}"))


def _score_one(
    recording: Recording,
    config: Config,
    analyzer: Analyzer,
    plan: MoodPlan,
    output: str,
    progress: Progress,
    bad: list[SadstreamError],
) -> _ScoredRecording:
    task = progress.add_task(recording.path.name, total=recording.duration_s)
    found, signal, known = _ScoredRecording(), SignalRecord(), recording.remark
    try:
        for item in _advancing(recording, config, analyzer, plan, progress, task, signal):
            if isinstance(item, EpisodeUpdate):
                found.updates.append(item)
                continue
            found.scored.append(item)
            print(_row(recording.path, item.score, output), flush=True)
        found.whole = True
    except (DataError, MissingFileError) as error:
        _name(bad, error)
    if found.whole and not known:
        _remark(recording.remark)
    found.notes = notes_of(recording, signal)
    for note in found.notes:
        logs.fatal(one_line(f"sadstream: {recording.path}: {note}"))
    if found.whole and not found.scored:
        logs.fatal(one_line(f"sadstream: {recording.path}: {recording.duration_s or 0.0:.2f} s, no speech found"))
    return found


def _advancing(
    recording: Recording,
    config: Config,
    analyzer: Analyzer,
    plan: MoodPlan,
    progress: Progress,
    task: TaskID,
    signal: SignalRecord,
) -> Iterator[RecordedSegment | EpisodeUpdate]:
    try:
        yield from score_recording(
            recording, config, analyzer, lambda seconds: progress.update(task, completed=seconds), plan, signal
        )
    except OF_A_FILE as error:
        raise unreadable(recording.path, error) from None
    progress.update(task, completed=recording.duration_s)


def _row(path: Path, score: Score, output: str) -> str:
    line = event_line(path, score)
    return line if output == "jsonl" else csv_row(str(path), json.loads(line))


def csv_row(file: str, event: Mapping[str, Any]) -> str:
    """A score as a row of COLUMNS, emotions as the object they are in JSON, what it does not have empty.

    A row is a line, and no spreadsheet takes a name for a formula.
    """
    name = one_line(f"./{file}" if file.startswith(FORMULA) else file)  # ./=x.wav is the same file as =x.wav
    line = io.StringIO()
    cells = {**event, "emotions": json.dumps(felt, separators=(",", ":")) if (felt := event.get("emotions")) else None}
    csv.writer(line, lineterminator="").writerow([name, *(cells.get(column) for column in COLUMNS[1:])])
    return line.getvalue()


def _name(bad: list[SadstreamError], error: SadstreamError) -> None:
    bad.append(error)
    logs.fatal(f"sadstream: {one_line(error)}")


def verdict(bad: Sequence[SadstreamError]) -> int:
    if not bad:
        return 0
    return 66 if all(isinstance(error, MissingFileError) for error in bad) else 65
