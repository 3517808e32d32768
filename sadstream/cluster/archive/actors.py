"""Workers as actors of a Ray cluster, one that dies started again by Ray; only paths and text cross the network.

Ray keeps an answer of up to 100 KiB in the message itself; a longer one would go into its store, and from there, when
that is full, to the disk. So what an actor scored comes in pieces.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from sadstream.base.errors import UnavailableError
from sadstream.cluster.archive.messages import (
    LAST,
    ScoreOrder,
    WorkerEnded,
    WorkerMessage,
    WorkerReady,
    from_line,
    order_from_line,
    to_line,
)
from sadstream.cluster.archive.worker import ArchiveWorker, WorkerSettings
from sadstream.cluster.nodes import INLINE_BYTES

PIECE_BYTES = INLINE_BYTES // 2  # of an answer, before the last line of it
PIECE_S = 2.0  # so that progress shows
WAIT_S = 0.5


class ArchiveActor:
    """A worker's inside on some machine of the cluster."""

    def __init__(self, settings: str) -> None:
        self._worker = ArchiveWorker(WorkerSettings.from_line(settings))
        self._messages: Iterator[WorkerMessage] = iter(())

    def ready(self) -> list[str]:
        """That it is there."""
        return [to_line(WorkerReady(socket.gethostname()))]

    def begin(self, order: str) -> list[str]:
        """The first piece of what comes of an order."""
        self._messages = self._worker.score(order_from_line(order))
        return self.more()

    def more(self) -> list[str]:
        """The next piece."""
        lines: list[str] = []
        until = time.monotonic() + PIECE_S
        for message in self._messages:
            lines.append(to_line(message))
            if sum(map(len, lines)) > PIECE_BYTES or time.monotonic() > until:
                break
        return lines


def workers_of(library: Any, threads: int, device: str) -> int:
    """How many workers the cluster carries: one for each GPU, else one for so many threads of its cores."""
    there = library.cluster_resources()
    count = int(there.get("GPU", 0)) if device == "cuda" else int(there.get("CPU", 0)) // threads
    if not count:
        wanted = "a GPU" if device == "cuda" else f"{threads} free core{'s' if threads > 1 else ''}"
        raise UnavailableError(f"cluster: no machine with {wanted}; let one join, or choose --compute cpu")
    return count


def device_of(library: Any, wanted: str) -> str:
    """Where the models run: on GPUs where the cluster has any and they are not ruled out; for all workers the same."""
    has_gpus = library.cluster_resources().get("GPU", 0) > 0
    return "cuda" if wanted == "cuda" or (wanted == "auto" and has_gpus) else "cpu"


class WorkerActors:
    """So many actors on the machines of a cluster; they end with the block."""

    def __init__(self, library: Any, settings: WorkerSettings, count: int) -> None:
        self.workers: Sequence[int] = range(count)
        self._ray = library
        self._settings = settings
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}

    def __enter__(self) -> "WorkerActors":
        needs = {"num_cpus": max(1, self._settings.config.compute.threads)}
        if self._settings.identity.device == "cuda":
            needs["num_gpus"] = 1
        actor = self._ray.remote(ArchiveActor).options(max_restarts=-1, scheduling_strategy="SPREAD", **needs)
        for worker in self.workers:
            self._actors[worker] = actor.remote(self._settings.to_line())
            self._ask(worker, self._actors[worker].ready.remote())
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._actors):
            self.retire(worker)

    def give(self, worker: int, order: ScoreOrder) -> None:
        """Let a worker begin."""
        self._ask(worker, self._actors[worker].begin.remote(to_line(order)))

    def take(self) -> list[tuple[int, WorkerMessage]]:
        """What they said in the next WAIT_S, or sooner."""
        if not self._asked:
            time.sleep(WAIT_S)
            return []
        done, _ = self._ray.wait(list(self._asked), timeout=WAIT_S)
        found: list[tuple[int, WorkerMessage]] = []
        for reference in done:
            worker = self._asked.pop(reference)
            found += [(worker, message) for message in self._answer(worker, reference)]
        return found

    def retire(self, worker: int) -> None:
        """End it."""
        with suppress(Exception):  # Ray's own: it is gone already
            self._ray.kill(self._actors.pop(worker), no_restart=True)
        self._asked = {reference: one for reference, one in self._asked.items() if one != worker}

    def _ask(self, worker: int, reference: Any) -> None:
        self._asked[reference] = worker

    def _answer(self, worker: int, reference: Any) -> list[WorkerMessage]:
        try:
            messages = [from_line(line) for line in self._ray.get(reference)]
        except self._ray.exceptions.RayError as error:  # its process or machine is gone, or has no memory left
            return self._ended(worker, type(error).__name__)
        if not messages:
            return self._ended(worker, "replaced")  # by one that knows nothing of what was asked
        if not isinstance(messages[-1], (*LAST, WorkerReady)):
            self._ask(worker, self._actors[worker].more.remote())
        return messages

    def _ended(self, worker: int, how: str) -> list[WorkerMessage]:
        """It gets something again once it has answered, which is when Ray has started it again."""
        self._ask(worker, self._actors[worker].ready.options(max_task_retries=-1).remote())
        return [WorkerEnded(how)]
