"""What a stream's scores say so far: whether its speaker is in a sad stretch, and how sad the voice sounds by itself.

One segment says little and talk is long; an alarm from single segments rings a hundred times an hour. And speakers
differ more than emotions do. So both questions are asked at once: a voice that always sounds so is known within some
ten segments, without a label, and what remains is evidence. Pure: numbers and seconds in, log-odds out.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from sadstream.base.odds import logit, sigmoid
from sadstream.scoring.fusion.voices import STEP, Voices

# What a day is held to be like. Chosen before anything was measured; the threshold is what the measurement sets.
EPISODE_S = 90.0  # a sad stretch lasts this long on average
BETWEEN_S = 900.0  # and comes after this long
SAD_SHARE = 0.6  # of its segments sound sad
REST = math.log(EPISODE_S / BETWEEN_S)  # log-odds when nothing was heard for long

ANYBODY = 0.1  # share kept for a stranger where a voice is calibrated
LIMIT = 5.0  # a voice's offset lies within
OFFSETS = 1 + round(2.0 * LIMIT / STEP)  # on a grid


class Belief(Protocol):
    """Log-odds that the speaker is in a sad stretch now, as scores come and time goes."""

    @property
    def evidence(self) -> float:
        """The log-odds."""
        ...

    def elapse(self, seconds: float) -> None:
        """So much audio went by."""
        ...

    def hear(self, audio: float, words: float) -> None:
        """A segment's two log-likelihood ratios: of its sound, before any cap, and of its words."""
        ...


class StretchBelief:
    """The belief where nothing is known of voices in general: every voice counts as it comes.

    The forward algorithm of a two-state hidden Markov model, in continuous time and log-odds. Rabiner, "A tutorial on
    hidden Markov models and selected applications in speech recognition", Proceedings of the IEEE 77 (1989).
    """

    __slots__ = ("evidence",)

    def __init__(self) -> None:
        self.evidence = REST

    def elapse(self, seconds: float) -> None:
        """The log-odds go to REST, as stretches begin and end."""
        rest = sigmoid(REST)
        self.evidence = logit(rest + (sigmoid(self.evidence) - rest) * _kept(seconds))

    def hear(self, audio: float, words: float) -> None:
        """What `stretch_llr` makes of both."""
        self.evidence += stretch_llr(audio + words)


class VoiceBelief:
    """The belief over (in a sad stretch or not) and the voice's offset together: 122 numbers, exact, some 0.1 ms.

    The same forward algorithm. The offset is what the voice's ordinary talk scores by itself; it stays, until somebody
    else may have begun to talk.
    """

    __slots__ = ("_prior", "_sad", "_talk", "_voices")

    def __init__(self, voices: Voices, prior: Sequence[float] | None = None) -> None:
        """prior: (OFFSETS,) of what is known of the voice beforehand; without it what is known of voices in general."""
        self._voices = voices
        self._prior = list(prior or voice_prior(voices))
        rest = sigmoid(REST)
        self._sad = [rest * p for p in self._prior]
        self._talk = [(1.0 - rest) * p for p in self._prior]

    @property
    def evidence(self) -> float:
        """Log-odds of a sad stretch, whatever the voice."""
        return math.log(sum(self._sad) / sum(self._talk))

    @property
    def offset(self) -> float:
        """What this voice's ordinary talk is expected to score."""
        return sum((s + t) * _at(n) for n, (s, t) in enumerate(zip(self._sad, self._talk, strict=True)))

    @property
    def deviation(self) -> float:
        """How well the offset is known: its standard deviation."""
        mean = self.offset
        square = sum((s + t) * (_at(n) - mean) ** 2 for n, (s, t) in enumerate(zip(self._sad, self._talk, strict=True)))
        return math.sqrt(square)

    def llr(self, audio: float) -> float:
        """Log-likelihood ratio of a sad segment against another of this voice, by what was heard of it before."""
        talk, sad = self._voices.densities(audio, OFFSETS, -LIMIT)
        known = [s + t for s, t in zip(self._sad, self._talk, strict=True)]
        return math.log(_dot(known, sad) / _dot(known, talk))

    def elapse(self, seconds: float) -> None:
        """Stretches begin and end, and now and then somebody else talks."""
        rest, kept = sigmoid(REST), _kept(seconds)
        stays = math.exp(-seconds / self._voices.stays_s) if self._voices.stays_s else 1.0
        sad_share = rest + (sum(self._sad) / (sum(self._sad) + sum(self._talk)) - rest) * kept
        for n, prior in enumerate(self._prior):
            both = self._sad[n] + self._talk[n]
            sad = rest * both + (self._sad[n] - rest * both) * kept
            self._sad[n] = stays * sad + (1.0 - stays) * prior * sad_share
            self._talk[n] = stays * (both - sad) + (1.0 - stays) * prior * (1.0 - sad_share)

    def hear(self, audio: float, words: float) -> None:
        """Bayes' rule; not all of a stretch sounds sad, and segments of one breath are alike (`tempered`)."""
        talk, sad = self._voices.densities(audio, OFFSETS, -LIMIT)
        said, tempered = math.exp(words), self._voices.tempered
        for n in range(OFFSETS):
            self._sad[n] *= (SAD_SHARE * sad[n] * said + (1.0 - SAD_SHARE) * talk[n]) ** tempered
            self._talk[n] *= talk[n] ** tempered
        total = sum(self._sad) + sum(self._talk)
        self._sad = [p / total for p in self._sad]
        self._talk = [p / total for p in self._talk]


