"""What the way through a browser costs a score: the bundled scene as a file, and as Chromium's microphone.

    make bench-browser

Each repeat is a daemon of its own with real models, in real time. Segments are matched in their order, words and
scores compared; then the daemon's thread that hears, and the page's process, with nothing behind them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import chromium
import psutil
from browser_microphone import flags, hearing, scene_wav
from daemon import config_file, heard, scores
from playwright.sync_api import sync_playwright

from sadstream.audio.sources.browser import BrowserMicrophone, BrowserServer
from sadstream.base.samples import FRAME_MS, AudioFrame
from sadstream.cli.demo.play import scene_path
from sadstream.client import subscribe
from sadstream.config import parse
from sadstream.events import Score

SCENE_S = 30.0
EXAMPLE = Path("examples/python/microphone.py")
IN_REAL_TIME = """import sys, time
pcm, begun_s = open(sys.argv[1], "rb").read(), time.monotonic()
for at in range(0, len(pcm), 3200):
    time.sleep(max(0.0, begun_s + at / 32000 - time.monotonic()))
    sys.stdout.buffer.write(pcm[at:at + 3200])
    sys.stdout.flush()
"""


def from_file(folder: Path) -> list[dict[str, Any]]:
    """The scores of the scene's file."""
    words = config_file(folder, "[publish]\ntext = true\n")
    return scores(heard(f"ipc://{folder}/file", "--config", str(words), "--source", str(scene_path())))


def from_browser(folder: Path) -> list[dict[str, Any]]:
    """The scores of the scene through the page."""
    port = chromium.free_port()
    with (
        sync_playwright() as playwright,
        hearing(folder, port, publish="text = true", fake=False),
    ):
        browser = chromium.launched(playwright, *flags(scene_wav(folder)))
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#state-name >> text=no-device", timeout=60_000)
        page.click("#go")
        said = list(subscribe(f"ipc://{folder}/pub", timeout_s=SCENE_S + 5, replay=100, types=("score",)))
        browser.close()
    return [
        {"t_start": one.t_start, "p_sad": one.p_sad, "text": one.text, "latency_ms": {"total": one.latency_ms.total}}
        for one in said
        if isinstance(one, Score)
    ]


def processor(folder: Path) -> dict[str, float]:
    """Milliseconds of processor for a second of sound: of the thread that hears, and of the page's process."""
    port = chromium.free_port()
    config = parse({"stream": [{"source": "browser"}], "web": {"microphone_port": port}}, "bench")
    server = BrowserServer(config)
    server.start()
    (page,) = psutil.Process().children()
    pcm = folder / "scene.raw"
    pcm.write_bytes(scene_wav(folder).read_bytes()[44:])
    # Whatever reads a real microphone gives it at the speed of speech.
    sound = subprocess.Popen([sys.executable, "-c", IN_REAL_TIME, str(pcm)], stdout=subprocess.PIPE)
    command = [sys.executable, str(EXAMPLE), f"ws://127.0.0.1:{port}/v1/audio"]
    example = subprocess.Popen(command, stdin=sound.stdout, stdout=subprocess.DEVNULL)
    frames, begun_s = 0, 0.0
    for item in BrowserMicrophone(server.line("mic"), config.service).listen(lambda: example.poll() is not None):
        if isinstance(item, AudioFrame):
            if not frames:
                begun_s, spent = time.thread_time(), sum(page.cpu_times()[:2])
            frames += 1
    seconds = frames * FRAME_MS / 1000
    found = {
        "thread_ms": 1000 * (time.thread_time() - begun_s) / seconds,
        "page_ms": 1000 * (sum(page.cpu_times()[:2]) - spent) / seconds,
        "page_mb": page.memory_info().rss / 1e6,
        "seconds": seconds,
    }
    server.close()
    sound.wait()
    return found


def table(report: dict[str, Any]) -> str:
    """The report as docs/browser.md shows it."""
    file, browser, costs = report["file"], report["browser"], report["processor"]
    worst = max(abs(one["p_sad"] - other["p_sad"]) for one, other in pairs(report))
    same = sum(one["text"] == other["text"] for one, other in pairs(report))
    total = len(list(pairs(report)))
    latency = [statistics.median(one["latency_ms"]["total"] for run in runs for one in run) for runs in (file, browser)]
    return "\n".join(
        [
            "| the scene through the browser, beside its file | |",
            "|---|---|",
            f"| scores that differ by how much, at most (n = {total}) | {worst:.3f} |",
            f"| segments with the same words | {same} of {total} |",
            f"| median `latency_ms.total`, file and browser, ms | {latency[0]:.0f} and {latency[1]:.0f} |",
            f"| processor for a second of sound: the daemon's thread that hears, ms | {costs['thread_ms']:.1f} |",
            f"| the same of the page's server, ms | {costs['page_ms']:.1f} |",
            f"| memory of the page's server, MB | {costs['page_mb']:.0f} |",
        ]
    )


def pairs(report: dict[str, Any]) -> Any:
    """Each segment of a browser's run with the file's."""
    for run in report["browser"]:
        yield from zip(run, report["file"][0], strict=True)


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("docs/bench-browser.json"))
    options = parser.parse_args()
    report: dict[str, Any] = {"file": [], "browser": [], "load": [], "python": platform.python_version()}
    for _ in range(options.repeats):
        for name, run in (("file", from_file), ("browser", from_browser)):
            with tempfile.TemporaryDirectory(prefix="sadstream-") as folder:
                report[name].append(run(Path(folder)))
            report["load"].append(round(os.getloadavg()[0], 2))
    with tempfile.TemporaryDirectory(prefix="sadstream-") as folder:
        report["processor"] = processor(Path(folder))
    with sync_playwright() as playwright:
        browser = chromium.launched(playwright)
        report["chromium"] = browser.version
        browser.close()
    for run in (*report["file"], *report["browser"]):
        for one in run:
            for name in set(one) - {"t_start", "p_sad", "text", "latency_ms"}:
                del one[name]
            one["latency_ms"] = {"total": one["latency_ms"]["total"]}
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
