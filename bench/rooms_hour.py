"""Many rooms for an hour, in each of which somebody talks a fifth of the time: latency, drops, memory, processor.

    python bench/rooms_hour.py SPEECH_DIR [--streams 16] [--minutes 60] [--json FILE] [--write]

SPEECH_DIR is as for bench/streams.py. Each stream has an order of its own, by seed: an utterance, then a pause whose
mean makes up the share of talk, with faint noise under all of it. The daemon runs as its users run it, in real time.
"""

import argparse
import csv
import json
import os
import random
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
from quantiles import quantile
from streams import START_S, memory_mb, processor_s, service_allocator

from sadstream.client import subscribe
from sadstream.events import Score, Status

RATE = 16_000
NOISE_DBFS = -65.0
LONGEST_S = 15.0  # utterance
WINDOW_S = 600.0
SHARES = (0.5, 0.95, 0.99)
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- rooms -->", "<!-- end of rooms -->"


@dataclass(frozen=True, slots=True)
class Window:
    """Some minutes of the run; memory and processor are the daemon's."""

    minutes: str
    segments: int
    ms_p50_p95_p99: tuple[float, ...]  # from a segment's end to its event
    dropped: int
    rss_mb: float  # at its end
    processor_percent: float  # of a core


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at a moment."""

    at_s: float
    processor_s: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a run: when each score came and how late, how many were dropped by then, and the daemon's cost."""

    scores: list[tuple[float, float]]
    drops: list[tuple[float, int]]
    samples: list[Sample]


def room(rows: list[Path], seconds: float, talk: float, rng: random.Random, path: Path) -> float:
    """Write a room's hour; the share of it that is talk."""
    noise, spoken, written = np.random.default_rng(rng.randrange(2**32)), 0, 0
    wanted = int(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while written < wanted:
            said, rate = soundfile.read(rng.choice(rows), dtype="float32", always_2d=True)
            if rate != RATE:
                continue
            said = said.mean(axis=1)[: int(LONGEST_S * RATE)]
            pause = round(rng.uniform(0.0, 2.0) * said.size * (1 - talk) / talk)
            part = np.concatenate([np.zeros(pause, dtype=np.float32), said])[: wanted - written]
            spoken += max(0, part.size - pause)
            part += (noise.standard_normal(part.size) * 10 ** (NOISE_DBFS / 20)).astype(np.float32)
            file.write(part)
            written += part.size
    return spoken / wanted


def listen(recordings: list[Path], folder: Path, linguist: str) -> Heard:
    """One run of the daemon over these recordings in real time."""
    streams = "".join(f"[[stream]]\nname = 's{n}'\nsource = '{path}'\n" for n, path in enumerate(recordings))
    config = folder / "rooms.toml"
    config.write_text(f"{streams}[whisper]\nlinguist = '{linguist}'\n[publish]\nendpoint = 'ipc://{folder}/pub'\n")
    command = [sys.executable, "-m", "sadstream", "run", "--config", str(config), "--wait-subscriber", str(START_S)]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | service_allocator())
    heard, dropped, ended = Heard([], [], []), dict[str, int](), 0
    try:
        for event in subscribe(f"ipc://{folder}/pub", timeout_s=START_S + 100_000):
            now_s = time.monotonic()
            if isinstance(event, Score):
                heard.scores.append((now_s, event.latency_ms.total))
            elif isinstance(event, Status):
                if event.dropped > dropped.get(event.stream, 0):
                    heard.drops.append((now_s, event.dropped - dropped.get(event.stream, 0)))
                    dropped[event.stream] = event.dropped
                ended += event.state == "stopping"
                if ended == len(recordings):
                    break
                if event.state == "listening" and (not heard.samples or now_s - heard.samples[-1].at_s > 1.0):
                    heard.samples.append(Sample(now_s, processor_s(daemon.pid), memory_mb(daemon.pid, "Rss")))
        daemon.wait(30)
    finally:
        daemon.kill()
        daemon.wait()
    heard.samples[:] = [one for one in heard.samples if one.rss_mb and one.processor_s]
    return heard