class PeopleBelief:
    """A belief of each person who is told apart by `[voice] only`, and of any of them as a whole; one where nobody is.

    Two people at one microphone are one impossible voice: alternating, an hour of them had 4.3 false alarms with one
    belief and 0.9 with two.
    """

    __slots__ = ("_now", "_of", "_prior", "_voices")

    def __init__(self, voices: Voices, prior: Sequence[float] | None = None) -> None:
        self._voices = voices
        self._prior = prior
        self._now = ""
        self._of = {self._now: VoiceBelief(voices, prior)}

    @property
    def evidence(self) -> float:
        """Of whoever is most likely in a sad stretch."""
        return max(belief.evidence for belief in self._of.values())

    def turn_to(self, person: str) -> None:
        """What comes next is about this person; the empty name is for everybody where nobody is told apart."""
        self._now = person
        if person not in self._of:
            self._of[person] = VoiceBelief(self._voices, self._prior)

    def llr(self, audio: float) -> float:
        """As `VoiceBelief.llr`, of the person in hand."""
        return self._of[self._now].llr(audio)

    def elapse(self, seconds: float) -> None:
        """Time goes by for everybody."""
        for belief in self._of.values():
            belief.elapse(seconds)

    def hear(self, audio: float, words: float) -> None:
        """A segment of the person in hand."""
        self._of[self._now].hear(audio, words)


def stretch_llr(llr: float) -> float:
    """Log-likelihood ratio of a sad stretch against other talk, of a segment's: not all of a stretch sounds sad."""
    return math.log(SAD_SHARE * math.exp(llr) + 1.0 - SAD_SHARE)


def voice_prior(voices: Voices, typical: float | None = None, segments: int = 0) -> list[float]:
    """(OFFSETS,) probabilities of a voice's offset: of anybody's, or after so many segments of its ordinary talk.

    typical: the mean ratio of those segments. A tenth is kept for anybody: whoever was calibrated may not be who talks.
    """
    anybody = _normal(voices.mean, voices.deviation)
    if typical is None or segments == 0:
        return anybody
    heard = voices.within**2 / segments
    weight = voices.deviation**2 / (voices.deviation**2 + heard)
    mean = voices.mean + weight * (typical - voices.mean)
    known = _normal(mean, max(STEP, voices.deviation * math.sqrt(1.0 - weight)))
    return [(1.0 - ANYBODY) * k + ANYBODY * a for k, a in zip(known, anybody, strict=True)]


def _normal(mean: float, deviation: float) -> list[float]:
    mean = max(-LIMIT, min(LIMIT, mean))
    weights = [math.exp(-0.5 * ((_at(n) - mean) / deviation) ** 2) for n in range(OFFSETS)]
    return [w / sum(weights) for w in weights]


def _at(n: int) -> float:
    """The offset at a place of the grid."""
    return -LIMIT + n * STEP


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _kept(seconds: float) -> float:
    """What is left of knowing the stretch after this long without a score."""
    return math.exp(-seconds * (1.0 / EPISODE_S + 1.0 / BETWEEN_S))
