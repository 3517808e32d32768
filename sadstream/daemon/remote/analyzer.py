"""A room's analyser: segments go to a door, their scores come back; where nobody answers, the room's own models."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.base.errors import SadstreamError
from sadstream.base.odds import sigmoid
from sadstream.config import Config
from sadstream.daemon.messages import LoadedAnalyzer
from sadstream.daemon.remote.request import (
    Answer,
    RefusedAnswer,
    ScoredAnswer,
    SegmentRequest,
    UnscoredAnswer,
    request_frames,
)
from sadstream.scoring.analysis import (
    Analysis,
    Early,
    LostSegment,
    SegmentAnswer,
    prior_logit_in_force,
    threshold_in_force,
)
from sadstream.scoring.fusion.header import Header
from sadstream.scoring.speakers.gate import SpeakerGate
from sadstream.scoring.whisper.recognizer import Transcript

log = logging.getLogger("sadstream")

UNANSWERED = "no answer in time"
AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class TimedAnswer:
    """What a door said, or None, and how long that took."""

    answer: Answer | None
    ms: float


class DoorLink(Protocol):
    """The way to a door."""

    @property
    def is_up(self) -> bool:
        """Somebody answers there."""
        ...

    def ask(self, requests: Sequence[list[bytes]], timeout_s: float) -> list[TimedAnswer]:
        """What is said to each, all asked at once."""
        ...


class RemoteAnalyzer:
    """Asks a door while it answers, and the models that `load_local` loads while it does not.

    local: those that are loaded already. With neither, a segment that nobody answers is lost, which is said; or
    asked about again until somebody does, where the source is `patient`.
    """

    def __init__(
        self,
        config: Config,
        header: Header,
        model: str,
        link: DoorLink,
        load_local: Callable[[], LoadedAnalyzer] | None,
        local: LoadedAnalyzer | None = None,
        patient: bool = False,
    ) -> None:
        self._config = config
        self._model = model
        self._link = link
        self._load_local = load_local
        self._local = local
        self._stays = local is not None
        self._patient = patient
        self._is_additive = header.fusion.is_additive
        self._prior_logit = prior_logit_in_force(config, header)
        self._threshold = threshold_in_force(config, header)
        # Who somebody is stays in the room: a stranger's segment never leaves it.
        self._people = SpeakerGate(config) if config.voice.only else None

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[SegmentAnswer]:
        """Each segment's analysis as the door or the room's own models make it."""
        people = [self._people.who(one) if self._people else "" for one in segments]
        answers: list[SegmentAnswer] = [UnscoredSegment(1.0, stranger=True)] * len(segments)
        known = [n for n, person in enumerate(people) if person is not None]
        for n, answer in zip(known, self._asked([segments[n] for n in known]), strict=True):
            person = people[n] or ""
            answers[n] = replace(answer, person=person) if isinstance(answer, Analysis) else answer
        return answers

    def _asked(self, segments: Sequence[Segment]) -> list[SegmentAnswer]:
        if not segments:
            return []
        answers = self._elsewhere(segments)
        while lost := [n for n, answer in enumerate(answers) if isinstance(answer, LostSegment)]:
            local = self._own()
            if local is None and not self._patient:
                break
            if local is None:
                time.sleep(AGAIN_S)
                found: Sequence[SegmentAnswer] = self._elsewhere([segments[n] for n in lost])
            else:
                found = [_here(one) for one in local.analyzer.many([segments[n] for n in lost])]
            for n, one in zip(lost, found, strict=True):
                answers[n] = one
        return answers

    def _elsewhere(self, segments: Sequence[Segment]) -> list[SegmentAnswer]:
        if not self._link.is_up:
            return [LostSegment("the cluster is away")] * len(segments)
        self._leave_local()
        timed = self._link.ask([self._frames(lane, one) for lane, one in enumerate(segments)], self._timeout_s)
        return [self._answer(one) for one in timed]

    @property
    def _timeout_s(self) -> float:
        return self._config.remote.timeout_s

    def _frames(self, lane: int, segment: Segment) -> list[bytes]:
        request = SegmentRequest(
            lane=lane,
            t_start=segment.t_start,
            t_end=segment.t_end,
            voiced=segment.voiced,
            age_ms=0.0,
            wait_ms=1000 * self._timeout_s,
            words=self._config.publish.text,
            codec=self._config.remote.codec,
        )
        return request_frames(request, segment.heard)

    def _answer(self, timed: TimedAnswer) -> SegmentAnswer:
        match timed.answer:
            case ScoredAnswer() as found if found.model == self._model:
                return self._analysis(found, timed.ms)
            case ScoredAnswer() as found:
                return LostSegment(f"the door hears with checkpoint {found.model}, expected {self._model}")
            case UnscoredAnswer(speech=speech):
                return UnscoredSegment(speech)
            case RefusedAnswer(why=why, what=what):
                return LostSegment(f"refused by the door: {why}{', ' if what else ''}{what}")
            case _:
                return LostSegment(UNANSWERED)

    def _analysis(self, found: ScoredAnswer, ms: float) -> Analysis:
        models_ms = found.whisper_ms + found.text_ms + found.fusion_ms
        return Analysis(
            bias_logit=self._prior_logit,
            audio_logit=found.audio,
            is_additive=self._is_additive,
            text_logit=found.text,
            p_sad=sigmoid(self._prior_logit + found.audio + found.text),
            threshold=self._threshold,
            transcript=Transcript(found.words or "", found.no_speech, found.avg_logprob, found.reason),
            model=found.model,
            whisper_ms=found.whisper_ms,
            text_ms=found.text_ms,
            fusion_ms=found.fusion_ms,
            attention=None,
            speech=found.speech,
            uncapped_logit=found.uncapped,
            emotions=tuple((found.emotions or {}).items()),
            valence=found.valence,
            arousal=found.arousal,
            compute="remote",
            remote_ms=max(0.0, ms - models_ms),
        )

    def _own(self) -> LoadedAnalyzer | None:
        """The room's own models: loaded when the cluster is away, or there already."""
        if self._local is None and self._load_local is not None and not self._link.is_up:
            try:
                self._local = self._load_local()
            except SadstreamError as error:
                log.error("own models: %s", error)
                self._load_local = None
        return self._local

    def _leave_local(self) -> None:
        """The cluster is back: what was loaded for the time without it is given back."""
        if self._local is not None and not self._stays:
            self._local = None


def _here(found: SegmentAnswer) -> SegmentAnswer:
    return replace(found, compute="local") if isinstance(found, Analysis) else found
