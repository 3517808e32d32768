"""`sadstream score DIR... --out DIR`: an archive of recordings, a whole file of scores each, by many at once."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID, TextColumn, TimeRemainingColumn

from sadstream.base.errors import BusyError, MissingFileError
from sadstream.base.files import expect_folder, make_folder
from sadstream.base.progress import bars
from sadstream.base.samples import Channel
from sadstream.cli.archive.dry_run import clock, estimate
from sadstream.cli.archive.tables import FAILED, SCORES, Tally, expect_places, say, write_tables
from sadstream.cluster.archive.identity import heard_config, identity_of
from sadstream.cluster.archive.plan import ArchivedRecording, FailedRecording, FoundArchive, find, standing
from sadstream.cluster.archive.pool import ArchiveProgress, ScorerPool, WrittenScores, score_archive
from sadstream.cluster.archive.processes import WorkerProcesses, workers_that_fit
from sadstream.cluster.archive.schedule import ArchiveRemark
from sadstream.cluster.archive.worker import KeptWarnings, WorkerSettings
from sadstream.config import Config, with_changes
from sadstream.config.loading import configured
from sadstream.scoring.mood.plan import read_plan


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """Where an archive's scores go, and who makes them."""

    out: Path
    workers: int | None = None  # none: as many as fit
    cluster: bool = False
    head: str | None = None  # HOST[:PORT] of the cluster; none: this machine's, or one of its own
    token: Path | None = None
    dry_run: bool = False
    force: bool = False
    channel: Channel | None = None


def score_folder(paths: Sequence[Path], wanted: ArchiveOptions, config: Path | None, compute: str | None) -> int:
    """Score what is not scored yet; 65 if a recording was bad, 66 if all that was wrong is missing files."""
    settings = configured(config, {"compute": {"device": compute}})
    expect_folder("--out", wanted.out)
    found = find(paths, wanted.out)
    if not found.recordings and not found.failed:
        raise MissingFileError(f"{paths[0]}: no recordings there; expected WAV, FLAC, Ogg or the like")
    with ExitStack() as stack:
        library = stack.enter_context(_cluster(wanted)) if wanted.cluster else None
        hears = _hears(settings, wanted, library)
        if not wanted.dry_run:
            expect_places(found, wanted.out, wanted.force)
            make_folder("--out", wanted.out)
            stack.enter_context(_alone(wanted.out))
        tally = Tally()
        for failed in found.failed:
            tally.fail(failed)
        todo = _sorted_out(found, tally, hears.identity.digest)
        count = _workers(wanted, hears, library, len(todo))
        if wanted.dry_run:
            print(f"{len(found.recordings)} recordings: {tally.there} scored already, {len(todo)} to score")
            print(estimate(todo, hears, count) if todo else "nothing to do")
            return tally.exit_code
        start = time.monotonic()
        if todo:
            _score(stack.enter_context(_pool(hears, count, library)), todo, hears, tally)
        write_tables(found, tally, wanted.out)
        print(_summary(found, tally, wanted.out, time.monotonic() - start, count))
    return tally.exit_code


def _hears(settings: Config, wanted: ArchiveOptions, library: Any) -> WorkerSettings:
    """What every worker hears with; UnavailableError for a model that is not here, before anybody starts."""
    device = _device(settings, library)
    threads = settings.compute.threads or 1
    config = heard_config(with_changes(settings, {"compute": {"threads": threads}}), device)
    channel = wanted.channel or settings.stream[0].channel
    with KeptWarnings():  # the workers say the same, once
        plan = read_plan(config)
    return WorkerSettings(config, channel, identity_of(config, plan, device, channel))


def _device(settings: Config, library: Any) -> str:
    if library is not None:
        from sadstream.cluster.archive.actors import device_of

        return device_of(library, settings.compute.device)
    if settings.compute.device == "cpu":
        return "cpu"
    from sadstream.scoring.analyzer.models import compute_device

    return compute_device(settings.compute.device)


