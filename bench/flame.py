"""Where each millisecond goes: of a segment, of the start, of silence, by sampling the running program.

    python bench/flame.py [--seconds 30] [--json docs/bench-flame.json] [--svg docs/flame-segment.svg] [--write]

Needs py-spy (it is among what developers install) and the right to look at one's own processes. A flame graph of
segments is drawn; the shares of all three are those of samples in which a thread ran.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from page import put
from streams import processor_s

RATE_HZ = 250
START_S = 12  # of a daemon's start that are watched
LEAST = 0.02  # share that is worth a line
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- flame -->", "<!-- end of flame -->"
SCENE = Path(__file__).parents[1] / "sadstream/cli/demo/scene/scene.flac"
# What a frame stands for, the first that is met from the outside in; a sample that meets none is the rest.
SEGMENT = (
    ("speech gate", "sadstream/audio/silero.py"),
    ("encoder states that sadness is read from", "states (sadstream/scoring/whisper/recognizer.py"),
    ("language of the words", "languages (sadstream/scoring/whisper"),
    ("words: encoder", "_encode (sadstream/scoring/whisper/decoder.py"),
    ("words: decoder", "sadstream/scoring/whisper/decoder.py"),
    ("words: the rest", "sadstream/scoring/whisper"),
    ("text encoder", "sadstream/scoring/text"),
    ("fusion", "sadstream/scoring/fusion"),
)
START = (
    ("reading and packing weights", "sadstream/scoring/weights"),
    ("first segments, made up", "_warm_up (sadstream/scoring/analyzer/analyzer.py"),
    ("importing torch", "<module> (torch/__init__.py"),
    ("importing openai-whisper and what it needs", "<module> (whisper/__init__.py"),
    ("importing tokenizers and transformers", "<module> (tok"),
    ("importing the rest", "_find_and_load (<frozen importlib._bootstrap>"),
)
SILENCE = (
    ("hum and high-pass filters", "sadstream/audio/filters"),
    ("voice activity detection", "sadstream/audio/vad.py"),
    ("segmenter", "sadstream/audio/segmenter.py"),
    ("health of the signal", "sadstream/audio/health.py"),
    ("source and its clock", "sadstream/audio/sources"),
    ("publisher", "sadstream/daemon/publishing"),
    ("pipeline: threads that wake each other", "sadstream/daemon"),
)


@dataclass(frozen=True, slots=True)
class Share:
    """A part's share of the samples in which anything ran."""

    part: str
    share: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What was watched, what one of it costs, and where that went."""

    what: str
    cost: float
    unit: str
    samples: int
    shares: tuple[Share, ...]


def stacks(raw: str) -> Iterator[tuple[str, int]]:
    """py-spy's raw lines: frames from the outside in, and how often they were seen."""
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        if count.isdigit():
            yield frames, int(count)


def shared(raw: str, parts: Sequence[tuple[str, str]]) -> tuple[int, tuple[Share, ...]]:
    """Samples, and each part's share, the largest first."""
    counts: Counter[str] = Counter()
    for frames, count in stacks(raw):
        counts[next((part for part, sign in parts if sign in frames), "the rest")] += count
    total = sum(counts.values())
    found = tuple(Share(part, count / total) for part, count in counts.most_common() if count >= LEAST * total)
    return total, found


def recorded(command: Sequence[str | Path], kind: str, path: Path) -> str:
    """What py-spy saw."""
    spy = Path(sys.executable).with_name("py-spy")
    options = ["record", "--nonblocking", "--rate", str(RATE_HZ), "--format", kind, "--output", str(path)]
    asked = [str(spy), *options, *map(str, command)]
    subprocess.run(asked, check=True, capture_output=True)
    seen = path.read_text().replace(" ".join(asked), "sadstream, segments one after the other")  # a drawing's title
    path.write_text(seen)
    return seen


def score(seconds: float) -> None:
    """The scene's segments over and over, as the daemon's analyser scores them; how long one takes, last."""
    from sadstream.audio.segmenter import Segmenter
    from sadstream.audio.sources.recording import Recording
    from sadstream.base.samples import AudioFrame
    from sadstream.config import Config
    from sadstream.scoring.analyzer.analyzer import Analyzer
    from sadstream.scoring.analyzer.models import load_models

    config = Config()
    segmenter = Segmenter(config.vad, config.segment)
    frames = [item for item in Recording(SCENE).listen(lambda: False) if isinstance(item, AudioFrame)]
    segments = [segment for frame in frames for segment in segmenter.feed(frame)] + segmenter.flush()
    analyzer = Analyzer(load_models(config))
    print("ready", flush=True)
    begun_s, done = time.monotonic(), 0
    while time.monotonic() - begun_s < seconds:
        analyzer(segments[done % len(segments)])
        done += 1
    print((time.monotonic() - begun_s) / done * 1000, done, flush=True)


