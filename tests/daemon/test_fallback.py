"""Out of memory: a step down for each failure, up again later, and never a segment less."""

import gc
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import READY, Each, analysis

from sadstream.audio.segmenter import Segment
from sadstream.base.errors import UnavailableError
from sadstream.config import Config
from sadstream.daemon.loading import load_with_fallback
from sadstream.daemon.messages import LoadedAnalyzer, ModelsDegraded
from sadstream.daemon.pipeline.fallback import RETRY_MAX_S, RETRY_S, Fallback, FallbackStage, out_of_memory
from sadstream.scoring.analysis import Analysis

NAMES = ("as configured", "smaller", "CPU", "audio only")


class Memory:
    """How many stages have too little of it, when they load and when they work."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.too_small_to_load = 0
        self.too_small_to_work = 0
        self.loaded: list[str] = []
        self.said: list[tuple[str, str]] = []

    def stage(self, at: int) -> FallbackStage:
        def load() -> LoadedAnalyzer:
            self.loaded.append(NAMES[at])
            if at < self.too_small_to_load:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return LoadedAnalyzer(Each(self.worker(at)), READY)

        return FallbackStage(NAMES[at], load)

    def worker(self, at: int) -> Callable[[Segment], Analysis]:
        def work(segment: Segment) -> Analysis:
            if at < self.too_small_to_work:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return analysis(segment)

        return work

    def fallback(self) -> Fallback:
        return Fallback([self.stage(at) for at in range(4)], self.say, lambda: self.now_s)

    def say(self, report: ModelsDegraded) -> None:
        self.said.append((report.reason, report.detail))


def segment(number: int) -> Segment:
    return Segment(number, np.zeros(48_000, dtype=np.float32), 0.0, 3.0, 1.0, 0.0)


def test_while_memory_lasts_nothing_changes() -> None:
    memory = Memory()
    models = memory.fallback()
    for number in range(3):
        models.many([segment(number)])

    assert memory.loaded == ["as configured"]
    assert memory.said == []


@pytest.mark.parametrize("short", [1, 2, 3])
def test_the_segment_that_did_not_fit_is_scored_on_the_first_stage_that_holds(short: int) -> None:
    memory = Memory()
    models = memory.fallback()
    memory.too_small_to_load = memory.too_small_to_work = short

    assert models.many([segment(5)])[0].audio_logit == analysis(segment(5)).audio_logit
    assert memory.said == [("gpu-memory", name) for name in NAMES[1 : short + 1]]


def test_models_that_do_not_fit_at_the_start_give_way_to_smaller_ones() -> None:
    memory = Memory()
    memory.too_small_to_load = 2
    memory.fallback().many([segment(0)])

    assert memory.loaded == list(NAMES[:3])


def test_it_comes_back_when_there_is_memory_again() -> None:
    memory = Memory()
    models = memory.fallback()
    memory.too_small_to_work = memory.too_small_to_load = 2
    models.many([segment(0)])
    memory.too_small_to_work = memory.too_small_to_load = 0
    models.many([segment(1)])
    assert memory.said[-1] == ("gpu-memory", "CPU")
    memory.now_s = RETRY_S
    models.many([segment(2)])

    assert memory.said[-1] == ("none", "as configured")


def test_a_try_in_vain_gives_back_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a half-loaded model would stay with PyTorch's allocator, on a card that somebody else fills."""
    memory = Memory()
    models = memory.fallback()
    memory.too_small_to_work = memory.too_small_to_load = 1
    models.many([segment(0)])
    freed_after = []
    monkeypatch.setattr("sadstream.daemon.pipeline.fallback._free", lambda: freed_after.append(memory.loaded[-1]))
    memory.now_s = RETRY_S
    models.many([segment(1)])

    assert freed_after == ["as configured"]


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2.00 MiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuFFT error: CUFFT_ALLOC_FAILED",
    ],
)
def test_a_full_card_is_known_by_what_each_library_says(said: str) -> None:
    assert out_of_memory(RuntimeError(said))
    assert not out_of_memory(ValueError(said))
    assert not out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


def test_while_memory_is_short_it_tries_again_ever_more_rarely_and_loses_nothing() -> None:
    memory = Memory()
    models = memory.fallback()
    memory.too_small_to_work = memory.too_small_to_load = 1
    for number in range(20_000):
        memory.now_s += 3.0
        assert models.many([segment(number)])[0].model
    tries = memory.loaded.count("as configured")

    assert tries <= 2 + np.log2(RETRY_MAX_S / RETRY_S) + 60_000 / RETRY_MAX_S + 1


def test_one_stage_s_models_are_alive_at_a_time_however_often_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    short = [False]

    class Models:
        header = SimpleNamespace(licence="Apache-2.0", terms="")
        whisper_name = device = "cpu"

        def __init__(self, config: Config) -> None:
            alive.add(self)
            self.asked = (config.compute.device, config.whisper.model) == ("auto", "auto")

    class Analyzer:
        def __init__(self, models: Models) -> None:
            self.models = models

        def many(self, segments: Sequence[Segment], early: object) -> list[Analysis]:
            if short[0] and self.models.asked:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return [analysis(one) for one in segments]

    monkeypatch.setattr("sadstream.daemon.loading.load_models", Models)
    monkeypatch.setattr("sadstream.daemon.loading.Analyzer", Analyzer)
    monkeypatch.setattr("sadstream.daemon.pipeline.fallback.RETRY_S", 0.0)
    said: list[str] = []
    models = load_with_fallback(Config(), lambda report: said.append(report.reason)).analyzer
    for fault in range(3):
        short[0] = True
        models.many([segment(fault)])
        gc.collect()
        assert len(alive) == 1
        short[0] = False
        models.many([segment(fault)])
        gc.collect()
        assert len(alive) == 1

    assert said == ["gpu-memory", "none"] * 3


def test_what_is_let_go_is_in_no_memory_and_comes_back_as_it_was() -> None:
    memory = Memory()
    memory.too_small_to_load = 1
    models = memory.fallback()
    before = models.many([segment(3)])[0]
    assert models._loaded is not None
    held = weakref.ref(models._loaded.analyzer)
    models.release()

    assert held() is None
    models.restore()
    assert memory.loaded == [*NAMES[:2], NAMES[1]]
    assert models.many([segment(3)])[0].audio_logit == before.audio_logit


def test_what_no_longer_fits_when_it_comes_back_gives_way_to_smaller_ones() -> None:
    memory = Memory()
    models = memory.fallback()
    models.release()
    memory.too_small_to_load = 2
    models.restore()

    assert memory.said[-1] == ("gpu-memory", NAMES[2])
    assert models.many([segment(0)])[0].model


def test_when_nothing_fits_it_says_so() -> None:
    memory = Memory()
    memory.too_small_to_load = 4
    with pytest.raises(UnavailableError, match="out of memory"):
        memory.fallback()


def test_another_exception_is_not_hidden() -> None:
    def fail(_: Segment) -> Analysis:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    models = Fallback([FallbackStage(name, lambda: LoadedAnalyzer(Each(fail), READY)) for name in "ab"], lambda _: None)
    with pytest.raises(RuntimeError, match="shapes"):
        models.many([segment(0)], None)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(), MemoryError(), RuntimeError("CUDA failed with error out of memory")]
)
def test_every_kind_of_it_is_known(error: Exception) -> None:
    assert out_of_memory(error)
