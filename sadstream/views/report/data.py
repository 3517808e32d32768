"""What a page tells of a recording, in records that any drawing can use; words only if they are wanted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sadstream.events import Score
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.recording import RecordedSegment

UNSEEN = 1e-6  # a share that no drawing shows


@dataclass(frozen=True, slots=True)
class AttentionWeight:
    """The share of a segment's attention that one stretch of it got."""

    t_start: float
    t_end: float
    share: float


@dataclass(frozen=True, slots=True)
class ReportSegment:
    """A segment: its score, where the model looked, and its words."""

    score: Score  # without its words, unless they are wanted
    weights: tuple[AttentionWeight, ...]
    words: str  # empty where they are not wanted

    @property
    def words_counted(self) -> bool:
        """The words went into the score."""
        return self.score.text_used


@dataclass(frozen=True, slots=True)
class ReportData:
    """A whole recording."""

    name: str
    duration_s: float
    segments: tuple[ReportSegment, ...]
    episodes: tuple[EpisodeUpdate, ...]  # each as it was said last
    false_alarms_h: float  # the operating point of the episodes; 0: none were looked for
    model: str
    system: str
    licence: str
    with_words: bool
    notes: tuple[str, ...] = ()  # what is to be said of its sound

    @property
    def peak_share(self) -> float:
        """The largest share of attention in it."""
        return max((weight.share for segment in self.segments for weight in segment.weights), default=1.0)


def report_segment(scored: RecordedSegment, step_s: float, with_words: bool) -> ReportSegment:
    """What the page shows of a segment; step_s: seconds of audio behind one weight of the attention."""
    transcript = scored.analysis.transcript
    words = transcript.text if with_words else ""
    return ReportSegment(replace(scored.score, text=words if with_words else None), _weights(scored, step_s), words)


def last_updates(updates: Iterable[EpisodeUpdate]) -> tuple[EpisodeUpdate, ...]:
    """Each episode once, as it was said last."""
    found = {update.episode: update for update in updates}
    return tuple(found.values())


def _weights(scored: RecordedSegment, step_s: float) -> tuple[AttentionWeight, ...]:
    attention: Sequence[float] = () if scored.analysis.attention is None else scored.analysis.attention.tolist()
    start, end = scored.segment.t_start, scored.segment.t_end
    return tuple(
        AttentionWeight(start + step * step_s, min(end, start + (step + 1) * step_s), share)
        for step, share in enumerate(attention)
        if share > UNSEEN and start + step * step_s < end
    )
