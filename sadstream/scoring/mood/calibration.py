"""`sadstream calibrate`: a few minutes of somebody's ordinary speech in, one offset for all their scores out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from sadstream.audio.hearing import SpeechProgress, segments_of
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.source import Source
from sadstream.base.errors import DataError, UnavailableError
from sadstream.config import Config, with_changes
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.fusion.card import Card, read_card
from sadstream.scoring.mood.offset import calibrated_offset
from sadstream.scoring.mood.plan import checkpoint_path
from sadstream.scoring.mood.voice import VoiceBaseline

LEAST_SEGMENTS = 10  # measured on 4 to 30: below, a voice is known no better than before


def calibrate(source: Source, config: Config, wanted_s: float) -> Iterator[SpeechProgress | VoiceBaseline]:
    """Progress, and at last the voice; DataError where too little was said.

    The words do not count: the models run without them.
    """
    analyzer = Analyzer(load_models(with_changes(config, {"text": {"encoder": "off"}})))
    card = read_card(checkpoint_path(config), analyzer.models.model_id)
    if card is None:
        raise UnavailableError(f"{checkpoint_path(config)}: no card beside it; make one with: sadstream-train days")
    heard: list[Analysis] = []
    heard_s = 0.0
    for segment in segments_of(source, config):
        analysis = analyzer(segment)
        if isinstance(analysis, UnscoredSegment) or not analysis.sure_speech:
            continue
        heard.append(analysis)
        heard_s += segment.t_end - segment.t_start
        yield SpeechProgress(heard_s, wanted_s)
        if heard_s >= wanted_s:
            break
    if len(heard) < LEAST_SEGMENTS:
        raise DataError(
            f"calibrate: {len(heard)} segments of speech, {heard_s:.0f} s: expected at least {LEAST_SEGMENTS}; "
            "talk on, about anything that is neither sad nor exciting"
        )
    yield baseline(heard, heard_s, card)


def baseline(heard: Sequence[Analysis], speech_s: float, card: Card) -> VoiceBaseline:
    """What so much of a voice's ordinary talk says of it."""
    return VoiceBaseline(
        model=heard[0].model,
        segments=len(heard),
        speech_s=round(speech_s, 2),
        typical=round(fmean(one.uncapped_logit for one in heard), 6),
        offset_logit=round(calibrated_offset([one.audio_logit for one in heard], card.reference), 6),
    )


def voice_path(config: Config, out: Path | None) -> Path:
    """Where the voice is written: what was asked for, else where the daemon looks for it."""
    from sadstream.scoring.mood.voice import default_path

    if out is not None:
        return out
    return Path(config.voice.path).expanduser() if config.voice.path else default_path()
