"""What the daemon takes of a small machine, with and without words, on two cores and on one.

    python bench/small.py [--starts 5] [--json docs/bench-small.json]

Each start is the daemon as its users run it, in a process of its own, over the bundled scene at the pace of speech:
seconds from the command to the first `listening`, the most memory that it had resident, processor seconds, and what
each segment took from its last sample to its score. The settings take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sadstream.cli.demo.play import scene_path
from sadstream.client import subscribe
from sadstream.events import Score, Status

START_S = 180.0
SETTINGS = {
    "as shipped": "",
    "no second model for languages": '[whisper]\nlinguist = "off"\n',
    "words off": '[text]\nencoder = "off"\n',
}
CORES: dict[str, list[str]] = {"two cores": [], "one core": ["taskset", "-c", "0"]}


def start(setting: str, cores: list[str]) -> dict[str, Any]:
    """One start, over the whole scene."""
    with tempfile.TemporaryDirectory(prefix="sadstream-") as folder:
        config = Path(folder) / "small.toml"
        config.write_text(f'{setting}[publish]\nendpoint = "ipc://{folder}/pub"\n')
        command = [sys.executable, "-m", "sadstream", "run", "--source", str(scene_path()), "--config", str(config)]
        begun_s = time.monotonic()
        daemon = subprocess.Popen(
            [*cores, *command, "--wait-subscriber", "60"],
            stderr=subprocess.DEVNULL,
        )
        found: dict[str, Any] = {"latency_ms": [], "rss_mb": 0.0}
        try:
            with subscribe(f"ipc://{folder}/pub", timeout_s=START_S) as events:
                for event in events:
                    if isinstance(event, Score):
                        found["latency_ms"].append(event.latency_ms.total)
                    elif isinstance(event, Status) and event.state == "listening":
                        found.setdefault("ready_s", time.monotonic() - begun_s)
                    elif isinstance(event, Status) and event.state == "stopping":
                        break
                    found["rss_mb"] = max(found["rss_mb"], peak_mb(daemon.pid))
            _, status, used = os.wait4(daemon.pid, 0)
            daemon.returncode = os.waitstatus_to_exitcode(status)
            assert daemon.returncode == 0
            return found | {"cpu_s": used.ru_utime + used.ru_stime}
        finally:
            if daemon.returncode is None:
                daemon.kill()
                daemon.wait()


def peak_mb(pid: int) -> float:
    """The most that a process had resident; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:")), 0.0)


def row(name: str, cores: str, starts: list[dict[str, Any]]) -> str:
    """A setting's medians, with the lowest and the highest start; of latencies the median and the largest segment's."""
    waits = sorted(wait for one in starts for wait in one["latency_ms"])
    cells = [
        spread([one[key] for one in starts], digits) for key, digits in (("ready_s", 1), ("rss_mb", 0), ("cpu_s", 1))
    ]
    return (
        f"| {name}, {cores} | {' | '.join(cells)} | {statistics.median(waits):.0f} | {waits[-1]:.0f} | {len(waits)} |"
    )


def spread(values: list[float], digits: int) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(report: dict[str, Any]) -> str:
    """The report as a table of the page."""
    head = "|  | ready, s | memory, MB | processor, s | median time of a segment, ms | longest, ms | segments |"
    return "\n".join(
        [head, f"|{' --- |' * 7}", *(row(one["setting"], one["cores"], one["starts"]) for one in report["rows"])]
    )


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [{"setting": name, "cores": cores, "starts": []} for cores in CORES for name in SETTINGS]
    for _ in range(arguments.starts):
        for one in rows:
            one["starts"].append(start(SETTINGS[one["setting"]], CORES[one["cores"]]))
    report = {"load": os.getloadavg()[0], "cores": os.cpu_count(), "rows": rows}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
