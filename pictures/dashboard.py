"""The pictures of the dashboard in docs/: `make screenshots`. Five minutes of `sadstream fake`, a week of its script.

Made-up numbers, as the fake makes them: a journal of seven days is filled from its script at the hours at which people
talk, then the page is opened while a fake plays in another process, dark, light, and as wide as a phone.
"""

import argparse
import math
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import chromium
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from wire import a_score

from sadstream.events import Score
from sadstream.events.journal import Journal
from sadstream.testing.made_up import BIAS_LOGIT
from sadstream.testing.story import THRESHOLD, ScoreStep, script

LIVE_S = 300.0
TALK = {7: 0.3, 8: 0.6, 9: 0.4, 12: 0.6, 13: 0.5, 16: 0.2, 17: 0.5, 18: 0.8, 19: 0.9, 20: 0.8, 21: 0.6, 22: 0.3}
MOST_BYTES = 300_000
COLOURS = 192  # a page has a dozen, and their edges
PICTURES = {
    "dark": ({"width": 1440, "height": 900}, 1, "dark", None),
    "light": ({"width": 1440, "height": 900}, 1, "light", None),
    "phone": ({"width": 390, "height": 844}, 2, "dark", 1320),
}


def week(seed: int) -> Iterator[Score]:
    """Seven days up to now, a stretch of the script at a time."""
    rng = random.Random(seed)
    segments = [step for step in islice(script(seed), 60_000) if isinstance(step, ScoreStep)]
    now = datetime.now().astimezone()
    begin = (now - timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    seq = 0
    for hour in range(7 * 24 + 1):
        when = begin + timedelta(hours=hour)
        for _ in range(4):
            when += timedelta(minutes=rng.uniform(3, 12))
            if rng.random() > TALK.get(when.hour, 0.02):
                continue
            first = rng.randrange(len(segments) - 60)
            spoken_s = segments[first].t_start
            for segment in segments[first : first + rng.randrange(8, 45)]:
                moment = when + timedelta(seconds=abs(segment.t_end - spoken_s))
                if moment < now:
                    yield scored(segment, seq, moment)
                    seq += 1


def scored(segment: ScoreStep, seq: int, moment: datetime) -> Score:
    """A segment of the script as the journal keeps it."""
    p_sad = 1.0 / (1.0 + math.exp(-(BIAS_LOGIT + segment.audio_logit + segment.text_logit)))
    return replace(
        a_score(seq),
        time=moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        bias_logit=BIAS_LOGIT,
        audio_logit=segment.audio_logit,
        text_logit=segment.text_logit,
        text_used=segment.text_used,
        text_reason="none" if segment.text_used else "low-confidence",
        p_sad=p_sad,
        threshold=THRESHOLD,
        sad=p_sad >= THRESHOLD,
        mood=segment.mood,
    )


def taken(browser: Browser, address: str, name: str, out: Path) -> None:
    """One picture, small enough for a page of documentation."""
    size, scale, scheme, height = PICTURES[name]
    context = browser.new_context(viewport=size, device_scale_factor=scale, color_scheme=scheme)
    page = context.new_page()
    chromium.opened(page, address)
    page.wait_for_selector(".episodes summary")
    page.wait_for_timeout(1500)
    page.evaluate("() => document.querySelector('.episodes details').setAttribute('open', '')")
    whole = page.evaluate("() => document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(whole, height or whole)}
    path = out / f"dashboard-{name}.png"
    page.screenshot(path=path, full_page=True, clip=clip)
    context.close()
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES, f"{path}: {path.stat().st_size} bytes"
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    """Play, open, take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seconds", type=float, default=LIVE_S)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        endpoint, path = f"ipc://{folder}/pub", Path(folder) / "week.sqlite"
        journal = Journal(path, keep_days=30)
        scores = sorted(week(seed=3), key=lambda score: score.time)
        for at in range(0, len(scores), 1000):
            journal.write(scores[at : at + 1000])
        journal.close()
        with (
            chromium.running("fake", "--publish", endpoint, "--seed", "3"),
            chromium.dashboard(endpoint, "--journal", str(path)) as address,
        ):
            time.sleep(arguments.seconds)
            browser = chromium.launched(playwright)
            for name in PICTURES:
                taken(browser, address, name, arguments.out)
            browser.close()


if __name__ == "__main__":
    main()