def segment_profile(seconds: float, svg: Path | None, folder: Path) -> Profile:
    """Of segments one after the other, warm."""
    passes = 2 if svg else 1
    command = [sys.executable, __file__, "--score", str(passes * seconds + 4)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    looked = ["--pid", str(child.pid), "--duration", str(round(seconds))]
    raw = recorded(looked, "raw", folder / "segment.txt")
    if svg:
        recorded(looked, "flamegraph", svg)
    took_ms, _ = map(float, child.stdout.readline().split())
    child.wait()
    total, found = shared(raw, SEGMENT)
    return Profile("a segment, one after the other", took_ms, "ms", total, found)


def daemon(folder: Path, source: Path) -> list[str | Path]:
    """The command that scores a recording at the pace of speech."""
    return [
        sys.executable, "-m", "sadstream", "run", "--source", source, "--publish", f"ipc://{folder}/pub",
        "--pace", "realtime",
    ]  # fmt: skip


def silence(folder: Path, seconds: float) -> Path:
    """A recording in which nobody speaks."""
    import numpy as np
    import soundfile

    path = folder / "silence.wav"
    noise = np.random.default_rng(0).standard_normal(int(16_000 * seconds)) * 1e-4
    soundfile.write(path, noise.astype(np.float32), 16_000)
    return path


def start_profile(folder: Path) -> Profile:
    """From the command to the first `listening`, and what ran until then."""
    from sadstream.client import subscribe
    from sadstream.events import Status

    command = daemon(folder, silence(folder, 120.0))
    begun_s, watched = time.monotonic(), subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for event in subscribe(f"ipc://{folder}/pub", timeout_s=120.0):
            if isinstance(event, Status) and event.state == "listening":
                break
        took_s = time.monotonic() - begun_s
    finally:
        watched.kill()
        watched.wait()
    options = ["--duration", str(START_S), "--subprocesses", "--", *command]
    total, found = shared(recorded(options, "raw", folder / "start.txt"), START)
    return Profile("the start, warm, to the first `listening`", took_s, "s", total, found)


def silence_profile(seconds: float, folder: Path) -> Profile:
    """Of a daemon that hears nobody."""
    watched = subprocess.Popen(daemon(folder, silence(folder, seconds + 60.0)), stderr=subprocess.DEVNULL)
    try:
        time.sleep(START_S)
        begun_s, begun = time.monotonic(), processor_s(watched.pid)
        time.sleep(seconds)
        share = 100 * (processor_s(watched.pid) - begun) / (time.monotonic() - begun_s)
        looked = ["--pid", str(watched.pid), "--duration", str(round(seconds))]
        total, found = shared(recorded(looked, "raw", folder / "silence.txt"), SILENCE)
    finally:
        watched.kill()
        watched.wait()
    return Profile("silence", share, "% of a core", total, found)


def markdown(profiles: Sequence[Profile]) -> str:
    """A table."""
    lines = ["| of what | costs | where | share | that is | samples |", "|---|---|---|---|---|---|"]
    for profile in profiles:
        for at, one in enumerate(profile.shares):
            head = (profile.what, f"{profile.cost:.3g} {profile.unit}") if at == 0 else ("", "")
            cells = (*head, one.part, f"{100 * one.share:.0f} %", f"{one.share * profile.cost:.3g} {profile.unit}")
            lines.append(f"| {' | '.join(cells)} | {profile.samples if at == 0 else ''} |")
    return "\n".join(lines)


def main() -> None:
    """Watch, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=30.0, help="that each is watched")
    parser.add_argument("--score", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    if options.score:
        score(options.score)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        profiles = (
            segment_profile(options.seconds, options.svg, folder),
            start_profile(folder),
            silence_profile(options.seconds, folder),
        )
    print(markdown(profiles))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in profiles], indent=1) + "\n")
    if options.write:
        put(PAGE, BEGIN, END, markdown(profiles))


if __name__ == "__main__":
    main()
