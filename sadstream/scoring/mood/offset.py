"""What a voice sounds like when nothing is the matter, taken out of its scores: pure.

Speakers differ more than emotions do: at one threshold the false positives of single speakers run from none to most.
"""

from collections import deque
from collections.abc import Sequence
from statistics import fmean, median

SHRINK = 4.0  # segments: how many of a voice weigh as much as what is known of voices in general
LIMIT = 2.5  # a whole voice is moved by this much at most: the audio part is capped at 3
WINDOW_S = 300.0  # of talk that the running offset remembers
LEAST_S = 60.0  # of talk before it says anything


def offset_logit(typical: float, reference: float, segments: int) -> float:
    """What to add to each audio part of a voice whose typical part is this, where others' is `reference`."""
    moved = (reference - typical) * segments / (segments + SHRINK)
    return max(-LIMIT, min(LIMIT, moved))


def calibrated_offset(audio_logits: Sequence[float], reference: float) -> float:
    """The offset of a voice from the audio parts of its ordinary talk."""
    return offset_logit(fmean(audio_logits), reference, len(audio_logits))


class RunningOffset:
    """Audio parts in, offsets out: each from the talk before it and never from itself.

    The median of the last minutes: a sad stretch shorter than half of them does not move it far.
    """

    __slots__ = ("_heard", "_least_s", "_reference", "_seconds")

    def __init__(self, reference: float, least_s: float = LEAST_S) -> None:
        self._reference = reference
        self._least_s = least_s
        self._heard: deque[tuple[float, float]] = deque()
        self._seconds = 0.0

    def feed(self, audio_logit: float, seconds: float) -> float:
        """The offset for this segment, before it is remembered itself."""
        offset = self.offset
        self._heard.append((audio_logit, seconds))
        self._seconds += seconds
        while self._seconds - self._heard[0][1] >= WINDOW_S:
            self._seconds -= self._heard.popleft()[1]
        return offset

    @property
    def offset(self) -> float:
        """The offset for the next segment; 0 until enough was heard."""
        if not self._heard or self._seconds < self._least_s:
            return 0.0
        return offset_logit(median(part for part, _ in self._heard), self._reference, len(self._heard))
