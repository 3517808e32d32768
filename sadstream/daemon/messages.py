"""What the threads say to the supervising loop, and what is in the queue between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sadstream.audio.segmenter import Segment
from sadstream.audio.sources.source import SourceChange
from sadstream.base.errors import SadstreamError
from sadstream.events import Event, Reason
from sadstream.events.types import Compute
from sadstream.scoring.analysis import Analysis, SegmentAnalyzer, Timing


@dataclass(frozen=True, slots=True, eq=False)
class QueuedSegment:
    """A segment that waits for the analyser."""

    stream: str
    segment: Segment
    vad_ms: float
    put_s: float  # boot time: a segment from before a suspend is old after it
    late_s: float  # its last sample's age then
    live: bool


@dataclass(frozen=True, slots=True)
class ModelsReady:
    """The models are loaded and warm."""

    whisper: str
    device: str
    licence: str
    terms: str  # what is to be said of using the weights in a business, if anything


@dataclass(frozen=True, slots=True)
class SourceChanged:
    """A stream's source says how it is."""

    stream: str
    change: SourceChange


@dataclass(frozen=True, slots=True)
class SignalFault:
    """A stream's audio shows a fault, or `none` again."""

    stream: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class SignalNote:
    """Something of a stream's audio that is no fault of a live one: it costs nothing, or it is a recording's."""

    stream: str
    what: str


@dataclass(frozen=True, slots=True)
class AudioGap:
    """Audio was lost before the frame that starts at this second of the stream."""

    stream: str
    t: float


@dataclass(frozen=True, slots=True, eq=False)
class AnalyzedSegment:
    """A segment, what the models made of it, and when."""

    stream: str
    segment: Segment
    analysis: Analysis
    timing: Timing
    busy_s: float
    waiting: int  # segments of the stream that still wait


@dataclass(frozen=True, slots=True)
class RejectedSegment:
    """A segment that held no speech, or somebody else's: nothing is said of it, and the next takes its number."""

    stream: str
    waiting: int
    stranger: bool


@dataclass(frozen=True, slots=True)
class DroppedSegment:
    """A stream's segment was lost: it made room for a newer one, was too `stale` when its turn came, or (`away`) nobody
    could be asked about it."""

    stream: str
    stale: bool
    away: str = ""


@dataclass(frozen=True, slots=True)
class ModelsDegraded:
    """The models run with less than configured (`gpu-memory`), elsewhere than configured (`slow`), or as configured."""

    reason: Reason
    detail: str
    compute: Compute | None = None  # whose are asked from now on, if that changed
    loading: bool | None = None  # own ones begin to be loaded for a segment in hand, or are there now


@dataclass(frozen=True, slots=True)
class ModelsReleased:
    """Nobody needed the models for long: they left memory, until somebody speaks."""


@dataclass(frozen=True, slots=True)
class ModelsRestored:
    """Somebody speaks: the models are back in memory."""

    took_s: float


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """A stream's source came to its end, or to the failure that ended it, and all its segments are analysed."""

    stream: str
    failure: SadstreamError | None


@dataclass(frozen=True, slots=True)
class ThreadFailed:
    """A thread could not go on; a `private` error's message may hold words."""

    error: Exception
    private: bool


# What whoever counts or keeps is told of: all that is published, and all that is not.
Observed = Event | AudioGap | RejectedSegment | DroppedSegment | ModelsReady | ModelsReleased | ModelsRestored
Observer = Callable[[Observed], None]

Report = (
    ModelsReady
    | SourceChanged
    | SignalFault
    | SignalNote
    | AudioGap
    | AnalyzedSegment
    | RejectedSegment
    | DroppedSegment
    | ModelsDegraded
    | ModelsReleased
    | ModelsRestored
    | SourceEnded
    | ThreadFailed
)


class Releasable(Protocol):
    """Models that can leave memory and come back."""

    def release(self) -> None:
        """Give their memory back."""
        ...

    def restore(self) -> None:
        """Load them again, as they were."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedAnalyzer:
    """An analyser that is warm, what is to be said of it, and its models where they can leave memory for a while."""

    analyzer: SegmentAnalyzer
    ready: ModelsReady
    models: Releasable | None = None


OnDegraded = Callable[[ModelsDegraded], None]
Load = Callable[[OnDegraded], LoadedAnalyzer]
