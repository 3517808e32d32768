"""Runs and fits on the machines of a cluster: a task each, with the threads that the loop here would have.

What a task makes are files in a folder that all machines see, so nothing but names and settings travels. Ray gives a
process one thread or as many as it has cores; sums in another order are other weights, so the number is always said.
"""

import os
import secrets
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sadstream import __version__
from sadstream.base.boundary import from_system
from sadstream.base.errors import DataError, SadstreamError, UnavailableError, UsageError
from sadstream.cluster import nodes
from train.corpora import manifest as manifests
from train.corpora.folds import assign
from train.corpora.manifest import CorpusManifest
from train.features.inputs import Loader
from train.presets import RunConfig
from train.training.launch import PlannedRun, ProcessShare, held, in_turn
from train.training.run import Run
from train.training.session import Session

RETRIES = 3  # of a task whose process was killed or whose machine went away
SEEN = ".seen-by-all-"


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """Which cluster, and how runs lie on its GPUs; `compute` and `amp` as asked, whatever this machine has."""

    head: str | None = None
    token: Path | None = None
    per_gpu: int = 2
    compute: str = "auto"
    amp: bool = False

    @classmethod
    def asked(
        cls, on_cluster: bool, head: str | None, token: Path | None, share: ProcessShare, **more: Any
    ) -> "ClusterChoice | None":
        """As the command line says it; None without `--cluster` and `--head`; UsageError for a contradiction."""
        if not on_cluster and head is None:
            if token is not None:
                raise UsageError(f"--token {token}: opens a cluster; add --cluster")
            return None
        if share != ProcessShare():
            raise UsageError("--cluster: shares the runs out itself; leave --share and torchrun away")
        nodes.require()
        return cls(head, token, **more)


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """Something that any machine of the cluster can do; what it leaves are files."""

    named: str
    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended, where, and after how many seconds; `bug` is a traceback of ours."""

    host: str
    seconds: float
    error: SadstreamError | None = None
    bug: str = ""


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """A folder that all machines see under this name, and the file in it that proves it."""

    folder: Path
    proof: Path
    cwd: Path
    version: str = __version__

    def enter(self) -> None:
        """Work from where the command works; UnavailableError where this machine sees another folder, or is another."""
        if self.version != __version__:
            raise UnavailableError(
                f"sadstream {__version__} here, {self.version} where the command runs; install the same"
            )
        if not self.proof.is_file():
            raise UnavailableError(
                f"{self.folder}: not the folder that the command sees; all machines must mount one under this name"
            )
        if self.cwd.is_dir():
            os.chdir(self.cwd)


@contextmanager
def shared_place(folder: Path) -> Iterator[SharedPlace]:
    """The folder, made where there is none, with its proof as long as the block lasts; those of the dead go with it."""
    whole = folder.resolve()
    proof = whole / f"{SEEN}{secrets.token_hex(4)}"
    with held(whole, name=proof.name):
        try:
            yield SharedPlace(whole, proof, Path.cwd())
        finally:
            for left in whole.glob(f"{SEEN}*"):
                with held(whole, name=left.name) as ours:
                    if ours or left == proof:
                        left.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RunTask:
    """All that a machine needs to know of a run."""

    planned: PlannedRun
    manifest: str  # its SHA-256
    cache: Path
    device: str
    threads: int
    amp: bool
    place: SharedPlace

    def __call__(self) -> None:
        """Do the run, alone; one that another process is at is waited for."""
        self.place.enter()
        manifest = manifests.read(Path(self.planned.config.manifest))
        if manifest.sha256 != self.manifest:
            raise DataError(f"{self.planned.config.manifest}: changed while the runs were done; do them again")
        first = next((Path(row.path) for row in manifest.rows if row.path), None)
        if first is not None and not first.is_file():
            raise UnavailableError(f"{first}: not there; the corpus must lie at the same path on every machine")
        with held(self.planned.folder, wait=True):
            _session(self.cache, self.device, self.threads, self.amp).finish(self.planned, manifest)


@lru_cache(maxsize=1)
def _session(cache: Path, device: str, threads: int, amp: bool) -> Session:
    """Of one process: what a run read stays for the next, as in the loop."""
    return Session.start(cache, device, threads, amp=amp)


def finish_all(
    planned: Sequence[PlannedRun],
    manifest: CorpusManifest,
    session: Session,
    share: ProcessShare,
    choice: ClusterChoice | None,
    say: Callable[[str], None],
) -> bool:
    """Fit and evaluate runs: this process's share of them here, or all on a cluster; whether it is to sum them up."""
    if choice is not None:
        finish_on_cluster(planned, manifest, session, choice, say)
        return True
    in_turn(share.of(planned), lambda one: session.finish(one, manifest), say)
    if share.array:
        say(f"share {share.rank}/{share.world}: done")
    return share.finishes()


