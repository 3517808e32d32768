"""A process of its own for each target, watched: a hang, a crash or a flood of memory is counted against its case."""

import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from fuzz.targets import target
from fuzz.trial import Overheard, Trial, outcome, overhearing, rng_of

HANG_S = 10.0
GROWTH_MB = 200.0
OPEN_S = 120.0  # importing torch on a machine with other things to do
ROOM_MB = 4096  # beyond what is mapped after the opening, so that a flood ends in this process
CUDA_MB = 16_384  # that PyTorch's build for CUDA maps of its libraries, when a case imports it
LAST_BYTES = 20_000  # of what a worker said before it ended
PROGRESS = struct.Struct("<qqd")  # the piece and the case under way, and since when; case -1: it opens
SCRATCH = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)
TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Piece:
    """Cases of one target: `first` to `last`, without the last."""

    target: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Found:
    """One case that broke the rules."""

    target: str
    case: int
    where: str  # its kind
    said: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a worker did for a target."""

    target: str
    cases: int
    taken: int
    refused: int
    seconds: float
    base_mb: float
    growth_mb: float


# In the worker.


def work(pieces: Sequence[Piece], seed: str, out: Path, progress: Path) -> None:
    """Try these cases one after another; findings and tallies go to the folder as lines of JSON."""
    faulthandler.enable()
    with progress.open("r+b") as file, mmap.mmap(file.fileno(), PROGRESS.size) as at, overhearing() as overheard:
        for number, piece in enumerate(pieces):
            begin = partial(_begin, at, number)
            begin(-1)
            with tempfile.TemporaryDirectory(dir=SCRATCH) as folder, target(piece.target).open(Path(folder)) as trial:
                _piece(trial, piece, seed, out, begin, overheard)


def _begin(at: mmap.mmap, piece: int, case: int) -> None:
    PROGRESS.pack_into(at, 0, piece, case, time.monotonic())


def _piece(
    trial: Trial, piece: Piece, seed: str, out: Path, begin: Callable[[int], None], overheard: Overheard
) -> None:
    for parts in trial.valid:
        came = outcome(trial, parts, overheard)
        if came.kind != "taken":
            _write(out, Found(piece.target, -1, f"valid input, {came.where or came.said[:80]}", came.said))
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ResourceWarning)
    base_mb = _reset_peak_mb()
    _bound(base_mb)
    begun, taken, refused = time.monotonic(), 0, 0
    for case in range(piece.first, piece.last):
        begin(case)
        parts = trial.make(rng_of(seed, piece.target, case))
        came = outcome(trial, parts, overheard)
        taken, refused = taken + (came.kind == "taken"), refused + (came.kind == "refused")
        if came.kind == "found":
            _write(out, Found(piece.target, case, came.where, came.said))
            save(out, piece.target, case, parts)
        if _peak_mb() - base_mb > GROWTH_MB:
            growth = f"{_peak_mb() - base_mb:.0f} MB more than before"
            _write(out, Found(piece.target, case, "memory", growth))
            save(out, piece.target, case, parts)
            os._exit(3)  # the next worker begins small again
    grown = _peak_mb() - base_mb
    spent = time.monotonic() - begun
    _write(out, Tally(piece.target, piece.last - piece.first, taken, refused, spent, base_mb, grown))


def save(out: Path, target: str, case: int, parts: Sequence[bytes]) -> None:
    """The offending bytes, a file a part; the seed and the number make them again, so a few are enough."""
    if len(list(out.glob(f"{target}-*.0"))) < 50:
        for number, part in enumerate(parts):
            (out / f"{target}-{case}.{number}").write_bytes(part)


def _write(out: Path, what: Found | Tally) -> None:
    with (out / "lines.jsonl").open("a") as file:
        file.write(json.dumps({"kind": type(what).__name__, **asdict(what)}) + "\n")


def _reset_peak_mb() -> float:
    """What is resident now, from which on the peak is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    # Not ru_maxrss: it is never reset, and begins at the peak of whoever started us.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) / 1024


def _bound(base_mb: float) -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    torch = find_spec("torch")
    cuda = torch is not None and torch.origin and (Path(torch.origin).parent / "lib/libtorch_cuda.so").exists()
    room_mb = ROOM_MB + (CUDA_MB if cuda else 0)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + room_mb * 2**20, resource.RLIM_INFINITY))


