"""Parts of `bench/gpu.py` that score speech: parity of devices, latency, streams, batches."""

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice, product
from pathlib import Path
from typing import NamedTuple

from gpu_shape import LAYERS, SHAPE, shaped
from gpu_table import NOT_HERE, Bench, Line, Part, Reading, attempt, first_line, median, percentiles
from quantiles import quantile

from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.recording import Recording
from sadstream.base.samples import AudioFrame
from sadstream.cli.demo.play import scene_path
from sadstream.config import Config, with_changes
from sadstream.daemon.messages import QueuedSegment
from sadstream.daemon.pipeline.inbox import Inbox
from sadstream.daemon.pipeline.pipeline import BATCH_SEGMENTS
from sadstream.events import to_json
from sadstream.events.types import envelope
from sadstream.scoring.analysis import Timing, latency, make_score
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.recognizer import Whisper

SENTENCES = (
    "I have nobody left to talk to since she went away.",
    "The train to the coast leaves at nine tomorrow morning.",
    "Could you please pass me the salt and the pepper?",
    "It rained all week and I did not want to get up.",
    "We painted the whole kitchen yellow on Tuesday.",
)
VOICES, SPEEDS = ("en-us", "en-gb", "en-gb-scotland", "en-us+f3", "en-gb+m5"), (120, 140, 160, 180, 200, 220)
PARITY_BATCH = 4
WARM_UPS = 3  # segments
CLOSE = 0.02  # of a score
LIMIT_MS = 500.0
WIDER = 16  # a batch, beside the daemon's
ASKED_STREAMS, LATENCY_MS = 64, 150.0
STAGES = ("gate", "whisper", "text", "fusion", "total")
MODELS = ("tiny.en", "base", SHAPE)


def spoken(count: int, data: Path | None) -> list[Segment]:
    """So many of the daemon's own segments: of a folder's recordings, or of the scene and of synthetic voices."""
    if data is not None:
        paths = sorted(path for path in data.rglob("*") if path.suffix in (".wav", ".flac"))
        found = list(islice((one for path in paths for one in cut(path)), count))
    else:
        found = list(islice(cut(scene_path()), count))
        found += islice(synthetic(), count - len(found))
    assert found, f"{data}: no speech in WAV or FLAC files"
    return [replace(one, number=number) for number, one in enumerate(islice(cycle(found), count))]


def cut(path: Path) -> Iterator[Segment]:
    """A recording's segments."""
    config = Config()
    segmenter = Segmenter(config.vad, config.segment)
    for item in Recording(path).listen(lambda: False):
        if isinstance(item, AudioFrame):
            yield from segmenter.feed(item)
    yield from segmenter.flush()


def synthetic() -> Iterator[Segment]:
    """Segments of espeak-ng, where it is."""
    if shutil.which("espeak-ng") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        for sentence, voice, speed in product(SENTENCES, VOICES, SPEEDS):
            subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(path), sentence], check=True)
            yield from cut(path)


@lru_cache(maxsize=3)
def analyzer(device: str, model: str, layers: int) -> Analyzer:
    """Warm, with this Whisper; nobody is asked for the language, which would be another model's time."""
    with tempfile.TemporaryDirectory() as folder:
        name = str(shaped(Path(folder), layers)) if model == SHAPE else model
        changes = {"compute": {"device": device}, "whisper": {"model": name, "linguist": "off"}}
        return Analyzer(load_models(with_changes(Config(), changes)))


@dataclass(frozen=True, slots=True)
class Heard:
    """Of one segment: whether it is speech, its words, and its score."""

    speech: bool
    words: str
    score: float


def heard(analyzer: Analyzer, segments: Sequence[Segment]) -> list[Heard]:
    """What an analyser makes of each."""
    answers = [
        answer
        for at in range(0, len(segments), PARITY_BATCH)
        for answer in analyzer.many(segments[at : at + PARITY_BATCH])
    ]
    return [
        Heard(False, "", 0.0) if isinstance(one, UnscoredSegment) else Heard(True, one.transcript.text, one.p_sad)
        for one in answers
    ]


PRECISIONS = ("single precision", "half precision")


