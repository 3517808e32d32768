"""Episodes out of what is believed of a stream from score to score: where they start, go on and end; pure."""

from dataclasses import dataclass

from sadstream.base.odds import sigmoid
from sadstream.events import Phase
from sadstream.scoring.mood.belief import REST, Belief

HYSTERESIS = 2.0  # an episode ends this far, in log-odds, below the evidence that started it
UPDATE_S = 10.0  # of audio between two updates


@dataclass(frozen=True, slots=True)
class ScoredSegment:
    """What the filter needs of a score."""

    t_start: float
    t_end: float
    seq: int
    sad: bool
    audio: float | None  # log-likelihood ratio that the belief hears of its sound; None: hears nothing
    words: float = 0.0  # and of its words


@dataclass(frozen=True, slots=True)
class EpisodeUpdate:
    """An episode starts, goes on or ends."""

    episode: int
    phase: Phase
    t_start: float
    t_end: float
    segments: int
    sad_segments: int
    evidence: float
    mood: float
    first_score_seq: int
    last_score_seq: int


@dataclass(slots=True)
class _EpisodeCandidate:
    """The segments since the evidence began to rise."""

    first: ScoredSegment
    last: ScoredSegment
    segments: int = 0
    sad_segments: int = 0

    def add(self, segment: ScoredSegment) -> None:
        self.last = segment
        self.segments += 1
        self.sad_segments += segment.sad


class EpisodeFilter:
    """Scores of one stream in, episodes out; `threshold` in log-odds comes from the checkpoint's trade-off curve."""

    __slots__ = ("_belief", "_candidate", "_episode", "_open", "_said_s", "_t", "_threshold", "evidence")

    def __init__(self, threshold: float, belief: Belief) -> None:
        self.evidence = belief.evidence
        self._belief = belief
        self._threshold = threshold
        self._candidate: _EpisodeCandidate | None = None
        self._open = False
        self._episode = -1
        self._t: float | None = None
        self._said_s = 0.0

    @property
    def mood(self) -> float:
        """Probability that the speaker is in a sad stretch now."""
        return sigmoid(self.evidence)

    def feed(self, segment: ScoredSegment) -> list[EpisodeUpdate]:
        """What this score changes: an end in the silence before it, and a start, an update or an end with it."""
        updates = self.elapse(segment.t_start)
        self._belief.elapse(max(0.0, segment.t_end - max(segment.t_start, self._t or 0.0)))
        if segment.audio is not None:
            self._belief.hear(segment.audio, segment.words)
        self.evidence = self._belief.evidence
        self._t = max(segment.t_end, self._t or 0.0)
        self._grow(segment)
        if not self._open and self.evidence >= self._threshold:
            self._open = True
            self._episode += 1
            return [*updates, self._update("start")]
        if self._open and self.evidence < self._threshold - HYSTERESIS:
            return [*updates, self._end()]
        if self._open and segment.t_end - self._said_s >= UPDATE_S:
            return [*updates, self._update("update")]
        return updates

    def elapse(self, t: float) -> list[EpisodeUpdate]:
        """Time that passed without a score, up to this second of audio: an episode may end in it."""
        if self._t is None or t <= self._t:
            return []
        self._belief.elapse(t - self._t)
        self.evidence = self._belief.evidence
        self._t = t
        return [self._end()] if self._open and self.evidence < self._threshold - HYSTERESIS else []

    def flush(self) -> list[EpisodeUpdate]:
        """The end of the episode that is still on, as at the end of a recording."""
        return [self._end()] if self._open else []

    def _grow(self, segment: ScoredSegment) -> None:
        if not self._open and (self._candidate is None or self.evidence <= REST + HYSTERESIS):
            self._candidate = _EpisodeCandidate(segment, segment)
        assert self._candidate is not None
        self._candidate.add(segment)

    def _end(self) -> EpisodeUpdate:
        update = self._update("end")
        self._open = False
        self._candidate = None
        return update

    def _update(self, phase: Phase) -> EpisodeUpdate:
        candidate = self._candidate
        assert candidate is not None
        self._said_s = candidate.last.t_end
        return EpisodeUpdate(
            episode=self._episode,
            phase=phase,
            t_start=candidate.first.t_start,
            t_end=candidate.last.t_end,
            segments=candidate.segments,
            sad_segments=candidate.sad_segments,
            evidence=self.evidence,
            mood=self.mood,
            first_score_seq=candidate.first.seq,
            last_score_seq=candidate.last.seq,
        )
