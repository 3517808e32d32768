"""A door and its scorers as actors of Ray Serve: each a process of its own, replaced where it hangs or dies."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sadstream.base import logs
from sadstream.base.cores import own_cores
from sadstream.cluster.door import Door, DoorReport, expect_keys
from sadstream.cluster.scorer import Scorer
from sadstream.config import Config
from sadstream.daemon.loading import load_with_fallback
from sadstream.daemon.messages import ModelsReady
from sadstream.daemon.remote.request import HelloAnswer
from sadstream.events.keys import server_keys
from sadstream.scoring.fusion.checkpoint import model_id
from sadstream.scoring.mood.plan import checkpoint_path

log = logging.getLogger("sadstream")

CPU_BATCH, CUDA_BATCH = 1, 16  # on a CPU a batch gains nothing: 4.86 against 4.91 segments/s of 40
CALLS = 2  # that a scorer has at once: one batch in hand and one at hand
HELLO_S = 2.0  # between two looks whether somebody can score
REPLICA_MB = 900  # models of one, on a CPU


@dataclass(frozen=True, slots=True)
class Placement:
    """How many scorers, and what each of them takes of its machine."""

    least: int
    most: int
    cpus: float
    gpus: float
    batch: int

    @property
    def door(self) -> dict[str, int]:
        """What the door is told of them, as Serve passes it on: as `DoorReplica.reconfigure` takes it."""
        return {"calls": CALLS * self.most, "batch": self.batch}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float
    memory_mb: int


class ScorerReplica:
    """A scorer as an actor: its models are loaded when it is there, and it is replaced where it hangs or dies."""

    def __init__(self, config: Config, batch: int) -> None:
        logs.set_up("warning")
        loaded = load_with_fallback(config, lambda said: log.warning("models: %s", said.detail))
        self._scorer = Scorer(loaded.analyzer, batch)
        self._hello = hello_of(loaded.ready, config)

    async def score(self, *frames: bytes) -> list[bytes]:
        """The answers to requests, of which each is a header and its sound."""
        return await self._scorer.score(*frames)

    async def hello(self) -> HelloAnswer:
        """Who scores here."""
        return self._hello

    def check_health(self) -> None:
        """Raises where it is to be replaced."""
        if self._scorer.is_hung:
            raise RuntimeError("hung")


class DoorReplica:
    """A door as an actor, on the machine whose address rooms know."""

    def __init__(self, scorer: Any, listen: str, secret_key: str | None, allow: str | None) -> None:
        logs.set_up("warning")
        self._scorer = scorer
        keys = server_keys(secret_key, allow)
        expect_keys(listen, keys)
        self._door = Door(listen, keys, self._score)
        loop = asyncio.get_running_loop()
        self._jobs = [loop.create_task(self._door.serve()), loop.create_task(self._look())]

    async def reconfigure(self, said: dict[str, int]) -> None:
        """`Placement.door`; called before anything else, and when a machine joins or leaves."""
        self._door.resize(said["calls"], said["batch"])

    async def report(self) -> DoorReport:
        """What it has done."""
        return self._door.report()

    async def check_health(self) -> None:
        """Raises where it is to be replaced."""
        for job in self._jobs:
            if job.done():
                raise RuntimeError("ended")

    async def _score(self, batch: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        # Each frame an argument of its own: Ray keeps as many as there are in the message, if none is too long.
        answers: list[bytes] = await self._scorer.score.remote(*chain.from_iterable(batch))
        return answers

    async def _look(self) -> None:
        """Ask every HELLO_S whether somebody can score; their own answers say so too."""
        while True:
            with suppress(Exception):  # nobody can, for whatever reason
                async with asyncio.timeout(2 * HELLO_S):
                    self._door.hello = await self._scorer.hello.remote()
                    self._door.ready_s = time.monotonic()
            await asyncio.sleep(HELLO_S)


def hello_of(ready: ModelsReady, config: Config) -> HelloAnswer:
    """What a scorer says of itself."""
    model = model_id(checkpoint_path(config))
    return HelloAnswer(
        model=model, whisper=ready.whisper, device=ready.device, licence=ready.licence, terms=ready.terms
    )


def placement(config: Config, replicas: tuple[int, int] | None) -> Placement:
    """What a scorer takes, and how many: as were asked for, else one a GPU of this machine, else as many as fit."""
    from sadstream.scoring.analyzer.models import compute_device

    if compute_device(config.compute.device) == "cuda":
        import torch

        least, most = replicas or (torch.cuda.device_count(),) * 2
        return Placement(least, most, 1.0, 1.0, CUDA_BATCH)
    threads = config.compute.threads or 1
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") >> 20
    fitting = max(1, fit(Machine(own_cores(), 0, memory_mb), float(threads), 0.0))
    least, most = replicas or (fitting, fitting)
    return Placement(least, most, float(threads), 0.0, CPU_BATCH)


def fit(machine: Machine, cpus: float, gpus: float) -> int:
    """How many scorers that take so much a machine holds."""
    if gpus:
        return int(machine.gpus / gpus)
    return min(int(machine.cpus / cpus), machine.memory_mb // REPLICA_MB)