def parity_lines() -> list[Line]:
    """Two for each precision."""
    return [
        line
        for precision in PRECISIONS
        for line in (
            Line(f"segments with other words than on the CPU, {precision}", "segments", 0),
            Line(f"largest difference of a score from the CPU's, {precision}", "", CLOSE),
        )
    ]


def parity(bench: Bench) -> Iterator[Reading]:
    """The device's words and scores beside the CPU's."""
    model, layers = bench.scale.parity_model, bench.scale.shape_layers
    reference = heard(analyzer("cpu", model, layers), bench.segments)
    models = analyzer(bench.device, model, layers).models
    for precision, half in zip(PRECISIONS, (False, True), strict=True):
        words, scores = (line.what for line in parity_lines() if line.what.endswith(precision))
        if half and bench.device == "cpu":
            yield from (Reading(what, note="a CPU hears in single precision") for what in (words, scores))
            continue
        whisper = Whisper(locate(model, "whisper"), bench.device, "en", half=half)
        found = heard(Analyzer(replace(models, whisper=whisper)), bench.segments)
        pairs = list(zip(reference, found, strict=True))
        other = sum((a.speech, a.words) != (b.speech, b.words) for a, b in pairs)
        yield Reading(words, (float(other),), len(pairs), note=f"`{model}`")
        yield Reading(scores, (max(abs(a.score - b.score) for a, b in pairs),), len(pairs), note=f"`{model}`")


def latency_lines() -> list[Line]:
    """One for each model and stage; the target is of the whole with `base`."""
    targets, unit = {("base", "total"): LATENCY_MS}, "ms: p50, p95, p99"
    return [Line(", ".join(one), unit, targets.get(one), judged=1) for one in product(MODELS, STAGES)]


def latencies(bench: Bench) -> Iterator[Reading]:
    """From a segment's end to its event, one segment after the other; a model that fails stops no other."""
    for model in MODELS:
        names = [f"{model}, {stage}" for stage in STAGES]
        try:
            ready = analyzer(bench.device, model, bench.scale.shape_layers)
            times = [timed_stages(ready, one) for one in (*bench.segments[:WARM_UPS], *bench.segments)][WARM_UPS:]
            spoken = [one for one in times if one]
            assert spoken, "nobody speaks in these segments"
        except Exception as error:
            yield from (Reading(what, note=first_line(error), failed=True) for what in names)
            continue
        cut_short = model == SHAPE and bench.scale.shape_layers != LAYERS
        for what, spent in zip(names, zip(*spoken, strict=True), strict=True):
            note = f"{bench.scale.shape_layers} of {LAYERS} layers" if cut_short else ""
            yield replace(percentiles(what, spent), note=note)


def timed_stages(analyzer: Analyzer, segment: Segment) -> tuple[float, ...]:
    """Milliseconds of each stage, the event's making in the last; nothing where nobody speaks."""
    start = time.perf_counter()
    analyzer.models.speech_gate(segment.samples)
    gate_ms = 1000 * (time.perf_counter() - start)
    arrived_s = time.monotonic()
    answer = analyzer.many([segment])[0]
    if isinstance(answer, UnscoredSegment):
        return ()
    timing = Timing(queue_ms=0.0, vad_ms=0.0, arrived_s=arrived_s, analyzed_s=time.monotonic())
    spent = latency(timing, answer)
    opening = envelope("gpu", "0" * 16, segment.number)
    to_json(make_score(opening, segment, answer, spent, 0, analyzer.models.config.publish))
    total_ms = 1000 * (time.monotonic() - arrived_s)
    return gate_ms, answer.whisper_ms - gate_ms, answer.text_ms, answer.fusion_ms, total_ms


@dataclass(frozen=True, slots=True)
class Load:
    """What came to so many streams."""

    streams: int
    waits_ms: tuple[float, ...]  # from a segment's end to its score
    dropped: int


class Arrival(NamedTuple):
    """A segment's end."""

    at_s: float
    stream: str
    number: int  # of the segment


