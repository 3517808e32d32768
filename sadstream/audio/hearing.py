"""The segments of one person's speech out of a source, and how much was heard."""

from collections.abc import Iterator
from dataclasses import dataclass

from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.sources.source import Source
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import AudioFrame
from sadstream.config import Config


@dataclass(frozen=True, slots=True)
class SpeechProgress:
    """How much speech was heard, of how much."""

    speech_s: float
    wanted_s: float


def segments_of(source: Source, config: Config) -> Iterator[Segment]:
    """The segments of a source until its end; UnavailableError without a microphone."""
    segmenter = Segmenter(config.vad, config.segment)
    for item in source.listen(lambda: False):
        if isinstance(item, AudioFrame):
            yield from segmenter.feed(item)
        elif item.state == "no-device":
            raise UnavailableError(f"{item.detail or 'no microphone'}; `sadstream devices` lists them")
    yield from segmenter.flush()
