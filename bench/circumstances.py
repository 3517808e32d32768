"""What a measurement was made with and beside: commit, processor, cores, load."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of a run, as they were before it."""

    commit: str
    processor: str
    cores: int
    load_average: float  # of the last minute


def circumstances() -> Circumstances:
    """Those of now."""
    git = ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return Circumstances(
        commit.stdout.strip() or "unknown", next(names, "unknown"), os.cpu_count() or 1, round(os.getloadavg()[0], 2)
    )


def told(found: Circumstances) -> str:
    """In a sentence's part."""
    return f"{found.processor}, {found.cores} cores, load {found.load_average:.1f} before it; commit {found.commit}"