def _workers(wanted: ArchiveOptions, hears: WorkerSettings, library: Any, recordings: int) -> int:
    threads, device = hears.config.compute.threads, hears.identity.device
    if library is not None:
        from sadstream.cluster.archive.actors import workers_of

        fit = workers_of(library, threads, device)
    else:
        fit = workers_that_fit(threads) if device == "cpu" else 1  # a GPU's memory is one
    return min(wanted.workers or fit, recordings)


@contextmanager
def _cluster(wanted: ArchiveOptions) -> Iterator[Any]:
    from sadstream.cluster.nodes import cluster

    with cluster(wanted.head, wanted.token) as library:
        yield library


@contextmanager
def _pool(hears: WorkerSettings, count: int, library: Any) -> Iterator[ScorerPool]:
    if library is None:
        with WorkerProcesses(hears, count) as processes:
            yield processes
        return
    from sadstream.cluster.archive.actors import WorkerActors

    with WorkerActors(library, hears, count) as actors:
        yield actors


def _sorted_out(found: FoundArchive, tally: Tally, digest: str) -> list[ArchivedRecording]:
    """The recordings that have no scores that agree; the others are told to the tally."""
    todo = []
    for recording in found.recordings:
        head = standing(recording, digest)
        if head is None:
            todo.append(recording)
            continue
        tally.there += 1
        tally.add(recording, head)
    return todo


def _score(pool: ScorerPool, todo: Sequence[ArchivedRecording], hears: WorkerSettings, tally: Tally) -> None:
    said = hears.config.publish
    mode = 0o600 if said.text or said.speaker else 0o666  # words, and whose they are, are for their owner alone
    targets, done = {one.file: one.target for one in todo}, 0
    columns = (TextColumn("{task.completed:.0%}"), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    with bars(*columns) as progress:
        task = progress.add_task(f"0 of {len(todo)} recordings", total=1.0, speed="")
        start = time.monotonic()
        try:
            for event in score_archive(todo, hears.identity.digest, mode, pool):
                match event:
                    case WrittenScores(recording, head):
                        for note in head.notes:
                            say(f"{recording.file}: {note}")
                        tally.add(recording, head)
                    case FailedRecording(file):
                        targets[file].unlink(missing_ok=True)  # scores of what it was before
                        tally.fail(event)
                    case ArchiveRemark(line):
                        say(line)
                    case ArchiveProgress():
                        tally.heard_s = event.heard_s
                        _show(progress, task, event, time.monotonic() - start)
                if isinstance(event, WrittenScores | FailedRecording):
                    done += 1
                    progress.update(task, description=f"{done} of {len(todo)} recordings")
        except KeyboardInterrupt:
            say(f"interrupted: {done} of {len(todo)} recordings are done; the same command goes on from there")
            raise


def _show(progress: Progress, task: TaskID, event: ArchiveProgress, spent_s: float) -> None:
    speed = f"{event.heard_s / spent_s:.1f} x real time" if event.heard_s else "loading models"
    progress.update(task, completed=event.share, speed=speed)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else scores into this folder; BusyError."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise BusyError(f"--out {folder}: another sadstream scores into it; wait for it, or choose another") from None
    except OSError:  # a file system that has no locks
        pass
    try:
        yield
    finally:
        os.close(held)


def _summary(found: FoundArchive, tally: Tally, out: Path, spent_s: float, workers: int) -> str:
    new = len(tally.heads) - tally.there
    parts = [f"{new} scored", f"{tally.there} there already"]
    if tally.failed:
        parts.append(f"{len(tally.failed)} failed ({out / FAILED})")
    if found.others:
        parts.append(f"{found.others} other files left alone")
    said = f"{out / SCORES}: {', '.join(parts)}"
    if not tally.heard_s:
        return said
    speed = tally.heard_s / spent_s
    people = f"{workers} worker{'s' if workers > 1 else ''}"
    return f"{said}; {clock(tally.heard_s)} of sound in {clock(spent_s)}: {speed:.1f} x real time with {people}"
