"""What it costs to let models go: the first segment after a rest, beside the same one with models that stayed.

    python bench/release.py SPEECH_DIR [--utterances 12] [--linguist off] [--json FILE]

SPEECH_DIR is as for bench/streams.py. One recording of utterances of LENGTHS_S in turn, PAUSE_S of faint noise before
each, is heard twice by a daemon at the pace of speech: with `[compute] release_after_s = 10` and without.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from streams import START_S, memory_mb, service_allocator, talk

from sadstream.client import subscribe
from sadstream.events import Score, Status

RATE = 16_000
LENGTHS_S = (0.8, 1.5, 2.5, 3.5)
PAUSE_S = 13.0  # the models go after ten
AWAKE_S = 6.0  # since the last score: still in memory
RESTED_S = 9.0  # about to be let go: the least from now on is that of the rest


def recording(folder: Path, corpora: tuple[str, ...], utterances: int, rng: random.Random, path: Path) -> None:
    """Pauses and utterances in turn."""
    noise = np.random.default_rng(0)
    parts: list[Any] = []
    for n in range(utterances):
        parts.append(1e-4 * noise.standard_normal(int(PAUSE_S * RATE)))
        parts.append(talk(folder, corpora, 5.0, rng)[RATE // 2 :][: int(LENGTHS_S[n % len(LENGTHS_S)] * RATE)])
    parts.append(1e-4 * noise.standard_normal(2 * RATE))
    soundfile.write(path, np.concatenate(parts).astype(np.float32), RATE)


def run(path: Path, folder: Path, linguist: str, release: bool) -> dict[str, Any]:
    """The first segment after each pause, in ms from its end to its event, by where it began; and memory."""
    rest = "release_after_s = 10\n" if release else ""
    config = folder / f"{release}.toml"
    config.write_text(
        f"[[stream]]\nsource = '{path}'\n[compute]\n{rest}[whisper]\nlinguist = '{linguist}'\n"
        f"[publish]\nendpoint = 'ipc://{folder}/pub'\n[service]\nheartbeat_s = 0.5\n"
    )
    command = [sys.executable, "-m", "sadstream", "run", "--config", str(config), "--wait-subscriber", str(START_S)]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | service_allocator())
    first_ms: dict[float, float] = {}
    awake_mb: list[float] = []
    rested_mb: dict[float, float] = {}  # the least in each pause, by where it began
    scored_s = ended_s = 0.0
    try:
        for event in subscribe(f"ipc://{folder}/pub", timeout_s=START_S + 1000):
            now_s = time.monotonic()
            if isinstance(event, Score):
                if event.t_start - ended_s > PAUSE_S / 2:
                    first_ms[event.t_start] = event.latency_ms.total
                scored_s, ended_s = now_s, event.t_end
            elif isinstance(event, Status) and event.state == "stopping":
                break
            elif isinstance(event, Status) and scored_s:
                quiet_s = now_s - scored_s
                if quiet_s < AWAKE_S:
                    awake_mb.append(memory_mb(daemon.pid, "Rss"))
                elif quiet_s > RESTED_S:
                    found_mb = memory_mb(daemon.pid, "Rss")
                    rested_mb[ended_s] = min(found_mb, rested_mb.get(ended_s, found_mb))
        daemon.wait(30)
    finally:
        daemon.kill()
        daemon.wait()
    return {
        "first_ms": first_ms,
        "awake_mb": round(statistics.median(awake_mb)),
        "awake_last_mb": round(awake_mb[-1]),
        "rested_mb": round(statistics.median(rested_mb.values())),
    }


def main() -> None:
    """Hear it twice and compare segment by segment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("speech", type=Path)
    parser.add_argument("--utterances", type=int, default=12)
    parser.add_argument("--linguist", default="off")
    parser.add_argument("--corpora", default="librispeech_test_other,librispeech_train_clean_untranscribed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sadstream-") as name:
        folder, path = Path(name), Path(name) / "talk.flac"
        recording(options.speech, tuple(options.corpora.split(",")), options.utterances, random.Random(0), path)
        rested = run(path, folder, options.linguist, release=True)
        stayed = run(path, folder, options.linguist, release=False)
    both = sorted(rested["first_ms"].keys() & stayed["first_ms"].keys())
    more = sorted(rested["first_ms"][at] - stayed["first_ms"][at] for at in both)
    report = {
        "linguist": options.linguist,
        "n": len(both),
        "segments_rested_stayed": [len(rested["first_ms"]), len(stayed["first_ms"])],
        "stayed_ms_median": round(statistics.median(stayed["first_ms"].values())),
        "more_ms_median_worst": [round(statistics.median(more)), round(more[-1])],
        "more_ms": [round(one) for one in more],
        "resident_mb_awake_rested_awake_again": [rested["awake_mb"], rested["rested_mb"], rested["awake_last_mb"]],
    }
    print(json.dumps(report), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
