"""Which worker scores which recording, and what becomes of it when a worker dies; pure."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sadstream.cluster.archive.messages import (
    LinesScored,
    ModelsLoaded,
    RecordingOpened,
    RecordingRefused,
    RecordingScored,
    RecordingUnseen,
    WorkerEnded,
    WorkerMessage,
    WorkerReady,
    WorkerUnable,
)
from sadstream.cluster.archive.plan import ArchivedRecording, FailedRecording

TRIES = 3  # workers that a recording may take with it, and times that one may fail to load before it is given up
SAME_PATH = "every machine has to see the recordings at the same path; this one scores nothing"
KILLED = 69  # the exit code that a recording counts with that nobody survives
CHANGING = 65  # and one that is another each time


@dataclass(frozen=True, slots=True)
class FinishedRecording:
    """A recording, what its worker said at its end, and its score events, one a line."""

    recording: ArchivedRecording
    said: RecordingScored
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchiveRemark:
    """What is to be said of the work itself, once."""

    line: str


@dataclass(frozen=True, slots=True)
class RetiredWorker:
    """A worker that gets nothing more, and why: the exit code if nobody is left, and the line."""

    worker: int
    code: int
    line: str


ScheduleEvent = FinishedRecording | FailedRecording | ArchiveRemark | RetiredWorker


@dataclass(slots=True)
class _Work:
    """What a worker is at."""

    recording: ArchivedRecording
    duration_s: float | None = None
    heard_s: float = 0.0
    loading: bool = False
    lines: list[str] = field(default_factory=list)


class Schedule:
    """Recordings to be scored, the largest first, and the workers that are at them."""

    def __init__(self, recordings: Sequence[ArchivedRecording], workers: Sequence[int]) -> None:
        self._waiting = deque(sorted(recordings, key=lambda one: -one.bytes))
        self._bytes = sum(one.bytes for one in recordings)
        self._tries: Counter[str] = Counter()
        self._falls: Counter[int] = Counter()  # of a worker, while it was none yet
        self._active: dict[int, _Work] = {}
        self._idle: list[int] = []
        self._loaded: set[int] = set()
        self._workers = set(workers)
        self._said: set[str] = set()
        self._done_bytes = 0
        self._done_s = 0.0

    @property
    def is_done(self) -> bool:
        """Nothing waits, and nobody is at anything."""
        return not self._waiting and not self._active

    @property
    def is_working(self) -> bool:
        """Somebody is at something."""
        return bool(self._active)

    @property
    def has_workers(self) -> bool:
        """Somebody is left to score."""
        return bool(self._workers)

    @property
    def heard_s(self) -> float:
        """Seconds of recordings that were heard, in whole ones and in those at hand."""
        return self._done_s + sum(work.heard_s for work in self._active.values())

    @property
    def share(self) -> float:
        """How much of all is done, 0 to 1, by the recordings' bytes."""
        begun = sum(
            work.recording.bytes * min(1.0, work.heard_s / work.duration_s)
            for work in self._active.values()
            if work.duration_s
        )
        return min(1.0, (self._done_bytes + begun) / self._bytes) if self._bytes else 1.0

    def hand_out(self) -> list[tuple[int, ArchivedRecording]]:
        """Each idle worker with the recording that it is to begin now."""
        given = []
        while self._idle and self._waiting:
            worker, recording = self._idle.pop(0), self._waiting.popleft()
            self._active[worker] = _Work(recording)
            given.append((worker, recording))
        return given

    def hear(self, worker: int, message: WorkerMessage) -> list[ScheduleEvent]:
        """What follows from what a worker says."""
        if worker not in self._workers:
            return []
        match message:
            case WorkerReady():
                self._idle.append(worker)
            case WorkerEnded(how):
                return self._ended(worker, how)
            case WorkerUnable(code, line):
                return self._retire(worker, code, line)
            case _:
                return self._of_work(worker, self._active[worker], message)
        return []

    def _of_work(self, worker: int, work: _Work, message: WorkerMessage) -> list[ScheduleEvent]:
        match message:
            case RecordingOpened(duration_s):
                work.duration_s, work.loading = duration_s, worker not in self._loaded
            case ModelsLoaded(warnings):
                self._loaded.add(worker)
                work.loading = False
                self._falls[worker] = 0
                return self._say(warnings)
            case LinesScored(heard_s, lines):
                work.heard_s = heard_s
                work.lines += lines
            case RecordingUnseen(machine, line):
                return self._retire(worker, 69, f"{machine}: {work.recording.path}: {line}; {SAME_PATH}")
            case RecordingScored(duration_s=duration_s):
                self._over(worker)
                self._done_s += duration_s
                return [FinishedRecording(work.recording, message, tuple(work.lines))]
            case RecordingRefused(code, line):
                self._over(worker)
                return [FailedRecording(work.recording.file, code, line)]
        return []

    def once_more(self, worker: int, why: str) -> list[ScheduleEvent]:
        """What this worker was at is to be begun again, which happens TRIES times."""
        events = self._again(self._active.pop(worker).recording, CHANGING, why)
        self._idle.append(worker)
        return events

    def _over(self, worker: int) -> None:
        self._done_bytes += self._active.pop(worker).recording.bytes
        self._idle.append(worker)

    def _ended(self, worker: int, how: str) -> list[ScheduleEvent]:
        """A recording is to blame once it was touched, and the machine before that and while models load."""
        work = self._active.pop(worker, None)
        self._loaded.discard(worker)
        self._idle = [one for one in self._idle if one != worker]
        if work is not None and not work.loading:
            return self._again(work.recording, KILLED, f"its worker ended {TRIES} times: {how}")
        if work is not None:
            self._waiting.appendleft(work.recording)
        self._falls[worker] += 1
        if self._falls[worker] < TRIES:
            return []
        return self._retire(worker, 69, f"a worker ended {TRIES} times before it could score: {how}; try --workers 1")

    def _again(self, recording: ArchivedRecording, code: int, why: str) -> list[ScheduleEvent]:
        self._tries[recording.file] += 1
        if self._tries[recording.file] < TRIES:
            self._waiting.append(recording)
            return []
        self._done_bytes += recording.bytes
        return [FailedRecording(recording.file, code, why)]

    def _retire(self, worker: int, code: int, line: str) -> list[ScheduleEvent]:
        work = self._active.pop(worker, None)
        if work is not None:
            self._waiting.appendleft(work.recording)
        self._workers.discard(worker)
        self._idle = [one for one in self._idle if one != worker]
        return [RetiredWorker(worker, code, line), *self._say((line,))]

    def _say(self, lines: Sequence[str]) -> list[ScheduleEvent]:
        new = [line for line in dict.fromkeys(lines) if line not in self._said]
        self._said.update(new)
        return [ArchiveRemark(line) for line in new]
