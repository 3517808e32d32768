"""The whole path under load: segment closed to event received, by stage, with more and more paced real-time streams.

    python bench/streams.py SPEECH_DIR [--seconds 60] [--json FILE] [--plot FILE] [--write]

SPEECH_DIR holds `manifest.csv` (path, corpus) and the recordings it names; their speech is joined to continuous talk,
a different one for each stream. The daemon runs as its users run it, in a process of its own.
Also: start to the first `listening`, resident memory, CPU seconds an hour of talk, and what silence costs, counted
from SETTLE_S after that. All of it with the model that knows languages asked in doubt, and without it.
"""

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from circumstances import Circumstances, circumstances, told
from page import put
from quantiles import interval, quantile

from sadstream.client import subscribe
from sadstream.events import Score, Status

STAGES = ("queue", "vad", "whisper", "text", "fusion", "publish", "total")
LIMIT_MS = 1000.0  # streams are added until the 95th percentile of `total` passes this
TICKS = os.sysconf("SC_CLK_TCK")
START_S = 120.0
SETTLE_S = 3.0  # of what is left of the start
QUIET = {"digital silence": -200.0, "a room's noise at -80 dBFS": -80.0}  # under half a step of 16 bits
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- streams -->", "<!-- end of streams -->"
LINGUISTS = {"off": "words by tiny.en alone", "auto": "base asked for the language in doubt"}


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the daemon came to."""

    streams: int
    segments: int
    dropped: int
    start_s: float  # from the command to the first `listening`
    cpu_s: float  # of the daemon while it listened, from SETTLE_S on
    cpu_window_s: float  # in which that was counted
    audio_s: float  # of all streams together
    rss_mb: float  # at the end, or the most of it that was seen
    pss_mb: float
    latencies: list[dict[str, float]]  # milliseconds by stage, and `received`: publish to receive

    def percentile(self, stage: str, share: float) -> float:
        """The milliseconds below which this share of the segments stayed."""
        values = [latency[stage] for latency in self.latencies]
        return quantile(values, share) if values else float("nan")


def service_allocator() -> dict[str, str]:
    """How the service's unit has memory given back."""
    unit = (Path(__file__).parents[1] / "systemd" / "sadstream.service").read_text()
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", unit))


