"""Workers as processes of this machine: one that is killed is replaced."""

import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sadstream.base.cores import own_cores
from sadstream.cluster.archive.messages import ScoreOrder, WorkerEnded, WorkerMessage, from_line, to_line
from sadstream.cluster.archive.worker import ENDED_WITHOUT_MEMORY, WorkerSettings

COMMAND = (sys.executable, "-m", "sadstream.cluster.archive.worker")
WORKER_BYTES = 900_000_000  # a worker with the default models and one thread
WAIT_S = 0.2  # for a word: how often progress is drawn
READ_BYTES = 1 << 16
MEMORY = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def workers_that_fit(threads: int) -> int:
    """How many workers of so many threads this machine's cores and free memory carry; at least one."""
    return max(1, min(_cores() // threads, _free_bytes() // WORKER_BYTES))


def _cores() -> int:
    """Cores that are ours, also inside a container."""
    cores = own_cores()
    with suppress(OSError, ValueError):
        quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        return min(cores, quota // period)
    return cores


def _free_bytes() -> int:
    """Memory that is free for us, also inside a container."""
    with suppress(OSError, StopIteration, ValueError):
        line = next(one for one in MEMORY.read_text().splitlines() if one.startswith("MemAvailable:"))
        free = int(line.split()[1]) * 1024
        with suppress(OSError, ValueError):
            most, now = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
            free = min(free, most - now)
        return free
    return WORKER_BYTES


class WorkerProcesses:
    """So many workers, started at once; they end with the block."""

    def __init__(self, settings: WorkerSettings, count: int, command: Sequence[str] = COMMAND) -> None:
        self.workers: Sequence[int] = range(count)
        self._settings = settings
        self._command = command
        # What waits for a thread spins otherwise; and the libraries below torch count for themselves.
        self._environment = os.environ | {"OMP_NUM_THREADS": str(max(1, settings.config.compute.threads))}
        self._selector = selectors.DefaultSelector()
        self._live: dict[int, subprocess.Popen[bytes]] = {}
        self._unread: dict[int, bytes] = {}

    def __enter__(self) -> "WorkerProcesses":
        for worker in self.workers:
            self._start(worker)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._live):
            self.retire(worker)
        self._selector.close()

    def give(self, worker: int, order: ScoreOrder) -> None:
        """Let a worker begin; one that has just died is heard of in `take`."""
        self._write(worker, to_line(order))

    def take(self) -> list[tuple[int, WorkerMessage]]:
        """What they said in the next WAIT_S, or sooner."""
        found: list[tuple[int, WorkerMessage]] = []
        for key, _ in self._selector.select(WAIT_S):
            worker: int = key.data
            content = os.read(key.fd, READ_BYTES)
            *lines, self._unread[worker] = (self._unread[worker] + content).split(b"\n")
            found += [(worker, from_line(line.decode())) for line in lines]
            if not content:
                found.append((worker, WorkerEnded(self._how(self._end(worker)))))
                self._start(worker)
        return found

    def retire(self, worker: int) -> None:
        """End it."""
        if worker in self._live:
            self._live[worker].kill()
            self._end(worker)

    def _start(self, worker: int) -> None:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment)
        assert process.stdout is not None
        self._live[worker], self._unread[worker] = process, b""
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._write(worker, self._settings.to_line())

    def _write(self, worker: int, line: str) -> None:
        pipe = self._live[worker].stdin
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.write(f"{line}\n".encode())
            pipe.flush()

    def _end(self, worker: int) -> int:
        process = self._live.pop(worker)
        assert process.stdin is not None
        assert process.stdout is not None
        self._selector.unregister(process.stdout)
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        return process.wait()

    @staticmethod
    def _how(code: int) -> str:
        if code == ENDED_WITHOUT_MEMORY:
            return "out of memory"
        return f"killed by signal {-code}" if code < 0 else f"ended with {code}"
