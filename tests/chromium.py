"""The dashboard as people meet it: processes of their own, Debian's Chromium, and a clock at both ends."""

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from daemon import start
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from wire import a_score

from sadstream.client import subscribe
from sadstream.events import Score, to_json
from sadstream.events.journal import Journal

WEEK_S = 7 * 86_400.0
WEEK_SCORES = 200_000
HERE = Path(__file__).parent
# Every change of what the page says last, with the moment: what a person could have seen, and when.
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const { seq, session } = document.getElementById("now-p").dataset;
    const last = window.seen.at(-1);
    if (seq !== undefined && (!last || last[0] !== session || last[1] !== Number(seq))) {
      window.seen.push([session, Number(seq), Date.now() / 1000]);
    }
  };
  new MutationObserver(look).observe(document.getElementById("now-p"), { attributes: true });
}"""


def path() -> str | None:
    """Where Chromium is, if it is there."""
    return shutil.which("chromium")


def launched(playwright: Playwright, *more: str) -> Browser:
    """The browser; as root it has no sandbox of its own. more: flags."""
    flags = ["--no-sandbox"] if os.getuid() == 0 else []
    return playwright.chromium.launch(executable_path=path(), args=[*flags, *more])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module's tests."""
    with sync_playwright() as playwright:
        found = launched(playwright)
        yield found
        found.close()


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*arguments: str, ready: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A sadstream command in the background, killed at the end; `ready`: once it has said a line."""
    process = start(*arguments, stdout=subprocess.DEVNULL)
    try:
        if ready:
            assert process.stderr is not None
            process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def dashboard(endpoint: str, *more: str, port: int | None = None) -> Iterator[str]:
    """A dashboard's address."""
    port = port or free_port()
    with running("dashboard", "--endpoint", endpoint, "--port", str(port), *more, ready=True):
        yield f"http://127.0.0.1:{port}/"


def opened(page: Page, address: str) -> float:
    """Seconds from the request to a history that is drawn."""
    begun_s = time.monotonic()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("html[data-ready=history]", timeout=30_000)
    return time.monotonic() - begun_s


def zoomed(page: Page, button: str) -> float:
    """Seconds from a press to another span drawn; the button must name another than the one in sight."""
    before = page.get_attribute("#history", "data-drawn")
    begun_s = time.monotonic()
    page.click(button)
    page.wait_for_selector(f"#history:not([data-drawn='{before}'])")
    return time.monotonic() - begun_s


def delays(page: Page, endpoint: str, seconds: float, count: int = 10_000) -> list[float]:
    """For each score of this time that the page showed, seconds between its moment and then."""
    page.evaluate(WATCH)
    said: dict[tuple[str, int], float] = {}
    for item in subscribe(endpoint, timeout_s=seconds, types=("score",)):
        if isinstance(item, Score):
            said[item.session, item.seq] = datetime.fromisoformat(item.time).timestamp()
        if len(said) > count:
            break
    page.wait_for_timeout(300)
    seen: list[tuple[str, int, float]] = page.evaluate("() => window.seen")
    return [seen_s - said[session, seq] for session, seq, seen_s in seen if (session, seq) in said]


def restarted(page: Page, endpoint: str, daemon: subprocess.Popen[str], *arguments: str) -> Iterator[float]:
    """Kill a daemon, start another there; seconds from its first event until the page shows it, then its end."""
    old = page.get_attribute("#state", "data-session")
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(10)
    with running("fake", "--publish", endpoint, *arguments):
        page.wait_for_selector(f"#state:not([data-session='{old}'])", timeout=20_000)
        shown_s = time.time()
        first = float(page.get_attribute("#state", "data-since") or "nan")
        yield shown_s - first


def made_journal(where: Path, scores: int = WEEK_SCORES, until_s: float | None = None) -> Path:
    """A journal of seven days with so many scores, evenly, as the daemon would have written it."""
    writer = Journal(where, keep_days=3650)
    writer.write([a_score(0)])
    writer.close()
    until_s = time.time() if until_s is None else until_s
    rng = random.Random(0)
    samples = [
        to_json(replace(a_score(0, audio_logit=rng.gauss(-0.5, 1.0), mood=rng.random()), time="TIME", session="b" * 16))
        for _ in range(500)
    ]
    with sqlite3.connect(where) as connection:
        connection.execute("DELETE FROM score")
        connection.executemany("INSERT INTO score VALUES (?, 'mic', ?, ?, ?)", _rows(samples, scores, until_s))
    connection.close()
    return where


def _rows(samples: list[str], scores: int, until_s: float) -> Iterator[tuple[Any, ...]]:
    for seq in range(scores):
        time_s = until_s - WEEK_S * (1.0 - (seq + 1) / scores)
        said = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = samples[seq % len(samples)].replace('"TIME"', f'"{said}"', 1).replace('"seq":0', f'"seq":{seq}', 1)
        yield time_s, "b" * 16, seq, event
