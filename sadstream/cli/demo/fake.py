"""`sadstream fake`: a schema-true publisher without models or microphone, to build and test apps against."""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sadstream.audio.segmenter import Segment
from sadstream.base.odds import sigmoid
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.events import HEARTBEAT_S, Episode, Latency, Phase, Reason, Score, State, Status
from sadstream.scoring.analysis import Analysis, make_score
from sadstream.scoring.whisper.recognizer import Transcript

MODEL = "fa4e" * 3  # no checkpoint's
THRESHOLD = 0.5
BIAS = -1.2
FALSE_ALARMS_H = 1.0
LOST = 3  # scores in the gap
ROUND_SEGMENTS = 60


@dataclass(frozen=True, slots=True)
class ScoreStep:
    """A score to send: what it says, and whether it gets lost on the way."""

    t_start: float
    t_end: float
    audio_logit: float
    text_logit: float
    text_used: bool
    voiced: float
    mood: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class EpisodeStep:
    """An episode event to send."""

    phase: Phase
    t_start: float
    evidence: float
    segments: int
    sad_segments: int


@dataclass(frozen=True, slots=True)
class StatusStep:
    """A status to send."""

    state: State
    reason: Reason


@dataclass(frozen=True, slots=True)
class PauseStep:
    """Seconds in which nothing is said but heartbeats."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RestartStep:
    """The daemon dies and comes back as a new one."""


Step = ScoreStep | EpisodeStep | StatusStep | PauseStep | RestartStep


def script(seed: int) -> Iterator[Step]:
    """What the fake says, round after round, the same for the same seed.

    Each round: talk with an episode in it, a gap of LOST scores, a microphone that goes and comes, a restart.
    """
    rng = random.Random(seed)  # noqa: S311  a script, no secret
    while True:
        yield StatusStep("starting", "none")
        yield PauseStep(1.0)
        yield StatusStep("listening", "none")
        yield from _talk(rng)
        yield StatusStep("no-device", "device-lost")
        yield PauseStep(4.0)
        yield StatusStep("listening", "none")
        yield PauseStep(1.0)
        yield StatusStep("stopping", "none")
        yield RestartStep()


def _talk(rng: random.Random) -> Iterator[Step]:
    t, mood, evidence = 0.0, 0.3, 0.0
    first: int | None = None
    start_t, sad_segments = 0.0, 0
    for number in range(ROUND_SEGMENTS):
        length, gap = rng.uniform(1.0, 3.0), rng.uniform(0.2, 1.5)
        begin, t = t, t + length
        yield PauseStep(length)
        low = ROUND_SEGMENTS // 4 <= number < ROUND_SEGMENTS // 2
        audio = rng.gauss(2.0 if low else -0.5, 1.0)
        text_used = rng.random() < 0.8
        text = rng.gauss(0.8 if low else -0.3, 0.7) if text_used else 0.0
        total = BIAS + audio + text
        mood += 0.25 * (sigmoid(total) - mood)
        lost = ROUND_SEGMENTS * 3 // 4 <= number < ROUND_SEGMENTS * 3 // 4 + LOST
        yield ScoreStep(begin, t, audio, text, text_used, rng.uniform(0.6, 1.0), mood, lost)
        evidence = min(8.0, max(0.0, evidence + total))
        sad_segments += first is not None and total >= 0.0
        if first is None and evidence > 3.0:
            first, start_t, sad_segments = number, begin, 1
            yield EpisodeStep("start", start_t, evidence, 1, 1)
        elif first is not None:
            over = evidence < 0.5
            yield EpisodeStep("end" if over else "update", start_t, evidence, number - first + 1, sad_segments)
            first = None if over else first
        yield PauseStep(gap)
        t += gap


class FakeDaemon:
    """Plays the script into a publisher; the numbers follow from the seed, sessions and times are real."""

    def __init__(self, endpoint: str, stream: str, seed: int, speed: float) -> None:
        self._endpoint = endpoint
        self._stream = stream
        self._seed = seed
        self._speed = speed
        self._state: tuple[State, Reason] = ("starting", "none")
        self._said_s = 0.0
        self._fresh()

    def play(self, rounds: int | None) -> None:
        """Publish until so many rounds are over, or for ever."""
        steps = script(self._seed)
        while rounds is None or rounds > 0:
            with Publisher(self._endpoint) as publisher:
                for step in steps:
                    if isinstance(step, RestartStep):
                        break
                    self._take(publisher, step)
            self._fresh()
            rounds = None if rounds is None else rounds - 1

    def _fresh(self) -> None:
        self._segment, self._episode, self._first_seq = 0, -1, 0
        self._last: Score | None = None

    def _take(self, publisher: Publisher, step: Step) -> None:
        match step:
            case StatusStep(state, reason):
                self._state = state, reason
                self._say(publisher)
            case PauseStep(seconds):
                self._sleep(publisher, seconds / self._speed)
            case ScoreStep():
                self._last = publisher.send(self._score(publisher, step), lost=step.lost)
                self._segment += 1
            case EpisodeStep() if self._last is not None:
                publisher.send(self._told(publisher, step, self._last))

    def _score(self, publisher: Publisher, step: ScoreStep) -> Score:
        import numpy as np

        unheard = np.zeros(0, np.float32)
        segment = Segment(self._segment, unheard, step.t_start, step.t_end, step.voiced, arrived_s=0.0)
        analysis = _analysis(step)
        stages = {"queue": 0.4, "vad": 0.2, "whisper": analysis.whisper_ms, "text": analysis.text_ms}
        stages |= {"fusion": analysis.fusion_ms, "publish": 0.2}
        spent = Latency(**stages, total=sum(stages.values()))
        opening = publisher.opening(self._stream, Score.type)
        return make_score(opening, segment, analysis, spent, dropped=0, with_text=False)

    def _told(self, publisher: Publisher, talk: EpisodeStep, last: Score) -> Episode:
        if talk.phase == "start":
            self._episode, self._first_seq = self._episode + 1, last.seq
        return Episode(
            **publisher.opening(self._stream, Episode.type),
            episode=self._episode,
            phase=talk.phase,
            t_start=talk.t_start,
            t_end=last.t_end,
            segments=talk.segments,
            sad_segments=talk.sad_segments,
            evidence=talk.evidence,
            mood=last.mood or 0.0,
            first_score_seq=self._first_seq,
            last_score_seq=last.seq,
            false_alarms_h=FALSE_ALARMS_H,
            model=MODEL,
        )

    def _sleep(self, publisher: Publisher, seconds: float) -> None:
        """Answer whoever joins meanwhile, and say every HEARTBEAT_S that we are there."""
        until = time.monotonic() + seconds
        while True:
            publisher.wait(max(0, min(200, math.ceil(1000 * (until - time.monotonic())))))
            now = time.monotonic()
            if now - self._said_s >= HEARTBEAT_S - 0.2:
                self._say(publisher)
            if now >= until:
                return

    def _say(self, publisher: Publisher) -> Status:
        self._said_s = time.monotonic()
        state, reason = self._state
        opening = publisher.opening(self._stream, Status.type)
        return publisher.send(Status(**opening, state=state, reason=reason, dropped=0, rtf=0.1))


def _analysis(step: ScoreStep) -> Analysis:
    p_sad = sigmoid(BIAS + step.audio_logit + step.text_logit)
    return Analysis(
        bias_logit=BIAS,
        audio_logit=step.audio_logit,
        text_logit=step.text_logit,
        p_sad=p_sad,
        threshold=THRESHOLD,
        transcript=Transcript("", 0.0, 0.0, "none" if step.text_used else "low-confidence"),
        model=MODEL,
        whisper_ms=210.0,
        text_ms=9.0,
        fusion_ms=6.0,
        attention=None,
        mood=step.mood,
        uncertain=abs(p_sad - THRESHOLD) < 0.1,
    )
