"""A recording in, its score events out: the daemon's own path without the daemon."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sadstream.audio.filters.mixer import LEFT_OUT
from sadstream.audio.health import SignalRecord
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.recording import Recording
from sadstream.audio.sources.source import SourceChange
from sadstream.base.boundary import from_system, utf8
from sadstream.base.errors import DataError, MissingFileError, SadstreamError
from sadstream.base.samples import SAMPLE_RATE, AudioFrame
from sadstream.config import Config
from sadstream.events import Score, to_json
from sadstream.events.types import envelope, stream_name
from sadstream.scoring.analysis import Analysis, BatchAnalyzer, Timing, latency, make_score
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.mood.mood import NO_PLAN, Mood, MoodPlan

OF_A_FILE = (OSError, UnicodeError, MemoryError)  # what a path, a disk or a huge file can do
PROGRESS_S = 30  # of audio without speech between two words of progress


@dataclass(frozen=True, slots=True, eq=False)
class RecordedSegment:
    """One segment of a recording with all that is known of it."""

    segment: Segment
    analysis: Analysis
    score: Score


def score_recording(
    recording: Recording,
    config: Config,
    analyzer: BatchAnalyzer,
    on_progress: Callable[[float], None] = lambda _: None,
    plan: MoodPlan = NO_PLAN,
    signal: SignalRecord | None = None,
) -> Iterator[RecordedSegment | EpisodeUpdate]:
    """Its segments in order, each with its score, and its episodes' updates; `on_progress` hears the seconds done.

    signal: hears every frame as it was recorded.

    Raises DataError at the end where the recording turned out to be broken: what came before that is scored.
    """
    session, name = secrets.token_hex(8), stream_name(recording.path)
    segmenter = Segmenter(config.vad, config.segment)
    rejected, mood = 0, Mood(plan)
    failures: list[DataError] = []
    for cut, vad_ms in _segments(recording, segmenter, on_progress, failures, signal or SignalRecord()):
        start = time.monotonic()
        (analysis,) = analyzer.many([cut])
        if isinstance(analysis, UnscoredSegment):
            rejected += 1
            continue
        segment = replace(cut, number=cut.number - rejected)
        analysis, updates = mood.feed(analysis, segment.t_start, segment.t_end)
        timing = Timing(
            queue_ms=0.0, vad_ms=vad_ms, arrived_s=min(segment.arrived_s, start), analyzed_s=time.monotonic()
        )
        opening, spent = envelope(name, session, segment.number), latency(timing, analysis)
        score = make_score(opening, segment, analysis, spent, dropped=0, publish=config.publish)
        yield RecordedSegment(segment, analysis, score)
        yield from updates
    yield from mood.flush()
    for failure in failures:
        raise failure


def _segments(
    recording: Recording,
    segmenter: Segmenter,
    on_progress: Callable[[float], None],
    failures: list[DataError],
    signal: SignalRecord,
) -> Iterator[tuple[Segment, float]]:
    try:
        for item in recording.listen(lambda: False):
            if isinstance(item, SourceChange):
                continue
            assert isinstance(item, AudioFrame)
            signal.feed(item)
            start = time.perf_counter()
            segments = segmenter.feed(item)
            vad_ms = 1000 * (time.perf_counter() - start)
            for segment in segments:
                yield segment, vad_ms
            if segments or item.index % (PROGRESS_S * SAMPLE_RATE) == 0:
                on_progress(item.index / SAMPLE_RATE)
    except DataError as error:  # the segment in hand is scored before it is said
        failures.append(error)
    for segment in segmenter.flush():
        yield segment, 0.0


def event_line(file: object, score: Score) -> str:
    """A score of a recording as one line of JSON: the event, and before it what the recording is called."""
    event = {"file": utf8(file)} | json.loads(to_json(score))
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def notes_of(recording: Recording, signal: SignalRecord) -> tuple[str, ...]:
    """What is to be said of a recording's sound once it was heard: channels that the mix did without, faults."""
    without = sorted(recording.without_s.items())
    left_out = (
        f"channel {channel} is {LEFT_OUT} for {seconds:.0f} s; --channel chooses one" for channel, seconds in without
    )
    return (*left_out, *signal.sentences())


def unreadable(path: Path, error: Exception) -> SadstreamError:
    """What the system said of a recording: it costs that one alone."""
    known = from_system(error, path)
    return (
        known if isinstance(known, MissingFileError) else DataError(f"{path}: cannot be read: {error}; copy it again")
    )
