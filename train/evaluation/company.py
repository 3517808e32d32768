"""Days that are not one unknown voice's: another after the first, two by turns, one that was heard before a restart."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from sadstream.scoring.fusion.voices import Voices
from sadstream.scoring.mood.belief import VoiceBelief, voice_prior
from sadstream.scoring.mood.episodes import ScoredSegment
from train.corpora.clips import CALM
from train.evaluation.alarms import Heard, Outcome, outcome
from train.evaluation.days import Day, DaySegment, SadSpan

BETWEEN_S = 2.0
TURN_S = 12.0  # of the one, then ANSWER_S of the other
ANSWER_S = 8.0
BREATH_S = 0.5

Known = dict[str, Voices]  # by the speaker whose ratios were left out of them


def pairs(made: Sequence[Day], seed: int = 0) -> Iterator[tuple[Day, Day]]:
    """Days of two speakers of one corpus, each day once."""
    rng = np.random.default_rng(seed)
    corpora: dict[str, list[Day]] = {}
    for day in made:
        if day.heard:
            corpora.setdefault(day.heard[0].clip.corpus, []).append(day)
    for some in corpora.values():
        order = rng.permutation(len(some))
        for one, other in zip(order[::2], order[1::2], strict=False):
            if some[one].speaker != some[other].speaker:
                yield some[one], some[other]


def after_another(made: Sequence[Day], known: Known, threshold: float) -> list[Outcome]:
    """The second of two days, in the ears of a daemon that heard somebody else in the first."""
    found = []
    for first, second in pairs(made):
        shift = first.seconds + BETWEEN_S
        later = tuple(_moved(one, shift) for one in second.heard)
        starts = Heard.by(VoiceBelief(known[first.speaker]), replace(first, heard=first.heard + later).learnt())
        found.append(outcome(second, [t - shift for t in starts.starts(threshold) if t >= shift]))
    return found


def by_turns(made: Sequence[Day], known: Known, threshold: float, told_apart: bool) -> list[Outcome]:
    """A day into which somebody calm of the same corpus speaks every TURN_S; one belief, or one for each of them."""
    found = []
    for first, second in pairs(made):
        day, whose = _interrupted(first, second)
        scores, voices = day.learnt(), known[first.speaker]
        groups = [[s for s, mine in zip(scores, whose, strict=True) if mine is wanted] for wanted in (True, False)]
        heard = groups if told_apart else [list(scores)]
        starts = sorted(t for some in heard for t in _starts(some, voices, threshold))
        found.append(outcome(day, starts))
    return found


def heard_before(made: Sequence[Day], known: Known, threshold: float) -> list[Outcome]:
    """Every day but a voice's first, with what the day before it came to know of the voice."""
    found, before = [], dict[str, VoiceBelief]()
    for day in made:
        voices = known[day.speaker]
        last = before.get(day.speaker)
        # As well known as a calibration of as many segments would have made it, and no better than a quarter.
        segments = 0 if last is None else max(1, round((voices.within / max(0.25, last.deviation)) ** 2))
        belief = VoiceBelief(voices, None if last is None else voice_prior(voices, last.offset, segments))
        heard = Heard.by(belief, day.learnt())
        if last is not None:
            found.append(outcome(day, heard.starts(threshold)))
        before[day.speaker] = belief
    return found


def _starts(scores: Sequence[ScoredSegment], voices: Voices, threshold: float) -> list[float]:
    return Heard.by(VoiceBelief(voices), scores).starts(threshold)


def _moved(one: DaySegment, seconds: float) -> DaySegment:
    return replace(one, t_start=one.t_start + seconds, t_end=one.t_end + seconds)


def _interrupted(day: Day, other: Day) -> tuple[Day, list[bool]]:
    """The day with the other's calm talk between its turns, and which segments are its own."""
    answers = [one for one in other.heard if one.clip.emotion in CALM]
    heard: list[DaySegment] = []
    own: list[bool] = []
    shift, turn_s, said = 0.0, 0.0, 0
    was, now = [0.0], [0.0]
    for one in day.heard:
        heard.append(_moved(one, shift))
        own.append(True)
        was.append(one.t_start)
        now.append(one.t_start + shift)
        turn_s += one.t_end - one.t_start
        if turn_s <= TURN_S:
            continue
        turn_s, until = 0.0, heard[-1].t_end + ANSWER_S
        while heard[-1].t_end < until and said < len(answers):
            answer, at = answers[said], heard[-1].t_end + BREATH_S
            heard.append(_moved(answer, at - answer.t_start))
            own.append(False)
            said += 1
        shift = heard[-1].t_end - one.t_end
    spans = (np.interp([span.t_start, span.t_end], was, now) for span in day.truth)
    truth = tuple(SadSpan(float(start), float(end)) for start, end in spans)
    return replace(day, heard=tuple(heard), truth=truth, seconds=day.seconds + shift), own
