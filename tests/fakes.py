"""Stand-ins for what a test does not mean to test: voices, analysers, sources.

Run as a program it is a whole daemon with a fake analyser: `python fakes.py run load=2,words=hello --source mic`.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import capturing
from analysing import Each, analysis
from capturing import quiet, talk, voice  # noqa: F401  for who imports them with the rest

from sadstream.audio.filters.framing import Framer
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.microphone import Microphone
from sadstream.audio.sources.source import Item, SourceChange, Stopped
from sadstream.cli import main as cli
from sadstream.config import Config, parse
from sadstream.daemon import run
from sadstream.daemon.messages import Load, LoadedAnalyzer, ModelsReady, OnDegraded
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.events import E, Score
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.fusion.voices import STEP, Voices

READY = ModelsReady("fake", "cpu", "Apache-2.0", terms="")


def some_voices(**changes: float) -> Voices:
    """Voices that differ by 1 around -1, whose sad segments lie 1.6 above their others, each with a deviation of .8."""
    first = -6.0
    known = {"mean": -1.0, "deviation": 1.0, "within": 0.8, "tempered": 1.0, "stays_s": 3600.0, **changes}

    def density(mean: float) -> tuple[float, ...]:
        places = (first + n * STEP - mean for n in range(73))
        return tuple(1e-3 + math.exp(-0.5 * (place / 0.8) ** 2) / (0.8 * math.sqrt(2 * math.pi)) for place in places)

    return Voices(first=first, talk=density(0.0), sad=density(1.6), **known)


def fake_load(analyze: Callable[[Segment], Analysis | UnscoredSegment] = analysis, load_s: float = 0.0) -> Load:
    """Models that take `load_s` to load and then do what `analyze` does."""

    def load(_say: OnDegraded) -> LoadedAnalyzer:
        time.sleep(load_s)
        return LoadedAnalyzer(Each(analyze), READY)

    return load


def slow(seconds: float) -> Callable[[Segment], Analysis]:
    """An analyser that takes this long a segment."""

    def analyze(segment: Segment) -> Analysis:
        time.sleep(seconds)
        return analysis(segment)

    return analyze


class FakeSource:
    """A source that says what it was given, at once; then it ends, or waits for the stop."""

    def __init__(self, items: Callable[[], Iterator[Item]], live: bool = True, stays: bool = False) -> None:
        self.live = live
        self.speed = None
        self._items = items
        self._stays = stays

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """The items."""
        for item in self._items():
            if stopped():
                return
            yield item
        while self._stays and not stopped():
            time.sleep(0.01)


def spoken(pcm: bytes) -> Callable[[], Iterator[Item]]:
    """A source's items: it listens, then this audio."""

    def items() -> Iterator[Item]:
        yield SourceChange("listening", "none")
        yield from Framer().feed(pcm, time.monotonic())

    return items


def config(folder: Path, streams: tuple[str, ...] = ("mic",), **tables: dict[str, object]) -> Config:
    """A configuration that publishes in the test's own folder."""
    stream = [{"name": name} for name in streams]
    return parse({"stream": stream, "publish": {"endpoint": f"ipc://{folder}/pub"}} | tables, "test")


# --- as a program -----------------------------------------------------------------------------------------------


def run_main(arguments: list[str]) -> None:
    """The whole daemon with a fake analyser: `--fake k=v,...` then what `sadstream run` takes."""
    options = dict(part.split("=", 1) for part in arguments[0].split(",") if part)
    load_s, busy_s = float(options.get("load", 0)), float(options.get("busy", 0))

    def analyze(segment: Segment) -> Analysis:
        if segment.number == int(options.get("hang-at", -1)):
            time.sleep(3600)
        if segment.number == int(options.get("fail-at", -1)):
            raise ValueError(f"cannot work on {options.get('words', '')!r}")
        time.sleep(busy_s)
        return analysis(segment, options.get("words", ""))

    def with_fakes(*positional: object, **named: object) -> None:
        run_daemon(*positional, **named, loader=lambda _config, _patient: fake_load(analyze, load_s))  # type: ignore[arg-type]

    run_daemon, run.run_daemon = run.run_daemon, with_fakes  # type: ignore[assignment]
    if "capture" in options:
        sys.modules["sadstream.audio.sources.opening"].Microphone = partial(  # type: ignore[attr-defined]
            Microphone, command=[sys.executable, capturing.__file__, options["capture"]]
        )
    if "publish-hang-at" in options:
        send = Publisher.send

        def hang(publisher: Publisher, event: E) -> E:
            if isinstance(event, Score) and event.segment == int(options["publish-hang-at"]):
                time.sleep(3600)
            return send(publisher, event)

        Publisher.send = hang  # type: ignore[method-assign, assignment]
    sys.argv = ["sadstream", "run", *arguments[1:]]
    cli.main()


if __name__ == "__main__":
    run_main(sys.argv[2:])
