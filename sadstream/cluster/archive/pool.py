"""The work itself: recordings go to whoever scores them, whole files of scores come of it."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sadstream.base.boundary import from_system
from sadstream.base.errors import ConfigError, MissingFileError, SadstreamError, UnavailableError
from sadstream.base.files import save_atomic
from sadstream.cluster.archive.messages import RecordingRefused, RecordingUnseen, ScoreOrder, WorkerMessage, seen
from sadstream.cluster.archive.plan import ArchivedRecording, FailedRecording, failure
from sadstream.cluster.archive.schedule import ArchiveRemark, FinishedRecording, RetiredWorker, Schedule, ScheduleEvent
from sadstream.cluster.archive.score_file import ScoreHead, rendered, run_of

LATE_S, COME_S = 30.0, 300.0  # without any worker, until it is said and until it is given up: a cluster may be busy


class ScorerPool(Protocol):
    """Workers somewhere: processes of this machine, actors of a cluster. Each says WorkerReady when it may be given."""

    workers: Sequence[int]

    def give(self, worker: int, order: ScoreOrder) -> None:
        """Let a worker that is idle begin."""
        ...

    def take(self) -> list[tuple[int, WorkerMessage]]:
        """What they said, waited for a moment."""
        ...

    def retire(self, worker: int) -> None:
        """This one gets nothing more."""
        ...


@dataclass(frozen=True, slots=True)
class WrittenScores:
    """A recording whose whole file of scores is on the disk."""

    recording: ArchivedRecording
    head: ScoreHead


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far it is: seconds of sound that were heard, and the share of all that is done, 0 to 1."""

    heard_s: float
    share: float


ArchiveEvent = WrittenScores | FailedRecording | ArchiveRemark | ArchiveProgress


def score_archive(
    recordings: Sequence[ArchivedRecording], digest: str, mode: int, pool: ScorerPool
) -> Iterator[ArchiveEvent]:
    """Each recording's scores in its file, of these permissions, or why not; the order is the workers'.

    Raises UnavailableError or ConfigError where nobody is left who could score, and where nothing can be written.
    """
    schedule = Schedule(recordings, pool.workers)
    orders: dict[int, tuple[ScoreOrder, int]] = {}
    heard, is_late = time.monotonic(), False
    while not schedule.is_done:
        yield from _give(schedule, pool, orders)
        found = pool.take()
        heard = time.monotonic() if found or schedule.is_working else heard
        silent_s = time.monotonic() - heard
        if silent_s > COME_S:
            raise UnavailableError(f"archive: no worker came in {COME_S:.0f} s; has the cluster a core to spare?")
        if silent_s > LATE_S and not is_late:
            is_late = True
            yield ArchiveRemark(
                f"no worker has come yet: its core may be taken; {COME_S - LATE_S:.0f} s more are waited"
            )
        for worker, message in found:
            for event in _heard(schedule, worker, message, orders):
                if isinstance(event, RetiredWorker):
                    pool.retire(worker)
                    if not schedule.has_workers:
                        raise (ConfigError if event.code == ConfigError.exit_code else UnavailableError)(event.line)
                elif isinstance(event, FinishedRecording):
                    yield _written(event, digest, mode, orders[worker][1])
                else:
                    yield event
        yield ArchiveProgress(schedule.heard_s, schedule.share)


def _give(schedule: Schedule, pool: ScorerPool, orders: dict[int, tuple[ScoreOrder, int]]) -> Iterator[FailedRecording]:
    while given := schedule.hand_out():
        for worker, recording in given:
            try:
                order = ScoreOrder(str(recording.path), recording.file, seen(recording.path))
            except OSError as error:  # gone since it was found
                yield from _refuse(schedule, worker, from_system(error, recording.path), recording)
                continue
            orders[worker] = order, time.time_ns()
            pool.give(worker, order)


def _refuse(
    schedule: Schedule, worker: int, error: SadstreamError | None, recording: ArchivedRecording
) -> Iterator[FailedRecording]:
    failed = failure(recording.file, error or MissingFileError("cannot be read"), recording.path)
    for event in schedule.hear(worker, RecordingRefused(failed.code, failed.line)):
        assert isinstance(event, FailedRecording)
        yield event


def _heard(
    schedule: Schedule, worker: int, message: WorkerMessage, orders: dict[int, tuple[ScoreOrder, int]]
) -> list[ScheduleEvent]:
    if isinstance(message, RecordingUnseen):
        order, _ = orders[worker]
        if _has_changed(order):
            return schedule.once_more(worker, "changes while it is read: score it when it is whole")
    return schedule.hear(worker, message)


def _has_changed(order: ScoreOrder) -> bool:
    """It is this machine too that does not see any more what it ordered."""
    try:
        return seen(Path(order.path)) != order.sight
    except OSError:
        return True


def _written(event: FinishedRecording, digest: str, mode: int, given_ns: int) -> WrittenScores:
    said, recording = event.said, event.recording
    head = ScoreHead(
        file=recording.file,
        run=run_of(digest, said.sha256),
        sha256=said.sha256,
        bytes=said.bytes,
        duration_s=said.duration_s,
        scores=len(event.lines),
        notes=said.notes,
        trouble=said.trouble,
    )
    save_atomic(recording.target, rendered(head, event.lines), mode)
    # As old as its order: a recording that was touched since then is looked at again.
    os.utime(recording.target, ns=(given_ns, given_ns))
    return WrittenScores(recording, head)