# In the process that watches.


def watch(pieces: Sequence[Piece], seed: str, out: Path) -> None:
    """Have these cases tried, by as many processes as it takes; what broke one is written down as a finding."""
    left = list(pieces)
    while left:
        number, case, how = _worker(left, seed, out)
        if how is None:
            return
        piece, left = left[number], left[number:]
        if how != "memory":
            _write(out, Found(piece.target, case, how, _last_words(out)))
            subprocess.run([*_command(seed, out), "--only-save", f"{piece.target}:{case}:{case + 1}"], check=False)
        if case < 0:  # it does not even open
            left = left[1:]
            continue
        _write(out, Tally(piece.target, case + 1 - piece.first, 0, 0, 0.0, 0.0, 0.0))
        rest = Piece(piece.target, case + 1, piece.last)
        left = [*([rest] if rest.first < rest.last else []), *left[1:]]


def _worker(pieces: Sequence[Piece], seed: str, out: Path) -> tuple[int, int, str | None]:
    """Run one worker to its end; the piece and the case at which it ended too early, and how, or None."""
    progress = Path(tempfile.mkstemp(dir=out, prefix="progress-")[1])
    progress.write_bytes(PROGRESS.pack(0, -1, time.monotonic()))
    asked = [f"{piece.target}:{piece.first}:{piece.last}" for piece in pieces]
    command = [*_command(seed, out), "--progress", str(progress), "--work", *asked]
    words = progress.with_suffix(".stderr")
    with words.open("wb") as errors, subprocess.Popen(command, stdout=errors, stderr=errors) as worker:
        hung, seen, spent_s, then = False, (-1, -1), 0.0, (time.monotonic(), 0.0)
        while worker.poll() is None:
            time.sleep(0.05)
            number, case, _ = PROGRESS.unpack(progress.read_bytes())
            ready, *now = time_of(worker.pid)
            spent_s = 0.0 if (number, case) != seen else spent_s + (now[1] - then[1] if ready else now[0] - then[0])
            seen, then = (number, case), (now[0], now[1])
            if spent_s > (HANG_S if case >= 0 else OPEN_S):
                hung = True
                worker.send_signal(signal.SIGABRT)  # says where it was
                try:
                    worker.wait(5)
                except subprocess.TimeoutExpired:
                    worker.kill()
    number, case, _ = PROGRESS.unpack(progress.read_bytes())
    progress.unlink()
    (out / "stderr").write_bytes(words.read_bytes()[-LAST_BYTES:])
    words.unlink()
    if worker.returncode == 0:
        return number, case, None
    ended = f"signal {-worker.returncode}" if worker.returncode < 0 else f"exit {worker.returncode}"
    how = "memory" if worker.returncode == 3 else f"hang over {HANG_S:.0f} s" if hung else f"crash ({ended})"
    return number, case, how


def time_of(pid: int) -> tuple[bool, float, float]:
    """Whether a process is ready to run, the clock, and the processor time it has had: on a busy machine it may wait
    for a processor, which is no fault of its case, or for something that never comes, which is."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return True, time.monotonic(), 0.0
    used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return fields[0] == "R", time.monotonic(), used_s


def _command(seed: str, out: Path) -> list[str]:
    bootstrap = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from fuzz.__main__ import main; main()"
    return [sys.executable, "-P", "-c", bootstrap, "--seed", seed, "--out", str(out)]


def _last_words(out: Path) -> str:
    return "\n".join((out / "stderr").read_text(errors="replace").splitlines()[-40:])


def _lines(out: Path, kind: str) -> list[dict[str, object]]:
    path = out / "lines.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{k: v for k, v in line.items() if k != "kind"} for line in lines if line["kind"] == kind]


def findings(out: Path) -> list[Found]:
    """What broke the rules so far."""
    return [Found(**line) for line in _lines(out, "Found")]  # type: ignore[arg-type]


def tallies(out: Path) -> list[Tally]:
    """What was done so far."""
    return [Tally(**line) for line in _lines(out, "Tally")]  # type: ignore[arg-type]
