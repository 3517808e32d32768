"""What the models make of a segment: one logit in parts, and what may be said of it. Pure."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sadstream.audio.silero import UnscoredSegment
from sadstream.base.odds import logit, sigmoid
from sadstream.config import Config
from sadstream.config.tables import PublishConfig
from sadstream.events import Latency, Score
from sadstream.events.types import Compute
from sadstream.scoring.fusion.header import Calibration, Header
from sadstream.scoring.whisper.recognizer import Transcript
from sadstream.scoring.whisper.trust import SURE_SPEECH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sadstream.audio.segmenter import Segment


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What is known of a segment after the models: calibrated logit parts, words, and the time each took."""

    bias_logit: float
    audio_logit: float
    text_logit: float
    p_sad: float
    threshold: float
    transcript: Transcript
    model: str  # first 12 hex digits of the checkpoint's SHA-256
    whisper_ms: float
    text_ms: float
    fusion_ms: float
    attention: "NDArray[np.float32] | None"  # (frames,) over the segment's feature frames
    speech: float = 1.0  # probability that anybody speaks
    uncapped_logit: float = 0.0  # the audio part before its cap, by which a voice is learnt
    is_additive: bool = True  # the parts mean something; else `audio_logit` is all of the evidence
    emotions: tuple[tuple[str, float], ...] = ()  # each with its probability; none: the checkpoint knows sad alone
    valence: float | None = None  # -1 unpleasant, 0 neutral, 1 pleasant
    arousal: float | None = None  # -1 calm, 0 neutral, 1 excited
    person: str = ""  # of those in [voice] only, where it names anybody
    offset_logit: float = 0.0  # the voice's own, once it is known
    mood: float | None = None  # probability of a sad stretch, once there is a before
    uncertain: bool | None = None
    provisional: bool = False  # of its sound alone, before the words
    compute: Compute | None = None  # where the models are, if they may be elsewhere
    remote_ms: float | None = None  # on the way there and back, and waiting there

    @property
    def sure_speech(self) -> bool:
        """More likely than not that somebody speaks, by the speech gate and by Whisper."""
        return is_sure_speech(self.speech, self.transcript)

    @property
    def sad(self) -> bool:
        """The decision at the threshold in force."""
        return self.p_sad >= self.threshold


@dataclass(frozen=True, slots=True)
class LostSegment:
    """Nobody could be asked about a segment."""

    why: str


SegmentAnswer = Analysis | UnscoredSegment | LostSegment
Early = Callable[[int, Analysis], None]  # is told which segment of a batch it is, and what its sound alone comes to
UNHEARD = Transcript("", 0.0, 0.0, "off")


class BatchAnalyzer(Protocol):
    """Whoever scores segments: the models, what stands in for them when memory runs out, or a test's fake."""

    def many(self, segments: "Sequence[Segment]", early: Early | None = None) -> list[Analysis | UnscoredSegment]:
        """Each segment's analysis, or that nobody is to be scored in it; `early` hears of sounds before the words."""
        ...


class SegmentAnalyzer(Protocol):
    """As a BatchAnalyzer, and it may be that nobody could be asked."""

    def many(self, segments: "Sequence[Segment]", early: Early | None = None) -> Sequence[SegmentAnswer]:
        """Each segment's analysis, that nobody is to be scored in it, or that it is lost."""
        ...


def uncapped_part(calibration: Calibration, raw: float) -> float:
    """The audio log-likelihood ratio in a raw audio part, before its cap."""
    return _finite(calibration.audio_scale * raw + calibration.audio_shift)


def audio_part(calibration: Calibration, raw: float) -> float:
    """The audio log-likelihood ratio in a raw audio part."""
    return _clip(uncapped_part(calibration, raw), calibration.audio_cap)


def heard_audio_part(header: Header, raw: float, sure_speech: bool) -> float:
    """The audio part that counts: what may be a dog, or babble that nobody says, is no evidence of sadness."""
    part = audio_part(header.calibration, raw) if header.audio else 0.0
    return part if sure_speech else min(part, 0.0)


def text_part(calibration: Calibration, raw: float) -> float:
    """The text log-likelihood ratio in a raw text part."""
    return _clip(calibration.text_scale * raw + calibration.text_shift, calibration.text_cap)


def is_sure_speech(speech: float, transcript: Transcript) -> bool:
    """More likely than not that somebody speaks, by the speech gate's probability and by Whisper."""
    return speech >= SURE_SPEECH and transcript.reason != "silence"


def _clip(value: float, cap: float) -> float:
    return max(-cap, min(cap, _finite(value)))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ArithmeticError("the fusion model gave a part that is not a number")
    return value


def prior_logit_in_force(config: Config, header: Header) -> float:
    """The log-odds of sadness before anything is heard: the configuration's, else the header's."""
    return logit(config.model.prior or header.prior)


def threshold_in_force(config: Config, header: Header) -> float:
    """The threshold in force; the header's moves with a changed prior, so that it means the same evidence."""
    if config.model.threshold is not None:
        return config.model.threshold
    if config.model.prior is None:
        return header.threshold
    moved = logit(header.threshold) - logit(header.prior) + logit(config.model.prior)
    return sigmoid(moved)


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the milliseconds before the models went, and when the segment's last sample was in hand."""

    queue_ms: float
    vad_ms: float
    arrived_s: float
    analyzed_s: float


def latency(timing: Timing, analysis: Analysis) -> Latency:
    """Where the milliseconds of a segment went, up to now."""
    now_s = time.monotonic()
    return Latency(
        queue=timing.queue_ms,
        vad=timing.vad_ms,
        whisper=analysis.whisper_ms,
        text=analysis.text_ms,
        fusion=analysis.fusion_ms,
        publish=1000 * (now_s - timing.analyzed_s),
        total=1000 * (now_s - timing.arrived_s),
        remote=analysis.remote_ms,
    )


def make_score(
    opening: dict[str, Any],
    segment: "Segment",
    analysis: Analysis,
    spent: Latency,
    dropped: int,
    publish: PublishConfig,
) -> Score:
    """The score event of an analysed segment.

    Its words and whose they are go along only where `[publish]` says so, what else is heard in the voice unless it
    says no.
    """
    told, more = analysis.is_additive, publish.emotions
    return Score(
        **opening,
        segment=segment.number,
        t_start=segment.t_start,
        t_end=segment.t_end,
        p_sad=analysis.p_sad,
        threshold=analysis.threshold,
        sad=analysis.sad,
        bias_logit=analysis.bias_logit if told else None,
        audio_logit=analysis.audio_logit if told else None,
        text_logit=analysis.text_logit if told else None,
        offset_logit=analysis.offset_logit if told else None,
        text_used=analysis.transcript.kept,
        text_reason=analysis.transcript.reason,
        voiced=segment.voiced,
        latency_ms=spent,
        dropped=dropped,
        model=analysis.model,
        mood=analysis.mood,
        uncertain=analysis.uncertain,
        provisional=True if analysis.provisional else None,
        compute=analysis.compute,
        emotions=dict(analysis.emotions) or None if more else None,
        valence=analysis.valence if more else None,
        arousal=analysis.arousal if more else None,
        speaker=analysis.person or None if publish.speaker else None,
        text=analysis.transcript.text if publish.text else None,
    )