def loaded(analyzer: Analyzer, segments: Sequence[Segment], streams: int, seconds: float, most: int) -> Load:
    """Continuous talk in so many streams, through the daemon's own inbox, in batches of at most `most`.

    Time is simulated but for the models': a clock that jumps to the next arrival, and goes on by what a batch took.
    """
    rng, names = random.Random(streams), [f"s{n}" for n in range(streams)]
    arrivals = sorted(arrival for name in names for arrival in talk(name, segments, seconds, rng))
    inbox, waits, dropped, now_s, at = Inbox(names), [], 0, 0.0, 0
    while at < len(arrivals) or any(map(inbox.waiting, names)):
        if not any(map(inbox.waiting, names)):
            now_s = max(now_s, arrivals[at].at_s)
        while at < len(arrivals) and arrivals[at].at_s <= now_s:
            came = arrivals[at]
            dropped += inbox.put(QueuedSegment(came.stream, segments[came.number], 0.0, came.at_s, 0.0, live=True))
            at += 1
        batch = [item for item in inbox.take(most) if isinstance(item, QueuedSegment)]
        start = time.perf_counter()
        analyzer.many([item.segment for item in batch])
        now_s += time.perf_counter() - start
        waits += [1000 * (now_s - item.put_s) for item in batch]
    return Load(streams, tuple(waits), dropped)


def talk(
    name: str, segments: Sequence[Segment], seconds: float, rng: random.Random
) -> Iterator[tuple[float, str, int]]:
    """When a stream's segments end, one after the other from a moment of its own."""
    now_s = rng.uniform(0.0, 3.0)
    while now_s < seconds:
        number = rng.randrange(len(segments))
        yield Arrival(now_s, name, number)
        now_s += segments[number].t_end - segments[number].t_start


WIDTHS = {BATCH_SEGMENTS: "the daemon's", WIDER: "wider than the daemon's"}


def stream_lines() -> list[Line]:
    """One for each width of a batch."""
    return [Line(streams_of(width), "streams", ASKED_STREAMS, at_least=True) for width in WIDTHS]


def streams_of(width: int) -> str:
    """What a line of streams is called."""
    return f"most streams of talk with p95 ≤ {LIMIT_MS:.0f} ms (256 aimed at), batches of {width}, {WIDTHS[width]}"


def streams(bench: Bench) -> Iterator[Reading]:
    """More and more streams until the 95th percentile passes the limit."""
    ready = analyzer(bench.device, bench.scale.parity_model, bench.scale.shape_layers)
    for width in WIDTHS:
        best, seen = 0, []
        for count in bench.scale.streams:
            load = loaded(ready, bench.segments, count, bench.scale.stream_s, width)
            p95 = quantile(load.waits_ms, 0.95)
            seen.append(f"{count}: {p95:.0f} ms{f', {load.dropped} dropped' if load.dropped else ''}")
            if p95 > LIMIT_MS or load.dropped:
                break
            best = count
            if bench.over:
                break
        note = f"`{bench.scale.parity_model}`, p95 by streams {'; '.join(seen)}; highest tried {count}"
        yield Reading(streams_of(width), (float(best),), len(load.waits_ms), note=note)


def batch_lines() -> list[Line]:
    """One for each size."""
    return [Line(f"batch of {size}", "ms a segment") for size in (1, 2, 4, 8, 16, 32, 64)]


def batches(bench: Bench) -> Iterator[Reading]:
    """Milliseconds a segment in batches of a size."""
    ready = analyzer(bench.device, bench.scale.parity_model, bench.scale.shape_layers)
    for line in batch_lines():
        size = int(line.what.rpartition(" ")[2])
        if size not in bench.scale.batches:
            yield Reading(line.what, note=NOT_HERE)
            continue
        yield attempt(line.what, lambda what=line.what, size=size: median(what, batch_ms(ready, bench, size)))


def batch_ms(ready: Analyzer, bench: Bench, size: int) -> list[float]:
    """Milliseconds a segment, of each repeat; the first batch of a size only warms up."""
    turns, found = cycle(bench.segments), []
    for _ in range(bench.scale.repeats + 1):
        some = list(islice(turns, size))
        start = time.perf_counter()
        ready.many(some)
        found.append(1000 * (time.perf_counter() - start) / size)
    return found[1:]


PARITY = Part("parity", parity_lines, parity)
LATENCY = Part("latency", latency_lines, latencies)
STREAMS = Part("streams", stream_lines, streams)
BATCHES = Part("batches", batch_lines, batches)