def talk(folder: Path, corpora: tuple[str, ...], seconds: float, rng: random.Random) -> "np.ndarray[Any, Any]":
    """(n,) float32 of joined recordings at 16 kHz."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [row["path"] for row in csv.DictReader(file) if row["corpus"] in corpora]
    parts: list[Any] = []
    while sum(part.size for part in parts) < seconds * 16_000:
        samples, rate = soundfile.read(folder / rng.choice(rows), dtype="float32", always_2d=True)
        if rate == 16_000:
            parts.append(samples.mean(axis=1))
    return np.concatenate(parts)[: int(seconds * 16_000)]


def run(recordings: list[Path], folder: Path, linguist: str) -> Load:
    """One run of the daemon over these recordings, each a stream at the pace of speech."""
    streams = "".join(f"[[stream]]\nname = 's{n}'\nsource = '{path}'\n" for n, path in enumerate(recordings))
    config = folder / f"{len(recordings)}.toml"
    config.write_text(f"{streams}[whisper]\nlinguist = '{linguist}'\n[publish]\nendpoint = 'ipc://{folder}/pub'\n")
    command = [sys.executable, "-m", "sadstream", "run", "--config", str(config), "--wait-subscriber", str(START_S)]
    begun_s = time.monotonic()
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | service_allocator())
    latencies, dropped, ended = [], {}, 0
    listening_s, first, last, rss_mb, pss_mb = 0.0, (0.0, 0.0), (0.0, 0.0), 0.0, 0.0
    try:
        for event in subscribe(f"ipc://{folder}/pub", timeout_s=START_S + 10_000):
            now_s = time.monotonic()
            if isinstance(event, Score):
                stages = {stage: getattr(event.latency_ms, stage) for stage in STAGES}
                latencies.append(stages | {"received": 1000 * (now_s - event.monotonic_s)})
                dropped[event.stream] = event.dropped
            elif isinstance(event, Status) and event.state == "listening" and not listening_s:
                listening_s = now_s
            elif isinstance(event, Status) and event.state == "stopping":
                ended += 1
                if ended == len(recordings):
                    break
            if ended == 0 and listening_s and now_s - listening_s > SETTLE_S:
                last = now_s, processor_s(daemon.pid)
                first = first if first[0] else last
                rss_mb, pss_mb = max(rss_mb, memory_mb(daemon.pid, "Rss")), max(pss_mb, memory_mb(daemon.pid, "Pss"))
        daemon.wait(30)
    finally:
        daemon.kill()
        daemon.wait()
    audio_s = sum(soundfile.info(path).duration for path in recordings)
    return Load(
        len(recordings), len(latencies), sum(dropped.values()), listening_s - begun_s, last[1] - first[1],
        last[0] - first[0], audio_s, rss_mb, pss_mb, latencies,
    )  # fmt: skip


def processor_s(pid: int) -> float:
    """Processor seconds of a process so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int, what: str) -> float:
    """Resident (`Rss`) or proportional (`Pss`) memory of a process; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(f"{what}:")), 0.0)


def summary(load: Load) -> dict[str, Any]:
    """What a run came to, as numbers for a table."""
    stages = {
        stage: [round(load.percentile(stage, share), 1) for share in (0.5, 0.95, 0.99)]
        for stage in (*STAGES, "received")
    }
    return {
        "streams": load.streams,
        "segments": load.segments,
        "dropped": load.dropped,
        "start_s": round(load.start_s, 2),
        "rss_mb": round(load.rss_mb),
        "pss_mb": round(load.pss_mb),
        "cpu_s_per_hour_of_audio": round(3600 * load.cpu_s / load.cpu_window_s / load.streams, 1),
        "ms_p50_p95_p99": stages,
        "ms_p95_interval": [round(ms, 1) for ms in interval([one["total"] for one in load.latencies], 0.95)],
    }


def plot(report: dict[str, Any], path: Path) -> None:
    """Median, 95th and 99th percentile of the time from a segment's end to its event, over the number of streams."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for colour, (linguist, runs) in zip(("tab:blue", "tab:orange"), report["runs"].items(), strict=False):
        counts = [row["streams"] for row in runs]
        for at, (share, style) in enumerate((("median", ":"), ("95th percentile", "-"), ("99th", "--"))):
            times = [row["ms_p50_p95_p99"]["total"][at] for row in runs]
            axes.plot(counts, times, style, color=colour, marker=".", label=f"{LINGUISTS[linguist]}, {share}")
    axes.axhline(LIMIT_MS, color="grey", linewidth=0.8)
    machine = Circumstances(**report["machine"])
    axes.set(
        xlabel="streams of continuous talk", ylabel="ms, last sample to event", xscale="log", yscale="log",
        title=f"{machine.cores} cores, {machine.processor}, commit {machine.commit}",
    )  # fmt: skip
    axes.set_xticks(counts, map(str, counts))
    axes.legend(fontsize=7)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("speech", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--streams", default="1,2,4,8,16,32")
    parser.add_argument("--linguist", default=",".join(LINGUISTS))
    parser.add_argument("--corpora", default="librispeech_test_other,librispeech_train_clean_untranscribed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    machine = circumstances()
    with tempfile.TemporaryDirectory(prefix="sadstream-") as name:
        folder = Path(name)
        silences = {what: heard_nobody(options, folder, dbfs) for what, dbfs in QUIET.items()}
        runs = {linguist: loaded(options, folder, linguist) for linguist in options.linguist.split(",")}
    starts = {"off": [one.start_s for one in silences.values()], "auto": []}
    for linguist, rows in runs.items():
        starts[linguist] += [row["start_s"] for row in rows]
    report = {
        "machine": asdict(machine),
        "seconds": options.seconds,
        "idle_percent_of_a_core": {
            what: round(100 * one.cpu_s / one.cpu_window_s, 2) for what, one in silences.items()
        },
        "start_s": {linguist: [round(one, 2) for one in sorted(found)] for linguist, found in starts.items() if found},
        "runs": runs,
    }
    print(markdown(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        plot(report, options.plot)
    if options.write:
        put(PAGE, BEGIN, END, markdown(report))


def heard_nobody(options: argparse.Namespace, folder: Path, dbfs: float) -> Load:
    """A run of one stream in which there is only noise of this level."""
    noise = np.random.default_rng(0).standard_normal(int((options.seconds + 10.0) * 16_000)) * 10 ** (dbfs / 20)
    soundfile.write(folder / "silence.flac", noise.astype(np.float32), 16_000)
    found = run([folder / "silence.flac"], folder, "off")
    print(f"silence at {dbfs:g} dBFS: {100 * found.cpu_s / found.cpu_window_s:.2f} % of a core", flush=True)
    return found


def markdown(report: dict[str, Any]) -> str:
    """What was done, and a table."""
    idle = "; ".join(f"of {what} {percent:.2f} %" for what, percent in report["idle_percent_of_a_core"].items())
    starts = [
        f"{LINGUISTS[linguist]}: {quantile(found, 0.5):.1f} s (at most {found[-1]:.1f}, n = {len(found)})"
        for linguist, found in report["start_s"].items()
    ]
    lines = [
        f"{told(Circumstances(**report['machine']))}. What silence costs, of a core, over "
        f"{report['seconds'] + 4:.0f} s: {idle}. From the command to the first `listening`: {'; '.join(starts)}.",
        "",
        "| words | streams | segments | dropped | median | 95th percentile [95 % interval] | waiting, 95th | resident "
        "| an hour of talk |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for linguist, rows in report["runs"].items():
        for row in rows:
            total, queue = (row["ms_p50_p95_p99"][stage] for stage in ("total", "queue"))
            low, high = row["ms_p95_interval"]
            cells = (
                LINGUISTS[linguist], row["streams"], row["segments"], row["dropped"], f"{total[0]:.0f} ms",
                f"{total[1]:.0f} ms [{low:.0f}, {high:.0f}]", f"{queue[1]:.0f} ms", f"{row['rss_mb']} MB",
                f"{row['cpu_s_per_hour_of_audio']:.0f} s of processor",
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def loaded(options: argparse.Namespace, folder: Path, linguist: str) -> list[dict[str, Any]]:
    """More and more streams until the 95th percentile passes the limit."""
    rng, rows = random.Random(options.seed), []
    for count in map(int, options.streams.split(",")):
        recordings = [folder / f"{count}-{n}.flac" for n in range(count)]
        for path in recordings:
            spoken = talk(options.speech, tuple(options.corpora.split(",")), options.seconds, rng)
            soundfile.write(path, spoken, 16_000)
        row = summary(run(recordings, folder, linguist))
        rows.append(row)
        stages = "  ".join(f"{stage} {row['ms_p50_p95_p99'][stage][1]:.0f}" for stage in (*STAGES, "received"))
        print(
            f"linguist {linguist}, {count} streams, {row['segments']} segments, {row['dropped']} dropped, "
            f"total p50 {row['ms_p50_p95_p99']['total'][0]:.0f}, p95 in ms: {stages}; "
            f"{row['cpu_s_per_hour_of_audio']} CPU s an hour, {row['rss_mb']} MB",
            flush=True,
        )
        if row["ms_p50_p95_p99"]["total"][1] > LIMIT_MS:
            break
    return rows


if __name__ == "__main__":
    main()
