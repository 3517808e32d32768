"""What the scores of one stream come to over time: the voice's offset, the rejection band, mood and episodes; pure."""

import math
from dataclasses import dataclass, replace

from sadstream.base.errors import ConfigError
from sadstream.base.odds import sigmoid
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.fusion.card import DEFAULT_FALSE_ALARMS_H, Card, Offset
from sadstream.scoring.fusion.voices import Voices
from sadstream.scoring.mood.belief import PeopleBelief, StretchBelief, voice_prior
from sadstream.scoring.mood.episodes import EpisodeFilter, EpisodeUpdate, ScoredSegment
from sadstream.scoring.mood.offset import RunningOffset
from sadstream.scoring.mood.voice import VoiceBaseline

NEVER = math.inf  # threshold of a filter that only smooths


@dataclass(frozen=True, slots=True)
class MoodPlan:
    """What a configuration, a checkpoint's card and a voice's calibration say of every stream."""

    offset: Offset = "off"
    offset_logit: float = 0.0  # of the calibrated voice, where the card knows nothing of voices in general
    reference: float = 0.0
    threshold: float = NEVER  # of the filter, in log-odds
    false_alarms_h: float = 0.0  # the operating point; 0: no episodes
    uncertain: tuple[float, float] | None = None  # log-likelihood ratios that are too close to call
    voices: Voices | None = None  # a voice is learnt while it talks
    prior: tuple[float, ...] | None = None  # of the calibrated voice's offset; None: what is known of voices in general


NO_PLAN = MoodPlan()  # moods, and nothing else


def plan(card: Card | None, wanted_h: float | None, offset: Offset, voice: VoiceBaseline | None = None) -> MoodPlan:
    """The plan; ConfigError for an operating point that was asked for and cannot be kept.

    wanted_h: false alarms an hour; 0 for no episodes, None for the default where the checkpoint can keep it.
    """
    if offset == "auto" and (card is None or card.voices is None):
        offset = "off"
    offset_logit = voice.offset_logit if voice is not None else 0.0
    if card is None:
        if wanted_h or offset == "running":
            raise ConfigError(
                "episode.false_alarms_h, voice.offset: this checkpoint has no card that says what it can keep; "
                "make one with: sadstream-train days"
            )
        return MoodPlan(offset, offset_logit)
    made = MoodPlan(offset, offset_logit, card.reference, uncertain=card.uncertain(offset))
    if card.voices is not None and offset in ("auto", "calibrated"):
        known = None if voice is None else tuple(voice_prior(card.voices, voice.typical, voice.segments))
        made = replace(made, offset_logit=0.0, voices=card.voices, prior=known)
    if wanted_h == 0.0:
        return made
    rate = DEFAULT_FALSE_ALARMS_H if wanted_h is None else wanted_h
    try:
        point = card.operating_point(rate, offset)
    except ConfigError:
        if wanted_h is None:
            return made
        raise
    return replace(made, threshold=point.threshold, false_alarms_h=rate)


class Mood:
    """Analyses of one stream in, the same with what came before them out, and the updates of its episodes."""

    __slots__ = ("_filter", "_plan", "_running", "_seq", "_voice")

    def __init__(self, plan: MoodPlan) -> None:
        self._plan = plan
        self._voice = None if plan.voices is None else PeopleBelief(plan.voices, plan.prior)
        self._filter = EpisodeFilter(plan.threshold, self._voice or StretchBelief())
        self._running = RunningOffset(plan.reference)
        self._seq = 0  # of the stream's scores: every one goes through here

    def feed(self, analysis: Analysis, t_start: float, t_end: float) -> tuple[Analysis, list[EpisodeUpdate]]:
        """The analysis with offset, mood and whether it is too close to call, and what it makes of the episodes."""
        updates = self._filter.elapse(t_start)
        offset = self._offset_now(analysis)
        if self._plan.offset == "running":
            self._running.feed(analysis.audio_logit, t_end - t_start)
        llr = analysis.audio_logit + analysis.text_logit + offset
        p_sad = sigmoid(analysis.bias_logit + llr)
        heard = self._heard(analysis, offset)
        sad = p_sad >= analysis.threshold
        updates += self._filter.feed(ScoredSegment(t_start, t_end, self._seq, sad, heard, analysis.text_logit))
        self._seq += 1
        limits = self._plan.uncertain
        close = None if limits is None else not analysis.sure_speech or limits[0] < llr < limits[1]
        moved = replace(analysis, offset_logit=offset, p_sad=p_sad, mood=self._filter.mood, uncertain=close)
        return moved, updates

    def early(self, analysis: Analysis) -> Analysis:
        """A provisional analysis with the voice's offset; it moves no mood and no episode, and has a number."""
        offset = self._offset_now(analysis)
        self._seq += 1
        llr = analysis.bias_logit + analysis.audio_logit + analysis.text_logit + offset
        return replace(analysis, offset_logit=offset, p_sad=sigmoid(llr))

    def elapse(self, t: float) -> list[EpisodeUpdate]:
        """Nobody spoke up to this second of audio."""
        return self._filter.elapse(t)

    def flush(self) -> list[EpisodeUpdate]:
        """The stream ends."""
        return self._filter.flush()

    def _offset_now(self, analysis: Analysis) -> float:
        """What is known of the voice, from the talk before this segment and never from itself."""
        if self._voice is not None:
            self._voice.turn_to(analysis.person)
            llr = self._voice.llr(analysis.uncapped_logit)
            return (llr if analysis.sure_speech else min(llr, 0.0)) - analysis.audio_logit
        if self._plan.offset == "running":
            return self._running.offset
        return self._plan.offset_logit if self._plan.offset == "calibrated" else 0.0

    def _heard(self, analysis: Analysis, offset: float) -> float | None:
        """The ratio that moves the belief; what may be a dog tells nothing of a voice."""
        if self._voice is None:
            return analysis.audio_logit + offset
        return analysis.uncapped_logit if analysis.sure_speech else None
