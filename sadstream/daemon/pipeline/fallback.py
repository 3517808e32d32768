"""Models that do not fit into memory give way to smaller ones, and come back; no segment is lost on the way."""

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sadstream.audio.segmenter import Segment
from sadstream.base.errors import UnavailableError, out_of_memory
from sadstream.daemon.messages import LoadedAnalyzer, ModelsDegraded, ModelsReady, OnDegraded
from sadstream.scoring.analysis import Early, SegmentAnswer

RETRY_S = 60.0  # until the configured models are tried again; twice as long after each failure
RETRY_MAX_S = 3600.0


@dataclass(frozen=True, slots=True)
class FallbackStage:
    """A way to run the models: what it is called, and how it is loaded."""

    name: str
    load: Callable[[], LoadedAnalyzer]


class Fallback:
    """An analyser that goes to the next stage when memory runs out and tries the first again from time to time.

    One stage's models are held at a time; while the first is tried again, the smaller ones that hold are kept.
    """

    def __init__(
        self, stages: Sequence[FallbackStage], on_degraded: OnDegraded, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stages = stages
        self._on_degraded = on_degraded
        self._now = now
        self._at = 0
        self._retry_s = RETRY_S
        self._retry_at_s = 0.0
        self._loaded: LoadedAnalyzer | None = None
        self._load_from(0)

    @property
    def ready(self) -> ModelsReady:
        """What is to be said of the models in use."""
        assert self._loaded is not None
        return self._loaded.ready

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> Sequence[SegmentAnswer]:
        """The segments' scores, on whichever stage holds; nothing is said early a second time."""
        if self._at and self._now() >= self._retry_at_s:
            self._climb()
        while True:
            assert self._loaded is not None
            try:
                return self._loaded.analyzer.many(segments, early)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            early = None
            self._load_from(self._at + 1)

    def release(self) -> None:
        """Give their memory back, until `restore`."""
        self._loaded = None
        _free()
        torch = sys.modules.get("torch")
        if torch is not None:
            from sadstream.scoring.weights.packed import give_back

            give_back()

    def restore(self) -> None:
        """The same stage's models again, or where they no longer fit, smaller ones."""
        self._load_from(self._at)

    def _load_from(self, stage: int) -> None:
        """Load the first stage from here on that fits."""
        for at in range(stage, len(self._stages)):
            if at:
                self._on_degraded(ModelsDegraded("gpu-memory", self._stages[at].name))
            self._loaded = None  # its memory is needed
            _free()
            self._at = at
            self._retry_at_s = self._now() + self._retry_s
            try:
                self._loaded = self._stages[at].load()
                return
            except UnavailableError:
                if at == 0:  # not a matter of memory: the configuration asks for what is not here
                    raise
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
        raise UnavailableError("models: out of memory, on the CPU and without words too; free some and start again")

    def _climb(self) -> None:
        try:
            self._loaded = self._stages[0].load()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
            self._retry_at_s = self._now() + self._retry_s
        else:
            self._at, self._retry_s = 0, RETRY_S
            self._on_degraded(ModelsDegraded("none", self._stages[0].name))
        _free()  # what was loaded in vain, or is replaced: whoever filled the card may need it


def _free() -> None:
    gc.collect()
    torch = sys.modules.get("torch")  # before it was imported there is nothing to give back
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
