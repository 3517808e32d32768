"""Archives of cuts of the bundled scene, and workers whose models are fakes, as processes that may be killed.

Run as a program it is such a worker: `python archiving.py slow=0.1,fatal=signal`; or, with words of a command line
after the options, the whole command with such workers.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from analysing import Each, analysis

from sadstream.audio.segmenter import Segment
from sadstream.cluster.archive.worker import LoadedModels, WorkerSettings, main
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.mood.mood import NO_PLAN

SCENE = Path(__file__).parent.parent / "sadstream/cli/demo/scene/scene.flac"
CLIPPED = 0.2  # share of samples at full scale from which on who hears a recording dies, where that is asked for


def cuts(folder: Path, *spans_s: tuple[int, int], suffix: str = "wav") -> list[Path]:
    """Cuts of the scene, each a recording: 0.wav, 1.wav."""
    import soundfile

    samples, rate = soundfile.read(SCENE, dtype="int16")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n}.{suffix}" for n in range(len(spans_s))]
    for path, (start, end) in zip(paths, spans_s, strict=True):
        soundfile.write(path, samples[start * rate : end * rate], rate)
    return paths


def fatal(path: Path) -> Path:
    """A recording at which a worker with `fatal=...` dies."""
    import soundfile

    samples, rate = soundfile.read(SCENE, dtype="float32")
    soundfile.write(path, np.clip(samples * 50, -1, 1), rate)
    return path


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name from there on."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def score(*arguments: str | Path, fakes: str = "") -> "subprocess.CompletedProcess[str]":
    """`sadstream score` in this process, one worker with fake models unless more are asked for."""
    from sadstream.cli import main as cli

    words = ["score", "--compute", "cpu", *map(str, arguments)]
    if "--out" in words and "--workers" not in words:
        words += ["--workers", "1"]
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _workers(fakes):
        try:
            cli.main(words)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def started(*arguments: str | Path, fakes: str = "") -> "subprocess.Popen[str]":
    """The same as a process that can be interrupted and killed."""
    command = [sys.executable, __file__, fakes, "score", "--compute", "cpu", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def _workers(options: str) -> Iterator[None]:
    from sadstream.cli.archive import dry_run
    from sadstream.cli.archive import score as archive

    real = archive.WorkerProcesses
    fake: Any = partial(real, command=(sys.executable, __file__, options))
    archive.WorkerProcesses = dry_run.WorkerProcesses = fake  # type: ignore[misc]
    try:
        yield
    finally:
        archive.WorkerProcesses = dry_run.WorkerProcesses = real  # type: ignore[misc]


def _load(options: dict[str, str], settings: WorkerSettings) -> LoadedModels:
    if "unloadable" in options:
        os.kill(os.getpid(), signal.SIGKILL)

    def analyze(segment: Segment) -> Analysis:
        time.sleep(float(options.get("slow", 0)))
        if "fatal" in options and (np.abs(segment.samples) > 0.99).mean() > CLIPPED:
            if options["fatal"] == "memory":
                raise MemoryError
            os.kill(os.getpid(), signal.SIGKILL)
        return analysis(segment)

    return LoadedModels(Each(analyze), NO_PLAN)


if __name__ == "__main__":
    wanted, *words = sys.argv[1:]
    if words:
        from sadstream.cli import main as cli

        with _workers(wanted):
            cli.main(words)
    main(partial(_load, dict(part.split("=", 1) for part in wanted.split(",") if part)))