def window(heard: Heard, minutes: str, from_s: float, to_s: float) -> Window:
    """What came to pass between two moments."""
    found = [ms for at_s, ms in heard.scores if from_s <= at_s < to_s]
    samples = [one for one in heard.samples if from_s <= one.at_s < to_s] or heard.samples[-1:]
    first, last = samples[0], samples[-1]
    took_s = max(last.at_s - first.at_s, 1e-9)
    return Window(
        minutes=minutes,
        segments=len(found),
        ms_p50_p95_p99=tuple(round(quantile(found, share)) for share in SHARES) if found else (),
        dropped=sum(count for at_s, count in heard.drops if from_s <= at_s < to_s),
        rss_mb=round(last.rss_mb),
        processor_percent=round(100 * (last.processor_s - first.processor_s) / took_s, 1),
    )


def windows(heard: Heard) -> list[Window]:
    """Ten minutes each, and all of them."""
    start_s = heard.samples[0].at_s
    end_s = max(heard.samples[-1].at_s, *(at_s for at_s, _ in heard.scores)) + 1.0
    count = max(1, round((end_s - start_s) / WINDOW_S))
    parts = [
        window(
            heard, f"{round(n * WINDOW_S / 60)} to {round(min((n + 1) * WINDOW_S, end_s - start_s) / 60)}",
            start_s + n * WINDOW_S, end_s if n == count - 1 else start_s + (n + 1) * WINDOW_S,
        )
        for n in range(count)
    ]  # fmt: skip
    return [*parts, window(heard, "all", start_s, end_s)]


def markdown(report: dict[str, Any]) -> str:
    """What was done, and a table."""
    lines = [
        f"{report['streams']} streams for {report['minutes']:g} minutes, {100 * report['talk']:.0f} % of it talk; "
        f"{told(Circumstances(**report['machine']))}; {report['rss_mb_at_start']:.0f} MB resident at the start.",
        "",
        "| minutes | segments | median | 95th percentile | 99th | dropped | resident, at its end | processor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in (Window(**one) for one in report["windows"]):
        times = [f"{ms:.0f} ms" for ms in part.ms_p50_p95_p99] or ["", "", ""]
        cells = (part.minutes, part.segments, *times, part.dropped, f"{part.rss_mb:.0f} MB")
        lines.append(f"| {' | '.join(map(str, cells))} | {part.processor_percent:.0f} % of a core |")
    return "\n".join(lines)


def main() -> None:
    """Make the rooms, hear them, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("speech", type=Path)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--talk", type=float, default=0.2, help="share of the time")
    parser.add_argument("--linguist", default="auto")
    parser.add_argument("--corpora", default="librispeech_test_other,librispeech_train_clean_untranscribed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    with (options.speech / "manifest.csv").open(newline="") as file:
        wanted = options.corpora.split(",")
        rows = [options.speech / row["path"] for row in csv.DictReader(file) if row["corpus"] in wanted]
    machine = circumstances()
    with tempfile.TemporaryDirectory(prefix="sadstream-") as name:
        folder = Path(name)
        recordings = [folder / f"{n}.flac" for n in range(options.streams)]
        shares = [
            room(rows, 60 * options.minutes, options.talk, random.Random(f"{options.seed} {n}"), path)
            for n, path in enumerate(recordings)
        ]
        heard = listen(recordings, folder, options.linguist)
    report = {
        "machine": asdict(machine),
        "streams": options.streams,
        "minutes": options.minutes,
        "talk": round(sum(shares) / len(shares), 3),
        "linguist": options.linguist,
        "rss_mb_at_start": round(heard.samples[0].rss_mb),
        "windows": [asdict(part) for part in windows(heard)],
    }
    print(markdown(report), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.write:
        put(PAGE, BEGIN, END, markdown(report))


if __name__ == "__main__":
    main()
