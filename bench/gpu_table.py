"""What `bench/gpu.py` tells: its lines, what came for each, their table, and the machine."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from circumstances import circumstances
from quantiles import interval, quantile

from sadstream.audio.segmenter import Segment

HEAD = "| part | what | figure | unit | n | 95 % interval | target | met |\n|---|---|---|---|---|---|---|---|"
UNMEASURED = "not measured"
NEEDS, NOT_HERE = "needs CUDA", "not at this scale"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: on a GPU, or as a rehearsal of the same on a CPU."""

    segments: int  # compared between devices, and of which each latency is one
    streams: tuple[int, ...]
    stream_s: float  # of simulated talk at each number of streams
    batches: tuple[int, ...]  # of segments scored at once, and of what is compiled
    repeats: int
    long_run: int  # segments over which memory is watched
    shape_layers: int  # of small.en's twelve
    parity_model: str
    utterances: int  # of the simulated corpus
    steps: int  # of training that are timed
    systems: int  # of the preset that are timed


FULL = Scale(
    segments=200,
    streams=(1, 8, 32, 64, 128, 192, 256),
    stream_s=15.0,
    batches=(1, 2, 4, 8, 16, 32, 64),
    repeats=10,
    long_run=2000,
    shape_layers=12,
    parity_model="base",
    utterances=10_039,
    steps=30,
    systems=99,
)
SMALL = Scale(
    segments=3,
    streams=(1, 2),
    stream_s=4.0,
    batches=(1, 2),
    repeats=2,
    long_run=8,
    shape_layers=1,
    parity_model="tiny.en",
    utterances=100,
    steps=2,
    systems=2,
)
SCALES = {"full": FULL, "small": SMALL}


@dataclass(frozen=True, slots=True)
class Bench:
    """What every part is given."""

    device: str  # cuda or cpu
    scale: Scale
    segments: Sequence[Segment]
    until_s: float  # of the monotonic clock: no new figure is begun after it

    @property
    def over(self) -> bool:
        """The time is up."""
        return time.monotonic() > self.until_s


@dataclass(frozen=True, slots=True)
class Line:
    """A figure that is wanted; `target` is of the one at `judged`."""

    what: str
    unit: str
    target: float | None = None
    at_least: bool = False  # or at most
    judged: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What came for a line; without values `note` says why, else what belongs to it."""

    what: str
    values: tuple[float, ...] = ()
    n: int = 0
    interval: tuple[float, float] | None = None
    note: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    part: str
    line: Line
    reading: Reading

    @property
    def met(self) -> str:
        """Whether the target was: yes, no, or nothing where there is none of either."""
        target, values = self.line.target, self.reading.values
        if target is None or not values:
            return ""
        value = values[self.line.judged]
        return "yes" if (value >= target if self.line.at_least else value <= target) else "**no**"

    def markdown(self) -> str:
        """This row of the table."""
        line, came = self.line, self.reading
        figure = ", ".join(f"{value:.4g}" for value in came.values)
        if not came.values:
            figure = f"{'**failed**' if came.failed else UNMEASURED}"
        note = f"{figure}: {came.note}" if came.note else figure
        interval = f"{came.interval[0]:.4g} to {came.interval[1]:.4g}" if came.interval else ""
        target = "" if line.target is None else f"{'≥' if line.at_least else '≤'} {line.target:g}"
        cells = (self.part, line.what, note, line.unit, str(came.n or ""), interval, target, self.met)
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines that are measured together, whatever becomes of the others."""

    name: str
    lines: Callable[[], Sequence[Line]]
    run: Callable[[Bench], Iterator[Reading]]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    gpu: str
    driver: str
    torch: str
    cuda: str
    python: str
    processor: str
    cores: int
    commit: str
    scale: str

    def line(self) -> str:
        """One sentence above the table."""
        return (
            f"{self.gpu}, driver {self.driver}, torch {self.torch}, CUDA {self.cuda}; {self.processor}, {self.cores} "
            f"cores, Python {self.python}; commit {self.commit}, scale {self.scale}."
        )


def measured(part: Part, bench: Bench) -> list[Row]:
    """Every line of a part: its reading, or why there is none; what fails in it stays in it."""
    found, reason = dict[str, Reading](), Reading("", note="the time was up")
    try:
        for reading in part.run(bench):
            found[reading.what] = reading
            if bench.over:
                break
        else:
            reason = Reading("", note="the part ended before it", failed=True)
    except Exception as error:  # the table says it, and the other parts go on
        reason = Reading("", note=first_line(error), failed=True)
    return [Row(part.name, line, found.get(line.what, reason)) for line in part.lines()]


def unmeasured(part: Part, why: str) -> list[Row]:
    """Every line of a part that was not run."""
    return [Row(part.name, line, Reading(line.what, note=why)) for line in part.lines()]


def attempt(what: str, measure: Callable[[], Reading]) -> Reading:
    """A reading, or that it failed: for lines that do not hang on each other."""
    try:
        return measure()
    except Exception as error:
        return Reading(what, note=first_line(error), failed=True)


def first_line(error: Exception) -> str:
    """An error in one line."""
    said = (str(error) or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {said[:160]}"


def percentiles(what: str, values: Sequence[float]) -> Reading:
    """Median, 95th and 99th percentile, with the interval of the second."""
    return Reading(
        what, tuple(quantile(values, share) for share in (0.5, 0.95, 0.99)), len(values), interval(values, 0.95)
    )


def median(what: str, values: Sequence[float]) -> Reading:
    """The median and its interval."""
    return Reading(what, (quantile(values, 0.5),), len(values), interval(values, 0.5))


def machine(device: str, scale: str) -> Machine:
    """This one."""
    here = circumstances()
    query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return Machine(
        gpu=torch.cuda.get_device_name() if device == "cuda" else "no GPU",
        driver=said(*query) if device == "cuda" else "none",
        torch=torch.__version__,
        cuda=torch.version.cuda or "none",
        python=platform.python_version(),
        processor=here.processor,
        cores=len(os.sched_getaffinity(0)),
        commit=here.commit,
        scale=scale,
    )


def said(*command: str) -> str:
    """The first line that a program prints, or `unknown`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0].strip()


@dataclass(frozen=True, slots=True)
class Report:
    """A run: as JSON, and as the table that the page shows."""

    machine: Machine
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        """Something went wrong, not only unmeasured."""
        return any(row.reading.failed for row in self.rows)

    def markdown(self) -> str:
        """The machine and the table."""
        return "\n".join([self.machine.line(), "", HEAD, *(row.markdown() for row in self.rows)])

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return asdict(self)


def report_of(table: dict) -> Report:
    """The report that a JSON file holds."""
    rows = []
    for row in table["rows"]:
        came = row["reading"] | {"values": tuple(row["reading"]["values"])}
        rows.append(Row(row["part"], Line(**row["line"]), Reading(**came)))
    return Report(Machine(**table["machine"]), tuple(rows))
