"""Parts of `bench/gpu.py` about memory: whether it stays as it is, and what happens when there is none."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import torch
from gpu_speech import analyzer
from gpu_table import NEEDS, Bench, Line, Part, Reading

from sadstream.audio.segmenter import Segment
from sadstream.config import Config, with_changes
from sadstream.daemon.loading import load_with_fallback
from sadstream.daemon.messages import LoadedAnalyzer, ModelsDegraded
from sadstream.daemon.pipeline.fallback import RETRY_S
from sadstream.daemon.pipeline.pipeline import BATCH_SEGMENTS
from sadstream.scoring.analysis import LostSegment

MB = 1e6
WARM_UP = 0.1  # of the run, before memory is looked at
KINDS = ("allocated", "reserved", "most allocated")
ON_CARD = [Line(f"{kind} on the card", "MB: after warm-up, at the end") for kind in KINDS]
RESIDENT = Line("resident memory of the process", "MB: after warm-up, at the end")
GROWN = Line("growth of what is allocated on the card", "MB", 1.0)
GROWN_RESIDENT = Line("growth of resident memory", "MB", 20.0)


@dataclass(frozen=True, slots=True)
class Held:
    """Memory at one moment, MB."""

    on_card: tuple[float, ...]  # by KINDS; none on a CPU
    resident: float


def held(device: str) -> Held:
    """Now."""
    card: tuple[float, ...] = ()
    if device == "cuda":
        torch.cuda.synchronize()
        seen = (torch.cuda.memory_allocated, torch.cuda.memory_reserved, torch.cuda.max_memory_allocated)
        card = tuple(look() / MB for look in seen)
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:"))
    return Held(card, resident)


def fresh(device: str) -> None:
    """Let go what the parts before held, and forget their peak."""
    if device == "cuda":
        analyzer.cache_clear()
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def constant(bench: Bench) -> Iterator[Reading]:
    """Memory after warm-up and after many segments, in the daemon's batches."""
    fresh(bench.device)
    ready, n = analyzer(bench.device, bench.scale.parity_model, bench.scale.shape_layers), bench.scale.long_run
    turns, done, before = cycle(bench.segments), 0, None
    while done < n and not bench.over:
        ready.many(list(islice(turns, BATCH_SEGMENTS)))
        done += BATCH_SEGMENTS
        if before is None and done >= WARM_UP * n:
            before = held(bench.device)
    assert before is not None, "the time was up before the models were warm"
    after = held(bench.device)
    for at, line in enumerate(ON_CARD):
        if not before.on_card:
            yield Reading(line.what, note=NEEDS)
        else:
            yield Reading(line.what, (before.on_card[at], after.on_card[at]), done)
    yield Reading(RESIDENT.what, (before.resident, after.resident), done)
    grown = () if not before.on_card else (after.on_card[0] - before.on_card[0],)
    yield Reading(GROWN.what, grown, done if grown else 0, note="" if grown else NEEDS)
    yield Reading(GROWN_RESIDENT.what, (after.resident - before.resident,), done)


LOST = Line("segments lost while the card was full", "segments", 0)
SMALLER = Line("from a full card to the scores of smaller models", "s")
BACK = Line("from a free card to the scores of the configured models", "s")
TRIES = 4  # as many as there are stages


@dataclass(slots=True)
class Card:
    """Memory that is taken away from the models, to the last block."""

    blocks: list[torch.Tensor] = field(default_factory=list)

    def fill(self) -> None:
        """Take what is left, in smaller and smaller blocks."""
        torch.cuda.empty_cache()
        for size in (1 << 30, 1 << 26, 1 << 22, 1 << 20):
            while True:
                try:
                    self.blocks.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
                except torch.OutOfMemoryError:
                    break

    def free(self) -> None:
        """Give it back."""
        self.blocks.clear()
        torch.cuda.empty_cache()


@dataclass(slots=True)
class Clock:
    """A clock that is put forward, so that nobody waits for the next try."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def full_card(bench: Bench) -> Iterator[Reading]:
    """A card that fills up under the models, and is given back."""
    if bench.device != "cuda":
        yield from (Reading(line.what, note=NEEDS) for line in (LOST, SMALLER, BACK))
        return
    fresh(bench.device)
    said, card, clock = list[ModelsDegraded](), Card(), Clock()
    wanted = {"compute": {"device": "cuda"}, "whisper": {"model": bench.scale.parity_model, "linguist": "off"}}
    models = load_with_fallback(with_changes(Config(), wanted), said.append, clock)
    try:
        yield from ladder(models, list(islice(cycle(bench.segments), 16)), card.fill, card.free, clock, said)
    finally:
        card.free()


def ladder(
    models: LoadedAnalyzer,
    segments: Sequence[Segment],
    fill: Callable[[], None],
    free: Callable[[], None],
    clock: Clock,
    said: list[ModelsDegraded],
) -> Iterator[Reading]:
    """Down while memory is taken away, up again once it is given back; AssertionError where it stays down, or up."""
    lost = asked = 0
    start = time.perf_counter()
    for _ in range(TRIES):  # what a stage gave back the next one may use, so it is taken too
        fill()
        answers = models.analyzer.many(segments)
        asked += len(segments)
        lost += len(segments) - sum(not isinstance(answer, LostSegment) for answer in answers)
        if said and "CPU" in said[-1].detail:
            break
    spent_s = time.perf_counter() - start
    assert said, "a full card was not noticed"
    stages = " → ".join(one.detail for one in said)
    yield Reading(LOST.what, (float(lost),), asked)
    yield Reading(SMALLER.what, (spent_s,), 1, note=stages)
    free()
    clock.ahead_s += RETRY_S + 1.0
    start = time.perf_counter()
    models.analyzer.many(segments)
    assert said[-1].reason == "none", f"still on: {said[-1].detail}"
    yield Reading(BACK.what, (time.perf_counter() - start,), 1)


CONSTANT = Part("memory", lambda: [*ON_CARD, RESIDENT, GROWN, GROWN_RESIDENT], constant)
FULL_CARD = Part("out-of-memory", lambda: [LOST, SMALLER, BACK], full_card)
