"""What a fake daemon says by itself: talk with an episode in it, a loss, a microphone that goes and comes back."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypedDict

from sadstream.base.errors import UsageError
from sadstream.base.odds import sigmoid
from sadstream.events import STREAM_NAME, Episode, Phase, Reason, Score, State
from sadstream.events.types import NAME_EXPECTED
from sadstream.testing.fake_publisher import FakePublisher
from sadstream.testing.made_up import BIAS_LOGIT, episode, score, status

THRESHOLD = 0.5
LOST = 3  # scores in the gap
ROUND_SEGMENTS = 60
EMOTIONS = ("neutral", "sad", "angry", "happy", "fearful", "disgusted")  # a real checkpoint names its own


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
        total = BIAS_LOGIT + audio + text
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


class Storyteller:
    """Plays the script into a publisher; the numbers follow from the seed, sessions and times are real.

    feels: draws what its scores tell beside sad; without it they tell nothing more.
    """

    def __init__(self, publisher: FakePublisher, stream: str, speed: float, feels: random.Random | None = None) -> None:
        self._publisher = publisher
        self._stream = stream
        self._speed = speed
        self._feels = feels
        self._segment, self._episode, self._first_seq = 0, -1, 0
        self._last: Score | None = None

    def take(self, step: Step) -> None:
        """Say it, or wait; while somebody has paused it, no scores and no episodes."""
        match step:
            case StatusStep(state, reason) if not self._publisher.paused:
                self._publisher.send(status(state, reason, stream=self._stream))
            case PauseStep(seconds):
                self._publisher.rest(seconds / self._speed)
            case ScoreStep() if not self._publisher.paused:
                said = self._publisher.send(self._score(step), lost=step.lost)
                assert isinstance(said, Score)
                self._last = said
                self._segment += 1
            case EpisodeStep() if self._last is not None and not self._publisher.paused:
                self._publisher.send(self._told(step, self._last))

    def _score(self, step: ScoreStep) -> Score:
        felt = {} if self._feels is None else _felt(step, self._feels)
        return score(
            audio_logit=step.audio_logit,
            text_logit=step.text_logit,
            text_used=step.text_used,
            text_reason="none" if step.text_used else "low-confidence",
            segment=self._segment,
            t_start=step.t_start,
            t_end=step.t_end,
            voiced=step.voiced,
            mood=step.mood,
            uncertain=abs(sigmoid(BIAS_LOGIT + step.audio_logit + step.text_logit) - THRESHOLD) < 0.1,
            stream=self._stream,
            **felt,
        )

    def _told(self, step: EpisodeStep, last: Score) -> Episode:
        if step.phase == "start":
            self._episode, self._first_seq = self._episode + 1, last.seq
        return episode(
            step.phase,
            episode=self._episode,
            segments=step.segments,
            sad_segments=step.sad_segments,
            evidence=step.evidence,
            mood=last.mood or 0.0,
            t_start=step.t_start,
            t_end=last.t_end,
            first_score_seq=self._first_seq,
            last_score_seq=last.seq,
            stream=self._stream,
        )


class _Felt(TypedDict, total=False):
    emotions: dict[str, float]
    valence: float
    arousal: float


def _felt(step: ScoreStep, rng: random.Random) -> _Felt:
    """What a checkpoint with more heads might say of a segment: sad where its voice is, the rest as it falls."""
    powers = {name: math.exp(rng.gauss(0.0, 1.0) + (step.audio_logit if name == "sad" else 0.0)) for name in EMOTIONS}
    return {
        "emotions": {name: power / sum(powers.values()) for name, power in powers.items()},
        "valence": math.tanh(rng.gauss(-0.4 * step.audio_logit, 0.3)),
        "arousal": math.tanh(rng.gauss(0.0, 0.5)),
    }


def tell(
    endpoint: str,
    stream: str,
    seed: int,
    speed: float,
    rounds: int | None,
    emotions: bool = False,
    began: Callable[[str], None] = lambda _: None,
) -> None:
    """Publish the story of a seed until so many rounds are over, or for ever.

    emotions: its scores tell more than sad. began: told where it publishes, once it does. Raises UsageError for a
    name, else what a daemon's publisher raises.
    """
    if STREAM_NAME.fullmatch(stream) is None:
        raise UsageError(f"stream {stream!r}: {NAME_EXPECTED}")
    steps, feels = script(seed), random.Random(seed) if emotions else None  # noqa: S311  a script, no secret
    paused = False  # holds over a restart, as a real one does
    for number in count() if rounds is None else range(rounds):
        with FakePublisher(endpoint, stream, "paused" if paused else "starting") as publisher:
            if number == 0:
                began(publisher.endpoint)
            teller = Storyteller(publisher, stream, speed, feels)
            for step in steps:
                if isinstance(step, RestartStep):
                    break
                teller.take(step)
            paused = publisher.paused