def finish_on_cluster(
    planned: Sequence[PlannedRun],
    manifest: CorpusManifest,
    session: Session,
    choice: ClusterChoice,
    say: Callable[[str], None],
) -> None:
    """Fit and evaluate all runs, longest first; features are computed here, once.

    Raises what the first run that failed raised, after the others were done.
    """
    waiting = [one for one in planned if not _is_finished(one, manifest)]
    if not waiting:
        return
    place = shared_place(Path(waiting[0].config.manifest).parent)
    with nodes.cluster(choice.head, choice.token) as library, place as shared:
        device = _device(library, choice.compute)
        _compute_features(waiting, manifest, session, say)
        threads = torch.get_num_threads()
        tasks = [
            RunTask(
                planned=replace(one, folder=one.folder.resolve()),
                manifest=manifest.sha256,
                cache=session.cache.folder.resolve(),
                device=device,
                threads=threads,
                amp=choice.amp,
                place=shared,
            )
            for one in sorted(waiting, key=lambda one: _length(one.config), reverse=True)
        ]
        jobs = [ClusterJob(task.planned.named, task) for task in tasks]
        do_jobs(library, jobs, threads, 1.0 / choice.per_gpu if device == "cuda" else 0.0, say)
    elsewhere = [one for one in waiting if not _is_finished(one, manifest)]
    if elsewhere:
        raise UnavailableError(
            f"{elsewhere[0].folder}: done, but not to be seen here; all machines must mount one folder under this name"
        )


def do_jobs(library: Any, jobs: Sequence[ClusterJob], threads: int, gpus: float, say: Callable[[str], None]) -> None:
    """Do all jobs with so many threads and so much of a GPU each; who fails is named, and the rest goes on.

    library: Ray, connected. Raises what the first that failed raised.
    """
    _expect_room(library, threads, gpus)
    task = library.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_ended)
    say(f"{len(jobs)} tasks for {_said(library)}, {threads} threads each")
    free = library.available_resources()
    if free.get("CPU", 0.0) < threads or free.get("GPU", 0.0) < gpus:
        say("what else runs on the cluster leaves no room now; the tasks wait for it")
    named = {task.remote(job, threads): job.named for job in jobs}
    waiting, failed = list(named), []
    while waiting:
        (done,), waiting = library.wait(waiting, num_returns=1)
        end = _end_of(library, done)
        after = f"{len(jobs) - len(waiting)} of {len(jobs)}: {named[done]}"
        if end.error is not None:
            say(f"{after}: failed on {end.host}: {end.error}{end.bug and chr(10) + end.bug}")
            failed.append(end.error)
        else:
            say(f"{after}: {end.seconds:.1f} s on {end.host}")
    if failed:
        rest = "the rest is done; the same command does what is missing"
        raise type(failed[0])(f"{len(failed)} of {len(jobs)} failed, named above: {failed[0]}; {rest}")


def _ended(job: ClusterJob, threads: int) -> JobEnd:
    """Runs in a process of the cluster."""
    torch.set_num_threads(threads)
    host, start = socket.gethostname(), time.monotonic()
    try:
        job.do()
    except Exception as error:
        known = from_system(error)
        bug = "" if known else traceback.format_exc()
        return JobEnd(host, 0.0, known or SadstreamError(f"a bug: {type(error).__name__}: {error}"), bug)
    return JobEnd(host, time.monotonic() - start)


def _end_of(library: Any, done: Any) -> JobEnd:
    try:
        end: JobEnd = library.get(done)
    except library.exceptions.RayError as error:
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        lost = f"its process ended {RETRIES + 1} times, as the system does when memory is short ({what})"
        return JobEnd("the cluster", 0.0, UnavailableError(lost))
    return end


def _device(library: Any, compute: str) -> str:
    """One kind for all runs, or a table would compare a GPU's with a processor's."""
    there = library.cluster_resources().get("GPU", 0.0) > 0.0
    if compute == "cuda" and not there:
        raise UnavailableError("--compute cuda: no machine of the cluster has a GPU; use --compute cpu")
    return "cuda" if there and compute != "cpu" else "cpu"


def _expect_room(library: Any, threads: int, gpus: float) -> None:
    machines = [node["Resources"] for node in library.nodes() if node["Alive"]]
    widest = max((machine.get("CPU", 0.0) for machine in machines if machine.get("GPU", 0.0) >= gpus), default=0.0)
    if widest < threads:
        raise UsageError(
            f"--threads {threads}: no machine of the cluster has so many processors for a run, at most {widest:g}"
        )


def _said(library: Any) -> str:
    there, machines = library.cluster_resources(), [node for node in library.nodes() if node["Alive"]]
    gpus = f", {there['GPU']:g} GPUs" if there.get("GPU") else ""
    return f"{len(machines)} machine{'s' * (len(machines) > 1)} with {there.get('CPU', 0):g} processors{gpus}"


def _is_finished(planned: PlannedRun, manifest: CorpusManifest) -> bool:
    """Whether it was done before; the guards hold for finished runs too."""
    run = Run(planned.folder)
    if not all(run.evaluated(protocol) for protocol in planned.protocols) or run.config != planned.config:
        return False
    run.rows(manifest)
    return True


def _compute_features(
    planned: Sequence[PlannedRun], manifest: CorpusManifest, session: Session, say: Callable[[str], None]
) -> None:
    """Put what the runs read into the cache; the tasks would each compute it again."""
    load, done = Loader(session.cache, session.compute.device), set[tuple[object, ...]]()
    for one in planned:
        config = one.config
        reads = (config.spec.front_end, config.spec.text and config.text, config.audio, config.features)
        if reads not in done:
            done.add(reads)
            say(f"features of {config.title}")
            load(assign(manifest.rows, config.fold), config)


def _length(config: RunConfig) -> tuple[int, int, int]:
    """The longer a run takes, the higher."""
    front_end = ("none", "cnn", "states").index(config.spec.front_end)
    return front_end, int(config.spec.sequence != "none"), config.training.epochs
