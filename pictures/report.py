"""docs/report.png: the page of a recording, as Chromium draws it.

python pictures/report.py RECORDING OUT.png
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1180, 1180  # down to the end of the drawings


def main(recording: Path, out: Path) -> None:
    """Score the recording and take the picture of its page."""
    with tempfile.TemporaryDirectory(prefix="sadstream-") as folder, sync_playwright() as playwright:
        page = Path(folder) / "report.html"
        command = [sys.executable, "-m", "sadstream", "score", str(recording), "--report", str(page), "--words"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        shown.goto(page.as_uri())
        shown.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
