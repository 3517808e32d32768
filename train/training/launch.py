"""Which of several processes this is, under torchrun (or any launcher that sets RANK and WORLD_SIZE).

An epoch of the largest system takes seconds on one GPU, so several GPUs or nodes each do other runs of the plan;
dividing one batch of 64 among them would only wait.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch.distributed as processes

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # the first to be done waits for the last


@dataclass(frozen=True, slots=True)
class ProcessShare:
    """Process `rank` of `world`; `local_rank` on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> "ProcessShare":
        """As the launcher says; without one the only process."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        rank, world, local = (int(os.environ.get(name, default)) for name, default in zip(names, "010", strict=True))
        return cls(rank, world, local)

    def of(self, things: Sequence[T]) -> Sequence[T]:
        """What this process does of them."""
        return things[self.rank :: self.world]

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.world == 1:
            return

        processes.init_process_group("gloo", timeout=PATIENCE)
        processes.barrier()
        processes.destroy_process_group()
