"""The picture of a browser's microphone in docs/: `make screenshots`. The bundled scene, with real models."""

import argparse
import tempfile
from pathlib import Path

import chromium
from browser_microphone import flags, hearing, scene_wav
from PIL import Image
from playwright.sync_api import sync_playwright

from sadstream.events import DEFAULT_ENDPOINT

SIZE = {"width": 940, "height": 420}
# The last score is a sad one, and somebody talks.
TALKS = """() => document.getElementById("now-p").dataset.sad === "true"
  && Number(document.getElementById("level").getAttribute("aria-valuenow")) > -30"""


def main() -> None:
    """Hear, open, talk, take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/browser.png"))
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        where = Path(folder)
        with hearing(where, 8752, fake=False, endpoint=DEFAULT_ENDPOINT):
            browser = chromium.launched(playwright, *flags(scene_wav(where)))
            page = browser.new_page(viewport=SIZE, color_scheme="dark")
            page.goto("http://127.0.0.1:8752/")
            page.wait_for_selector("#state-name >> text=no-device", timeout=60_000)
            page.click("#go")
            page.wait_for_function(TALKS, timeout=60_000, polling=50)
            page.screenshot(path=out)
            browser.close()
    with Image.open(out) as picture:
        small = picture.convert("RGB").quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(out, optimize=True)
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
