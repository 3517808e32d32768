"""Which of several processes does which run: torchrun's, or an array's (`--share I/N`), and never two the same.

An epoch of the largest system takes seconds on one GPU, so several GPUs or nodes each do other runs of the plan;
dividing one batch of 64 among them would only wait.
"""

import errno
import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch.distributed as processes

from sadstream.base.errors import UnavailableError, UsageError
from train.corpora.guards import Protocol
from train.presets import RunConfig

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # the first to be done waits for the last
LOCK = "run.lock"
SHARE = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
TAKEN = (errno.EWOULDBLOCK, errno.EACCES)  # the second from some network file systems

log = logging.getLogger("train")  # nobody sets it up: a warning is a line on standard error


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that was asked for: where it goes, what it is, and under which protocols it is evaluated."""

    folder: Path
    config: RunConfig
    protocols: tuple[Protocol, ...] = ("strict",)

    @property
    def named(self) -> str:
        """For a person."""
        return f"{self.config.title}, seed {self.config.seed}, fold {self.config.fold}"


@dataclass(frozen=True, slots=True)
class ProcessShare:
    """Process `rank` of `world`; `local_rank` on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    array: bool = False  # one of an array whose members know nothing of each other

    @classmethod
    def of_environment(cls) -> "ProcessShare":
        """As the launcher says; without one the only process."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        rank, world, local = (int(os.environ.get(name, default)) for name, default in zip(names, "010", strict=True))
        return cls(rank, world, local)

    @classmethod
    def asked(cls, words: str | None) -> "ProcessShare":
        """As `--share` says (`0/32` to `31/32`), else as the launcher does; UsageError for anything else."""
        launched = cls.of_environment()
        if words is None:
            return launched
        found = SHARE.fullmatch(words)
        rank, world = (int(found[1]), int(found[2])) if found else (0, 0)
        if rank >= world:
            raise UsageError(f"--share {words}: expected I/N, from 0/N to N-1/N, such as 0/32")
        if launched.world > 1:
            raise UsageError(f"--share {words}: torchrun shares the runs out itself; leave one of the two away")
        return cls(rank, world, array=True)

    def of(self, things: Sequence[T]) -> Sequence[T]:
        """What this process does of them."""
        return things[self.rank :: self.world]

    def finishes(self) -> bool:
        """Whether what all made is for this process to sum up; under a launcher once every process has come here."""
        if self.array:
            return False
        if self.world > 1:
            processes.init_process_group("gloo", timeout=PATIENCE)
            processes.barrier()
            processes.destroy_process_group()
        return self.rank == 0


@contextmanager
def held(folder: Path, wait: bool = False, name: str = LOCK) -> Iterator[bool]:
    """Whether this process has a run's folder for itself while the block lasts; the lock goes with its process.

    wait: until the process that has it is done. UnavailableError where nothing can be written.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}; choose another folder") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in TAKEN:
                yield False
                return
            log.warning(
                "sadstream-train: %s: cannot be locked (%s): let no second command do this run", path, error.strerror
            )
        yield True


def in_turn(planned: Sequence[PlannedRun], do: Callable[[PlannedRun], object], say: Callable[[str], None]) -> None:
    """Do them one after the other; one that another process is at is come back to at the end, and waited for."""
    passed = []
    for number, one in enumerate(planned, start=1):
        with held(one.folder) as ours:
            say(f"{number} of {len(planned)}: {one.named}{'' if ours else ': another process is at it; later'}")
            if ours:
                do(one)
            else:
                passed.append(one)
    for one in passed:
        say(f"again: {one.named}: waiting for the process that is at it")
        with held(one.folder, wait=True):
            do(one)
