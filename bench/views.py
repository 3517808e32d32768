"""What the live view costs, and how big and how quick a recording's page is: `make bench-views`.

The view: processor time, bytes written to the terminal and memory of `sadstream watch` in 80x24 beside a fake daemon
that talks as fast as people, and twenty times as fast. The page: ten minutes of the bundled scene over and over, scored
by the real models; its bytes, and the seconds from opening it in Debian's Chromium to the second frame drawn.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from sadstream.cli.demo.play import scene_path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the terminal and the browser of the tests

import chromium
from daemon import SADSTREAM, run, start
from playwright.sync_api import sync_playwright
from screens import Terminal

SETTLE_S = 6.0
PAGE_S = 600
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def view(folder: Path, speed: str, seconds: float) -> dict[str, Any]:
    """What one watcher costs."""
    endpoint = f"ipc://{folder}/pub-{speed}"
    fake = start("fake", "--publish", endpoint, "--speed", speed)
    try:
        with Terminal([*SADSTREAM, "watch", endpoint]) as terminal:
            terminal.until("LISTENING")
            terminal.read(SETTLE_S)
            process = psutil.Process(terminal.process.pid)
            before, written = process.cpu_times(), len(terminal.said)
            terminal.read(seconds)
            after = process.cpu_times()
            used = after.user + after.system - before.user - before.system
            return {
                "speed": float(speed),
                "seconds": seconds,
                "cpu_percent": round(100 * used / seconds, 2),
                "bytes_s": round((len(terminal.said) - written) / seconds),
                "rss_mb": round(process.memory_info().rss / 1e6, 1),
            }
    finally:
        fake.kill()
        fake.communicate()


def page(folder: Path, openings: int) -> dict[str, Any]:
    """How big, and how quick."""
    samples, rate = soundfile.read(scene_path())
    recording, out = folder / "ten.flac", folder / "ten.html"
    soundfile.write(recording, np.resize(samples, PAGE_S * rate), rate)
    sizes = {}
    for name, more in (("plain", []), ("words_and_sound", ["--words", "--embed-audio"])):
        done = run("score", str(recording), "--report", str(out), *more)
        assert done.returncode == 0, done.stderr
        sizes[name] = out.stat().st_size
        if name == "plain":
            opened = [*_opened(out, openings)]
    return {
        "audio_s": PAGE_S,
        "segments": len(done.stdout.splitlines()),
        "bytes": sizes,
        "open_s": {"n": openings, "median": statistics.median(opened), "min": min(opened), "max": max(opened)},
    }


def _opened(out: Path, openings: int) -> list[float]:
    found = []
    with sync_playwright() as playwright:
        browser = chromium.launched(playwright)
        for _ in range(openings):
            shown = browser.new_page(viewport={"width": 1180, "height": 900})
            start_s = time.perf_counter()
            shown.goto(out.as_uri())
            shown.evaluate(DRAWN)
            found.append(round(time.perf_counter() - start_s, 2))
            shown.close()
        browser.close()
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--openings", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sadstream-") as name:
        folder = Path(name)
        figures = {
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
            "watch": [view(folder, speed, options.seconds) for speed in ("1", "20")],
            "page": page(folder, options.openings),
        }
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
