"""Whether a transcript may count as words: pure, from Whisper's own evidence and the speech gate's."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sadstream.events import TextReason

NO_SPEECH = 0.6  # Whisper's own pair of limits: silence needs both
AVG_LOGPROB = -1.0
COMPRESSION_RATIO = 2.4
MAX_REPEATS = 3  # one sequence of words this often in a row is a loop; short loops barely compress
# Polish through an English model comes out as fluent English of little confidence. Whoever is in doubt asks a model
# that knows languages: log-odds of the right one and confidence together. Of weights from 0 to 8, 1 to 4 did alike.
DOUBTFUL_LOGPROB = -0.35
LANGUAGE_WEIGHT = 2.0
LANGUAGE_LIMIT = -2.2
FRAGMENT_NO_SPEECH, FRAGMENT_LOGPROB = 0.55, -0.9  # "you" and "Thank you.", out of half a second of anything
CLEAR_SPEECH = 0.9  # below it Whisper's doubt is enough: a clock and a synthesiser came out as "you"
SURE_SPEECH = 0.5  # below it the voice may be a dog's, and the words are Whisper's own


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a transcript without hearing it again."""

    text: str
    looped: bool
    no_speech: float  # Whisper's probability that nobody speaks
    avg_logprob: float  # of a token
    speech: float = 1.0  # the speech gate's probability that somebody does
    language: float | None = None  # probability of the language that is expected; None where nobody was asked

    @property
    def doubtful(self) -> bool:
        """Worth asking which language it is."""
        return self.avg_logprob < DOUBTFUL_LOGPROB


def judge(evidence: Evidence) -> TextReason:
    """Why these words must not count, or `none`. A number that is not one is a rejection."""
    language = 1.0 if evidence.language is None else evidence.language
    numbers = (evidence.no_speech, evidence.avg_logprob, evidence.speech, language)
    if not all(math.isfinite(number) for number in numbers):
        return "low-confidence"
    if not re.search(r"\w", evidence.text) or evidence.speech < SURE_SPEECH:
        return "silence"
    if evidence.no_speech > NO_SPEECH and (evidence.avg_logprob < AVG_LOGPROB or evidence.speech < CLEAR_SPEECH):
        return "silence"
    if evidence.no_speech > FRAGMENT_NO_SPEECH and evidence.avg_logprob < FRAGMENT_LOGPROB:
        return "silence"
    if evidence.looped or compression_ratio(evidence.text) > COMPRESSION_RATIO or repeats(evidence.text) > MAX_REPEATS:
        return "loop"
    return _in_doubt(evidence)


def _in_doubt(evidence: Evidence) -> TextReason:
    """Confidence alone where nobody knows the language; else both together."""
    if evidence.language is None:
        return "low-confidence" if evidence.avg_logprob < AVG_LOGPROB else "none"
    p = min(max(evidence.language, 1e-6), 1.0 - 1e-6)
    if math.log(p / (1.0 - p)) + LANGUAGE_WEIGHT * evidence.avg_logprob >= LANGUAGE_LIMIT:
        return "none"
    return "language" if p < 0.5 else "low-confidence"


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
