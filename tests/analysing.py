"""Scores without models, and an analyser that gives them; with few imports, for processes that start often."""

import math
from collections.abc import Callable, Sequence

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.scoring.analysis import Analysis, Early
from sadstream.scoring.whisper.recognizer import Transcript


def analysis(segment: Segment, text: str = "") -> Analysis:
    """A score that depends on nothing but the segment's number."""
    audio = (segment.number % 7 - 3) / 2
    return Analysis(
        bias_logit=0.0,
        audio_logit=audio,
        uncapped_logit=audio,
        text_logit=0.0,
        p_sad=1 / (1 + math.exp(-audio)),
        threshold=0.5,
        transcript=Transcript(text, 0.0, 0.0, "none" if text else "off"),
        model="0123456789ab",
        whisper_ms=0.0,
        text_ms=0.0,
        fusion_ms=0.0,
        attention=None,
    )


class Each:
    """An analyser that does to each segment what it was given; nothing is said early."""

    def __init__(self, analyze: Callable[[Segment], Analysis | UnscoredSegment]) -> None:
        self._analyze = analyze

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | UnscoredSegment]:
        """Their analyses."""
        return [self._analyze(segment) for segment in segments]
