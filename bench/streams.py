"""The whole path under load: segment closed to event received, by stage, with more and more paced real-time streams.

    python bench/streams.py SPEECH_DIR [--seconds 60] [--json docs/bench-streams.json]

SPEECH_DIR holds `manifest.csv` (path, corpus) and the recordings it names; their speech is joined to continuous talk,
a different one for each stream. The daemon runs as its users run it, in a process of its own.
Also: cold start to the first `listening`, resident memory, CPU seconds an hour of talk, and what silence costs.
"""

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sadstream.client import subscribe
from sadstream.events import Score, Status

STAGES = ("queue", "vad", "whisper", "text", "fusion", "publish", "total")
LIMIT_MS = 1000.0  # streams are added until the 95th percentile of `total` passes this
TICKS = os.sysconf("SC_CLK_TCK")
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the daemon came to."""

    streams: int
    segments: int
    dropped: int
    start_s: float  # from the command to the first `listening`
    cpu_s: float  # of the daemon while it listened
    audio_s: float  # of all streams together
    rss_mb: float
    latencies: list[dict[str, float]]  # milliseconds by stage, and `received`: publish to receive

    def percentile(self, stage: str, share: float) -> float:
        """The milliseconds below which this share of the segments stayed."""
        values = sorted(latency[stage] for latency in self.latencies)
        return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


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


def run(recordings: list[Path], folder: Path) -> Load:
    """One run of the daemon over these recordings, each a stream at the pace of speech."""
    streams = "".join(f"[[stream]]\nname = 's{n}'\nsource = '{path}'\n" for n, path in enumerate(recordings))
    config = folder / f"{len(recordings)}.toml"
    config.write_text(f"{streams}[publish]\nendpoint = 'ipc://{folder}/pub'\n")
    command = [sys.executable, "-m", "sadstream.cli", "run", "--config", str(config), "--wait-subscriber", str(START_S)]
    begun_s = time.monotonic()
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    start_s = cpu_from_s = rss_mb = 0.0
    latencies, dropped, ended = [], 0, 0
    cpu_s = 0.0
    try:
        for event in subscribe(f"ipc://{folder}/pub", timeout_s=START_S + 10_000):
            if isinstance(event, Score):
                received_ms = 1000 * (time.monotonic() - event.monotonic_s)
                stages = {stage: getattr(event.latency_ms, stage) for stage in STAGES}
                latencies.append(stages | {"received": received_ms})
                dropped = max(dropped, event.dropped)
            elif isinstance(event, Status) and event.state == "listening" and not start_s:
                start_s, cpu_from_s = time.monotonic() - begun_s, processor_s(daemon.pid)
            elif isinstance(event, Status) and event.state == "stopping":
                ended += 1
                if ended == len(recordings):
                    break
            rss_mb = max(rss_mb, resident_mb(daemon.pid))
            cpu_s = max(cpu_s, processor_s(daemon.pid) - cpu_from_s)
        daemon.wait(30)
    finally:
        daemon.kill()
        daemon.wait()
    audio_s = sum(soundfile.info(path).duration for path in recordings)
    return Load(len(recordings), len(latencies), dropped, start_s, cpu_s, audio_s, rss_mb, latencies)


def processor_s(pid: int) -> float:
    """Processor seconds of a process so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) / 1000 if lines else 0.0


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
        "cpu_s_per_hour_of_audio": round(3600 * load.cpu_s / load.audio_s, 1),
        "ms_p50_p95_p99": stages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("speech", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--streams", default="1,2,4,8,16")
    parser.add_argument("--corpora", default="librispeech_test_other,librispeech_train_clean_untranscribed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sadstream-") as name:
        folder = Path(name)
        soundfile.write(folder / "silence.flac", np.zeros(int(options.seconds * 16_000), dtype=np.float32), 16_000)
        silence = run([folder / "silence.flac"], folder)
        idle = 100 * silence.cpu_s / silence.audio_s
        print(f"silence: {idle:.2f} % of a core; start {silence.start_s:.1f} s; {silence.rss_mb:.0f} MB")
        for count in map(int, options.streams.split(",")):
            recordings = []
            for n in range(count):
                path = folder / f"{count}-{n}.flac"
                soundfile.write(
                    path, talk(options.speech, tuple(options.corpora.split(",")), options.seconds, rng), 16_000
                )
                recordings.append(path)
            rows.append(summary(run(recordings, folder)))
            row = rows[-1]
            stages = "  ".join(f"{stage} {row['ms_p50_p95_p99'][stage][1]:.0f}" for stage in (*STAGES, "received"))
            print(f"{count} streams, {row['segments']} segments, {row['dropped']} dropped, p95 in ms: {stages}; "
                  f"{row['cpu_s_per_hour_of_audio']} CPU s an hour, {row['rss_mb']} MB", flush=True)  # fmt: skip
            if row["ms_p50_p95_p99"]["total"][1] > LIMIT_MS:
                break
    report = {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "seconds": options.seconds,
        "idle_percent_of_a_core": round(idle, 2),
        "start_s": round(statistics.median([silence.start_s, *(row["start_s"] for row in rows)]), 2),
        "runs": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
