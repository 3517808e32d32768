"""Stand-ins for what a test does not mean to test: voices, analysers, sources, capture processes.

Run as a program it is a whole daemon with a fake analyser (`python fakes.py run load=2,words=hello --source mic`) or a
capture process that behaves as badly as asked (`python fakes.py capture hang`).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.audio.filters.framing import Framer
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import Unscored
from sadstream.audio.sources.microphone import Microphone
from sadstream.audio.sources.source import Item, SourceChange, Stopped
from sadstream.base.samples import SAMPLE_RATE, to_pcm
from sadstream.cli import main as cli
from sadstream.config import Config, parse
from sadstream.daemon import run
from sadstream.daemon.messages import Load, Loaded, Ready, Say
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.events import E, Score
from sadstream.scoring.analysis import Analysis, Early
from sadstream.scoring.whisper.recognizer import Transcript

READY = Ready("fake", "cpu", "Apache-2.0", terms="")


def voice(seconds: float, dbfs: float = -20.0) -> NDArray[np.float32]:
    """Something that WebRTC's detector takes for speech: 24 harmonics whose pitch and loudness wander."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 3 * t)) / SAMPLE_RATE
    x = sum(np.sin(k * phase) / k for k in range(1, 25)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    return np.asarray(x / np.sqrt(np.mean(x**2)) * 10 ** (dbfs / 20), dtype=np.float32)


def quiet(seconds: float) -> NDArray[np.float32]:
    """A room: noise at -70 dBFS, which no detector takes for speech and nobody takes for a muted microphone."""
    noise = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE))
    return np.asarray(noise * 10 ** (-70 / 20), dtype=np.float32)


def talk(turns: int, seconds: float = 2.0, pause_s: float = 1.0) -> NDArray[np.float32]:
    """Turns of voice with pauses between: as many segments, where a turn is shorter than 3 s."""
    return np.concatenate([np.concatenate([quiet(pause_s), voice(seconds)]) for _ in range(turns)] + [quiet(pause_s)])


def analysis(segment: Segment, text: str = "") -> Analysis:
    """A score that depends on nothing but the segment's number."""
    audio = (segment.number % 7 - 3) / 2
    return Analysis(
        bias_logit=0.0,
        audio_logit=audio,
        text_logit=0.0,
        p_sad=float(1 / (1 + np.exp(-audio))),
        threshold=0.5,
        transcript=Transcript(text, 0.0, 0.0, "none" if text else "off"),
        model="0123456789ab",
        whisper_ms=0.0,
        text_ms=0.0,
        fusion_ms=0.0,
        attention=None,
    )


def fake_load(analyze: Callable[[Segment], Analysis | Unscored] = analysis, load_s: float = 0.0) -> Load:
    """Models that take `load_s` to load and then do what `analyze` does."""

    def load(_say: Say) -> Loaded:
        time.sleep(load_s)
        return Loaded(Each(analyze), READY)

    return load


class Each:
    """An analyser that does to each segment what it was given; nothing is said early."""

    def __init__(self, analyze: Callable[[Segment], Analysis | Unscored]) -> None:
        self._analyze = analyze

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | Unscored]:
        """Their analyses."""
        return [self._analyze(segment) for segment in segments]


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


def capture_main(behaviour: str) -> None:
    """A capture process that behaves as named: it opens, gives voice in real time, then does what it is asked."""

    def open_() -> None:
        print("capture: open 'fake' at 16000 Hz, 1 channel(s)", file=sys.stderr, flush=True)

    def give(seconds: float, speed: float = 1.0, content: bytes | None = None) -> None:
        start, block = time.monotonic(), 480
        for n in range(int(seconds * SAMPLE_RATE / block)):
            time.sleep(max(0.0, start + n * block / SAMPLE_RATE / speed - time.monotonic()))
            os.write(1, sound[n * 2 * block % len(sound) :][: 2 * block] if content is None else content)

    sound = to_pcm(voice(3.0))
    match behaviour.split(":"):
        case ["absent"]:
            print("capture: no capture device", file=sys.stderr)
            sys.exit(69)
        case ["waits"]:
            for line in ("absent: no capture device", "absent: no capture device", "lost: it is another's"):
                print(line, file=sys.stderr, flush=True)
                time.sleep(2.5)  # longer than a device that is there may be silent
            open_()
            give(3600)
        case ["crash"]:
            open_()
            give(0.5)
            raise RuntimeError("read failed")
        case ["hang"]:
            open_()
            give(0.5)
            time.sleep(3600)
        case ["mute-start"]:
            time.sleep(3600)
        case ["noisy"]:
            open_()
            for _ in range(100):
                os.write(2, b"ALSA lib pcm.c:8570:(snd_pcm_recover) underrun occurred\n" * 100)
            give(3600)
        case ["speed", factor]:
            open_()
            give(3600, float(factor))
        case ["level", value]:
            open_()
            give(3600, content=int(value).to_bytes(2, "little", signed=True) * 480)
        case ["backlog"]:
            open_()
            give(1.0)
            time.sleep(1.2)  # shorter than the stall limit
            os.write(1, bytes(64) * 600)
            give(3600)
        case _:
            open_()
            give(3600)


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
        run_daemon(*positional, **named, loader=lambda _config: fake_load(analyze, load_s))  # type: ignore[arg-type]

    run_daemon, run.run_daemon = run.run_daemon, with_fakes  # type: ignore[assignment]
    if "capture" in options:
        sys.modules["sadstream.audio.sources.opening"].Microphone = partial(  # type: ignore[attr-defined]
            Microphone, command=[sys.executable, __file__, "capture", options["capture"]]
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
    if sys.argv[1] == "capture":
        capture_main(sys.argv[2])
    else:
        run_main(sys.argv[2:])
