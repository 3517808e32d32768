"""What there is to do, and how long that would take: by the headers, and by a moment of scoring."""

import time
from collections.abc import Sequence
from pathlib import Path

from sadstream.audio.decoding.decoder import Sound
from sadstream.base.errors import SadstreamError, UnavailableError
from sadstream.cluster.archive.messages import (
    LAST,
    LinesScored,
    ModelsLoaded,
    RecordingScored,
    ScoreOrder,
    WorkerReady,
    WorkerUnable,
    seen,
)
from sadstream.cluster.archive.plan import ArchivedRecording
from sadstream.cluster.archive.processes import WorkerProcesses
from sadstream.cluster.archive.worker import WorkerSettings

MEASURED_S = 30.0  # of scoring


def estimate(todo: Sequence[ArchivedRecording], hears: WorkerSettings, workers: int) -> str:
    """How much sound that is, how fast one worker is here, and how long so many would take; nothing is written."""
    lengths = [_duration_s(one.path) for one in todo]
    known_s = sum(one for one in lengths if one is not None)
    unknown = f" and {lengths.count(None)} that do not say how long they are" if None in lengths else ""
    said = f"to score: {clock(known_s)} of sound{unknown}"
    with WorkerProcesses(hears, 1) as pool:
        speed = _measured(pool, todo)
    if not speed:
        return said
    needed_s = known_s / speed
    each = f"{clock(needed_s)} with one, {clock(needed_s / workers)} with {workers}"
    return f"{said}; a worker of this machine: {speed:.1f} x real time; {each}"


def _measured(pool: WorkerProcesses, todo: Sequence[ArchivedRecording]) -> float:
    """Times real time of one worker over MEASURED_S of scoring, or all there is; 0 where nothing could be scored."""
    waiting = sorted(todo, key=lambda one: one.bytes)
    heard_s, current_s, start = 0.0, 0.0, 0.0
    while not start or time.monotonic() - start < MEASURED_S:
        for worker, message in pool.take():
            match message:
                case ModelsLoaded():
                    start = time.monotonic()
                case LinesScored(heard_s=seconds):
                    current_s = seconds
                case RecordingScored(duration_s=seconds):
                    heard_s, current_s = heard_s + seconds, 0.0
                case WorkerUnable(_, line):
                    raise UnavailableError(line)
            if isinstance(message, (*LAST, WorkerReady)):
                if not waiting:
                    return heard_s / (time.monotonic() - start) if heard_s else 0.0
                one = waiting.pop()
                pool.give(worker, ScoreOrder(str(one.path), one.file, seen(one.path)))
    return (heard_s + current_s) / (time.monotonic() - start)


def _duration_s(path: Path) -> float | None:
    """What a recording's header says; None where it does not, or is none."""
    try:
        with path.open("rb", buffering=0) as file:
            sound = Sound(file, str(path))
            return None if sound.frames is None else sound.frames / sound.rate
    except (OSError, SadstreamError):
        return None


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
