"""`make gpu` where there is no GPU: a rehearsal of all of it, and a table that says what was not measured and why."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import READY, Each, analysis

from sadstream.audio.segmenter import Segment
from sadstream.daemon.messages import LoadedAnalyzer, ModelsDegraded
from sadstream.daemon.pipeline.fallback import Fallback, FallbackStage

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "bench"))  # last: both folders have a wire.py

import gpu  # noqa: E402
import gpu_memory  # noqa: E402
import gpu_speech  # noqa: E402
import gpu_table  # noqa: E402
from gpu_table import SMALL, Bench, Line, Part, Reading, Report, Row, measured  # noqa: E402
from quantiles import interval, quantile  # noqa: E402

BENCH = Bench("cpu", SMALL, (), float("inf"))
LINES = (Line("first", "ms", 10.0), Line("second", "ms"))


def segment(number: int) -> Segment:
    return Segment(number, np.zeros(48_000, dtype=np.float32), 0.0, 3.0, 1.0, 0.0)


def part(*readings: Reading, error: Exception | None = None) -> Part:
    def run(_bench: Bench) -> Iterator[Reading]:
        yield from readings
        if error is not None:
            raise error

    return Part("part", lambda: LINES, run)


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_all_of_it_runs_on_a_cpu(tmp_path: Path) -> None:
    """Every line has a figure or says what it lacks: nothing failed, and nothing ran out of time."""
    written = tmp_path / "gpu.json"
    command = [sys.executable, "bench/gpu.py", "--device", "cpu", "--scale", "small", "--json", str(written)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    report = gpu_table.report_of(json.loads(written.read_text()))
    lacking = {row.reading.note for row in report.rows if not row.reading.values}
    assert lacking == {"needs CUDA", "not at this scale", "a CPU hears in single precision"}
    assert {row.part for row in report.rows if row.reading.values} == {one.name for one in gpu.PARTS[:6]} | {"compile"}
    assert report.markdown() in done.stdout


def test_without_a_gpu_every_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert gpu.main([]) == gpu.UNAVAILABLE
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("|")][2:]
    assert len(rows) == sum(len(one.lines()) for one in gpu.PARTS)
    assert all("not measured: no GPU was at hand" in row for row in rows)
    assert err.splitlines() == ["gpu: this torch finds no GPU; rehearse with --device cpu --scale small"]


def test_the_page_shows_the_last_report_and_every_line() -> None:
    report = gpu_table.report_of(json.loads((ROOT / "docs/bench-gpu.json").read_text()))
    shown = gpu.PAGE.read_text().split(gpu.BEGIN)[1].split(gpu.END)[0]

    assert shown.strip() == report.markdown()
    known = [(one.name, line) for one in gpu.PARTS for line in one.lines()]
    assert [(row.part, row.line) for row in report.rows] == known


def test_a_part_that_fails_keeps_what_it_had_and_says_why_in_one_line() -> None:
    rows = measured(part(Reading("first", (3.0,)), error=RuntimeError("CUDA error: so\nand so")), BENCH)

    assert rows[0].reading.values == (3.0,)
    assert rows[1].markdown().count("**failed**: RuntimeError: CUDA error: so |") == 1
    assert Report(SimpleNamespace(), tuple(rows)).failed
    assert not Report(SimpleNamespace(), tuple(rows[:1])).failed


def test_what_was_not_reached_in_time_is_not_measured() -> None:
    rows = measured(part(Reading("first", (3.0,)), Reading("second", (3.0,))), replace(BENCH, until_s=0.0))

    assert [row.reading.note for row in rows] == ["", "the time was up"]
    assert not any(row.reading.failed for row in rows)


def test_a_line_that_no_part_gave_a_figure_for_failed() -> None:
    assert [row.reading.failed for row in measured(part(Reading("first", (3.0,))), BENCH)] == [False, True]


@pytest.mark.parametrize(
    ("line", "values", "met"),
    [
        (Line("", "", 10.0), (10.0,), "yes"),
        (Line("", "", 10.0), (10.1,), "**no**"),
        (Line("", "", 64.0, at_least=True), (63.0,), "**no**"),
        (Line("", "", 10.0, judged=1), (9.0, 11.0), "**no**"),
        (Line("", ""), (1.0,), ""),
        (Line("", "", 10.0), (), ""),
    ],
)
def test_a_target_is_met_by_the_figure_that_it_is_of(line: Line, values: tuple[float, ...], met: str) -> None:
    assert Row("", line, Reading("", values)).met == met


def test_an_interval_of_a_median_holds_it_in_nineteen_of_twenty_samples() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        low, high = interval(rng.normal(size=100).tolist(), 0.5)
        held += low <= 0.0 <= high

    assert 930 <= held <= 980


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile(range(1, 101), share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 51, 96, 100]


class Timed:
    """An analyser that takes as long as a clock says for each batch, and keeps their sizes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batch_s: float) -> None:
        self.now_s, self.batch_s, self.sizes = 0.0, batch_s, list[int]()
        monkeypatch.setattr(gpu_speech, "time", SimpleNamespace(perf_counter=lambda: self.now_s))

    def many(self, segments: Sequence[Segment]) -> None:
        self.now_s += self.batch_s
        self.sizes.append(len(segments))


