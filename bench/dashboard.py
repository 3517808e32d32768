"""How quick the dashboard is, in Debian's Chromium: `make bench-dashboard`.

Each figure is of a person's side of the screen, with the machine's own clock at both ends: from a score's moment until
the page shows it; from a new daemon's first event until the page shows that; from the request to a drawn history of
200,000 scores in seven days, by a server that has just started and by one that has been looked at before; from a press
to another span drawn.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chromium
from playwright.sync_api import Browser, sync_playwright

SPEED = "12"
REST_S = 4.0  # before a warm opening, so that the server has read its journal


def told(seconds: list[float]) -> dict[str, Any]:
    """How many, the median and the most, in milliseconds."""
    return {
        "n": len(seconds),
        "p50_ms": round(1000 * statistics.median(seconds), 1),
        "max_ms": round(1000 * max(seconds), 1),
    }


def live(browser: Browser, folder: Path, scores: int, turns: int) -> dict[str, Any]:
    """Delays of scores, and of the first event after a restart."""
    endpoint = f"ipc://{folder}/pub"
    with chromium.dashboard(endpoint) as address:
        page = browser.new_page()
        with chromium.running("fake", "--publish", endpoint, "--speed", SPEED) as daemon:
            page.goto(address)
            page.wait_for_selector("#now-p[data-seq]")
            found = chromium.delays(page, endpoint, 120.0, scores)
            again = list(chromium.restarted(page, endpoint, daemon, "--speed", SPEED))
        for _ in range(turns - 1):
            with chromium.running("fake", "--publish", endpoint, "--speed", SPEED) as daemon:
                page.wait_for_selector("#state-name >> text=listening")
                page.wait_for_timeout(1500)
                again += chromium.restarted(page, endpoint, daemon, "--speed", SPEED)
        page.close()
    return {"a score until it is seen": told(found), "a new daemon until it is seen": told(again)}


def week(browser: Browser, journal: Path, turns: int) -> dict[str, Any]:
    """A week opened cold and warm, and a day of it."""
    cold, warm, zoom = [], [], []
    for _ in range(turns):
        with chromium.dashboard("ipc:///nowhere/pub", "--journal", str(journal)) as address:
            page = browser.new_page()
            cold.append(chromium.opened(page, address))
            page.close()
            time.sleep(REST_S)
            page = browser.new_page()
            warm.append(chromium.opened(page, address))
            zoom += [chromium.zoomed(page, f"[data-span='{span}']") for span in ("86400", "21600", "604800")]
            page.close()
    return {
        "7 days opened, the server just started": told(cold),
        "7 days opened, the server warm": told(warm),
        "another span drawn": told(zoom),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=int, default=200)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = chromium.launched(playwright)
        journal = chromium.made_journal(Path(folder) / "week.sqlite")
        figures = live(browser, Path(folder), arguments.scores, arguments.turns)
        figures |= week(browser, journal, arguments.turns)
        report = {
            "figures": figures,
            "journal_scores": chromium.WEEK_SCORES,
            "chromium": browser.version,
            "python": platform.python_version(),
            "starlette": version("starlette"),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
        }
        browser.close()
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def table(figures: dict[str, Any]) -> str:
    """The figures as docs/dashboard.md shows them."""
    rows = [f"| {name} | {f['n']} | {f['p50_ms']:,.0f} | {f['max_ms']:,.0f} |" for name, f in figures.items()]
    return "\n".join(["| from ... to | n | p50, ms | max, ms |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
