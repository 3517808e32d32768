"""Models that nobody needs leave memory, and are back before whoever speaks next has finished: nothing is lost."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import READY, FakeSource, analysis, config, quiet, spoken, talk

from sadstream.audio.filters.framing import Framer
from sadstream.audio.segmenter import Segment
from sadstream.audio.sources.source import Item
from sadstream.base.samples import to_pcm
from sadstream.config import Config
from sadstream.daemon.loading import load_with_fallback
from sadstream.daemon.messages import (
    AnalyzedSegment,
    Load,
    LoadedAnalyzer,
    ModelsReady,
    ModelsReleased,
    ModelsRestored,
    Report,
)
from sadstream.daemon.pipeline.fallback import Fallback, FallbackStage
from sadstream.daemon.pipeline.pipeline import MAX_AGE_S, Pipeline

TALK = to_pcm(np.concatenate([talk(1), quiet(1)]))  # one segment, and what closes it


class Room:
    """A pipeline in which somebody talks, is silent until the models are let go, and talks again."""

    def __init__(self, folder: Path, load: Load, release_after_s: float | None) -> None:
        self.reports: list[Report] = []
        self._speaks = threading.Event()
        self.pipeline = Pipeline(config(folder), [FakeSource(self._items, stays=True)], load, pace_realtime=True)
        self.pipeline.release_after(release_after_s)
        self.pipeline.start_analyzer()
        self.until(self.has(ModelsReady))
        self.pipeline.start_readers()

    def _items(self) -> Iterator[Item]:
        yield from spoken(TALK)()
        self._speaks.wait(30.0)
        yield from Framer().feed(TALK, time.monotonic())

    def speak(self) -> None:
        self._speaks.set()

    def until(self, enough: Callable[[], bool]) -> None:
        until = time.monotonic() + 60.0
        while not enough():
            self.reports.extend(self.pipeline.reports())
            assert time.monotonic() < until, [type(report).__name__ for report in self.reports]
            time.sleep(0.01)

    def has(self, kind: type[Report], count: int = 1) -> Callable[[], bool]:
        return lambda: sum(isinstance(report, kind) for report in self.reports) >= count

    @property
    def parts(self) -> list[tuple[float, ...]]:
        found = [report for report in self.reports if isinstance(report, AnalyzedSegment)]
        return [(one.segment.t_start, one.analysis.audio_logit, one.analysis.text_logit) for one in found]


class Each:
    def many(self, segments: list[Segment], early: object = None) -> list[object]:
        return [analysis(segment) for segment in segments]


def load(load_s: float = 0.0) -> Load:
    def stage() -> LoadedAnalyzer:
        time.sleep(load_s)
        return LoadedAnalyzer(Each(), READY)  # type: ignore[arg-type]

    def loading(say: object) -> LoadedAnalyzer:
        models = Fallback([FallbackStage("as configured", stage)], lambda _: None)
        return LoadedAnalyzer(models, READY, models)

    return loading


def spoken_twice(folder: Path, loading: Load, release_after_s: float | None) -> Room:
    """What becomes of talk, silence and talk; the models rest in the silence if they ever do."""
    folder.mkdir()
    room = Room(folder, loading, release_after_s)
    room.until(room.has(AnalyzedSegment))
    if release_after_s is not None:
        room.until(room.has(ModelsReleased))
    else:
        time.sleep(0.5)
        room.reports.extend(room.pipeline.reports())
    first = len(room.parts)
    room.speak()
    room.until(lambda: len(room.parts) >= 2 * first)
    assert room.pipeline.stop(5.0)
    return room


def test_models_that_rested_score_as_those_that_did_not(tmp_path: Path) -> None:
    rested = spoken_twice(tmp_path / "rested", load(), 0.3)
    awake = spoken_twice(tmp_path / "awake", load(), None)

    assert rested.parts == awake.parts
    assert rested.has(ModelsRestored)()
    assert not awake.has(ModelsReleased)()


def test_a_segment_that_waits_for_slow_models_is_scored_however_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sadstream.daemon.pipeline.pipeline.MAX_AGE_S", 0.5)
    rested = spoken_twice(tmp_path / "rested", load(load_s=1.0), 0.3)

    assert MAX_AGE_S > 1.0
    assert len(rested.parts) >= 2


def test_they_come_back_at_once_when_they_are_to_stay(tmp_path: Path) -> None:
    room = Room(tmp_path, load(), 0.2)
    room.until(room.has(ModelsReleased))
    room.pipeline.release_after(None)
    room.until(room.has(ModelsRestored))
    room.speak()
    assert room.pipeline.stop(5.0)


def test_a_run_ends_while_they_are_away(tmp_path: Path) -> None:
    room = Room(tmp_path, load(), 0.2)
    room.until(room.has(ModelsReleased))
    room.speak()
    room.until(room.has(ModelsReleased, 2))

    assert room.pipeline.stop(2.0)


def test_models_that_never_come_back_are_a_hang_and_slow_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, load(), 0.2)
    room.until(room.has(ModelsReleased))
    again, restore = threading.Event(), Fallback.restore

    def slowly(models: Fallback) -> None:
        again.wait(30.0)
        restore(models)

    monkeypatch.setattr(Fallback, "restore", slowly)
    room.speak()
    time.sleep(0.5)
    slow_s = room.pipeline.busy_s()
    again.set()
    room.until(room.has(ModelsReleased, 2))

    monkeypatch.setattr("sadstream.daemon.pipeline.pipeline.RESTORE_S", 0.0)
    again.clear()
    room.pipeline.release_after(None)
    time.sleep(0.5)
    hung_s = room.pipeline.busy_s()
    again.set()

    assert slow_s == 0.0
    assert hung_s > 0.2
    assert room.pipeline.stop(5.0)


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_the_real_models_score_as_before_they_rested(tmp_path: Path) -> None:
    settings = Config.model_validate({"gate": {"speech": 0.0}, "whisper": {"linguist": "off"}})
    rested = spoken_twice(tmp_path / "rested", lambda say: load_with_fallback(settings, say), 0.3)
    awake = spoken_twice(tmp_path / "awake", lambda say: load_with_fallback(settings, say), None)

    assert rested.parts == awake.parts
