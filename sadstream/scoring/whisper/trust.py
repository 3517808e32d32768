"""Whether a transcript may count as words: pure, from Whisper's own evidence and the speech gate's."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sadstream.base.odds import logit
from sadstream.events import TextReason

COMPRESSION_RATIO = 2.4
MAX_REPEATS = 3  # one sequence of words this often in a row is a loop; short loops barely compress
# Words this sure are English: of 1,284 Polish segments 2 reached it, of 939 without a voice or of babble none, of 881
# English ones 64 percent. For the rest a model that knows languages is asked.
DOUBTFUL_LOGPROB = -0.35
SURE_SPEECH = 0.5  # below it the voice may be a dog's
P_LEAST = 0.001  # no model is surer than that
NO_SPEECH = 0.5  # above it, words that are not trusted are nobody's: 38 of 39 pieces of reversed babble called sad


@dataclass(frozen=True, slots=True)
class Languages:
    """What a model that knows languages makes of a segment."""

    expected: float  # probability of the language that is spoken here
    rival: float  # of the likeliest other one
    spread: float  # entropy over all of them, nats: what nobody says could be any


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a transcript without hearing it again."""

    text: str
    looped: bool
    no_speech: float  # Whisper's probability that nobody speaks
    avg_logprob: float  # of a token
    tokens: int = 8
    seconds: float = 2.0  # of audio in the segment
    speech: float = 1.0  # the speech gate's probability that somebody does
    languages: Languages | None = None  # None where nobody was asked

    @property
    def sure(self) -> bool:
        """So confident that nobody need be asked which language it is."""
        return self.avg_logprob >= DOUBTFUL_LOGPROB and self.speech >= SURE_SPEECH


@dataclass(frozen=True, slots=True)
class TrustModel:
    """A logistic regression: words are trusted where the sum is not negative."""

    bias: float
    avg_logprob: float
    no_speech: float  # of its log-odds
    tokens: float  # of their logarithm
    seconds: float
    speech: float  # of its log-odds
    expected: float = 0.0  # of its log-odds
    spread: float = 0.0

    def __call__(self, evidence: Evidence) -> float:
        """Log-odds that somebody said these words in the language that is expected."""
        total = (
            self.bias
            + self.avg_logprob * evidence.avg_logprob
            + self.no_speech * _log_odds(evidence.no_speech)
            + self.tokens * math.log(max(1, evidence.tokens))
            + self.seconds * evidence.seconds
            + self.speech * _log_odds(evidence.speech)
        )
        if evidence.languages is not None:
            total += self.expected * _log_odds(evidence.languages.expected) + self.spread * evidence.languages.spread
        return total


# Fitted by `sadstream-train trust`: at 2 percent of English segments lost with a model that knows languages, at
# 5 percent without one, because then confidence is all that speaks against another language.
ASKED = TrustModel(2.25, 2.8, -1.7, -0.9, -1.75, 0.5, expected=1.85, spread=-0.85)
ALONE = TrustModel(3.45, 5.8, -0.8, -1.75, -0.8, 0.8)


def judge(evidence: Evidence) -> TextReason:
    """Why these words must not count, or `none`. A number that is not one is a rejection."""
    if not re.search(r"\w", evidence.text):
        return "silence"
    looped = (
        evidence.looped or compression_ratio(evidence.text) > COMPRESSION_RATIO or repeats(evidence.text) > MAX_REPEATS
    )
    trust = (ALONE if evidence.languages is None else ASKED)(evidence)
    if not looped and math.isfinite(trust) and (evidence.sure or trust >= 0.0):
        return "none"
    if evidence.no_speech > NO_SPEECH:
        return "silence"
    if looped:
        return "loop"
    heard = evidence.languages
    return "language" if heard is not None and heard.rival > max(0.5, heard.expected) else "low-confidence"


def _log_odds(p: float) -> float:
    if not math.isfinite(p):
        return math.nan
    return logit(min(max(p, P_LEAST), 1.0 - P_LEAST))


def compression_ratio(text: str) -> float:
    """Bytes of the text for each byte of it compressed."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def repeats(text: str) -> int:
    """How often the most repeated run of one to four words stands in a row."""
    words = re.findall(r"[\w']+", text.lower())
    most = Counter[int]()
    for size in range(1, 5):
        run = 1
        for at in range(size, len(words) - size + 1, 1):
            run = run + 1 if _same(words, at, size) else 1
            most[size] = max(most[size], (run - 1) // size + 1)
    return max(most.values(), default=1)


def _same(words: Sequence[str], at: int, size: int) -> bool:
    return words[at] == words[at - size]
