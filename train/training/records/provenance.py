"""Where a run comes from: versions, hardware, commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from sadstream import __version__
from sadstream.base.cores import own_cores
from sadstream.scoring.fusion.header import Record

LIBRARIES = ("torch", "torchaudio", "transformers", "openai-whisper", "numpy", "scikit-learn", "scipy")


class Provenance(Record):
    """What a run was computed with."""

    sadstream: str
    commit: str  # nothing outside a checkout; `+` after it: the checkout had changes
    python: str
    libraries: tuple[str, ...]
    machine: str
    cores: int
    threads: int
    device: str
    manifest_sha256: str
    partial: str  # the sentence that every table of a partial corpus repeats


def provenance(manifest_sha256: str, partial: str, device: str) -> Provenance:
    """The provenance of a run that starts now."""
    return Provenance(
        sadstream=__version__,
        commit=_commit(),
        python=platform.python_version(),
        libraries=tuple(f"{name} {version(name)}" for name in LIBRARIES),
        machine=f"{platform.system()} {platform.machine()}, {_processor()}",
        cores=own_cores(),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        manifest_sha256=manifest_sha256,
        partial=partial,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )


def _commit() -> str:
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
