"""docs/watch.svg: the live view of `sadstream fake`, as a terminal of 80x24 shows it.

python pictures/watch.py OUT.svg
"""

import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from sadstream.client import subscribe
from sadstream.events import Score
from sadstream.views.watch.glyphs import BLOCKS
from sadstream.views.watch.screen import Screen

COLUMNS, ROWS = 80, 24
SPEED = "30"
SCORES = 92  # the second round, in the middle of its episode: the first one's silence and restart are in sight
SHOWN_ENDPOINT = "tcp://127.0.0.1:5556"
PAPER = TerminalTheme(
    (20, 24, 27), (230, 233, 235),
    [
        (60, 69, 76), (229, 115, 115), (79, 201, 134), (226, 192, 74), (127, 180, 245), (195, 160, 234), (79, 201, 184),
        (230, 233, 235),
    ],
)  # fmt: skip
# Rich's own frame asks a host for its font; this one is content with the reader's.
CELL_WIDTH, CELL_HEIGHT, MARGIN = 12.2, 24.4, 12  # of rich's drawing, and around it
FRAME = """<svg viewBox="0 0 WIDTH HEIGHT" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 21px; line-height: {line_height}px; white-space: pre; }}
{styles}
</style>
<rect width="WIDTH" height="HEIGHT" rx="8" fill="#14181b"/>
<g transform="translate(12, 12)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""  # noqa: E501


def seen(endpoint: str) -> Screen:
    """The view of a daemon, once it has said enough."""
    screen, scores = Screen(SHOWN_ENDPOINT), 0
    for item in subscribe(endpoint, timeout_s=120.0, replay=200):
        screen.feed(item, time.monotonic())
        scores += isinstance(item, Score)
        if scores == SCORES:
            return screen
    raise SystemExit("the fake daemon did not say enough in 120 s")


def main(out: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory(prefix="sadstream-") as folder:
        endpoint = f"ipc://{folder}/pub"
        fake = subprocess.Popen([sys.executable, "-m", "sadstream", "fake", "--publish", endpoint, "--speed", SPEED])
        try:
            screen = seen(endpoint)
        finally:
            fake.terminate()
            fake.wait()
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, height=ROWS, force_terminal=True, highlight=False)
    for row in screen.frame(COLUMNS, ROWS, time.monotonic(), BLOCKS):
        console.print(row)
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, ROWS * CELL_HEIGHT + 2 * MARGIN
    frame = FRAME.replace("WIDTH", f"{width:g}").replace("HEIGHT", f"{height:g}")
    out.write_text(console.export_svg(title="", theme=PAPER, code_format=frame, unique_id="watch"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