def test_streams_wait_for_nobody_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    load = gpu_speech.loaded(Timed(monkeypatch, 0.01), [segment(0)], 4, 30.0, 4)

    assert load.dropped == 0
    assert 4 * 9 <= len(load.waits_ms) <= 4 * 10  # a segment each 3 s
    assert max(load.waits_ms) <= 30.0
    assert min(load.waits_ms) == pytest.approx(10.0)


def test_streams_beyond_what_the_models_can_do_wait_and_lose_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Timed(monkeypatch, 1.0)  # four a second at most, and 40 streams say 13 a second
    load = gpu_speech.loaded(models, [segment(0)], 40, 30.0, 4)

    assert load.dropped > 0
    assert max(models.sizes) == 4
    assert quantile(load.waits_ms, 0.95) > gpu_speech.LIMIT_MS


def test_a_full_card_is_noticed_survived_and_forgotten() -> None:
    """With a card that is full for the first two stages as long as it is filled."""
    full, said, clock = [False], list[ModelsDegraded](), gpu_memory.Clock()

    def stage(name: str, on_card: bool) -> FallbackStage:
        def work(one: Segment) -> Any:
            if full[0] and on_card:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return analysis(one)

        return FallbackStage(name, lambda: LoadedAnalyzer(Each(work), READY))

    stages = [stage("as configured", True), stage("the smallest Whisper", True), stage("on the CPU", False)]
    models = LoadedAnalyzer(Fallback(stages, said.append, clock), READY)
    segments = [segment(n) for n in range(3)]
    readings = gpu_memory.ladder(
        models, segments, lambda: full.__setitem__(0, True), lambda: full.__setitem__(0, False), clock, said
    )
    found = {reading.what: reading for reading in readings}

    assert found[gpu_memory.LOST.what].values == (0.0,)
    assert found[gpu_memory.SMALLER.what].note == "the smallest Whisper → on the CPU"
    assert said[-1].reason == "none"
    assert set(found) == {line.what for line in gpu_memory.FULL_CARD.lines()}


def test_a_full_card_that_nobody_notices_is_a_failure() -> None:
    stage = FallbackStage("as configured", lambda: LoadedAnalyzer(Each(analysis), READY))
    models = LoadedAnalyzer(Fallback([stage], print), READY)

    with pytest.raises(AssertionError, match="not noticed"):
        list(gpu_memory.ladder(models, [segment(0)], lambda: None, lambda: None, gpu_memory.Clock(), []))


def test_a_card_is_filled_to_its_last_block_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    left, card = [(3 << 30) + (5 << 26) + (1 << 20)], gpu_memory.Card()

    def empty(size: int, **_where: Any) -> int:
        if size > left[0]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        left[0] -= size
        return size

    monkeypatch.setattr(gpu_memory.torch, "empty", empty)
    monkeypatch.setattr(gpu_memory.torch.cuda, "empty_cache", lambda: None)
    card.fill()

    assert left == [0]
    assert len(card.blocks) == 3 + 5 + 1
    card.free()
    assert card.blocks == []
