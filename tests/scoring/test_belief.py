"""What a stream's scores say so far: a gloomy voice is learnt without a label, and what remains is evidence."""

import math
import random

import pytest
from fakes import some_voices
from hypothesis import given
from hypothesis import strategies as st

from sadstream.scoring.fusion.voices import STEP
from sadstream.scoring.mood.belief import LIMIT, OFFSETS, REST, StretchBelief, VoiceBelief, stretch_llr, voice_prior


def said(belief: VoiceBelief, mean: float, segments: int, seed: int = 0) -> None:
    draw = random.Random(seed)
    for _ in range(segments):
        belief.elapse(3.5)
        belief.hear(draw.gauss(mean, 0.8), 0.0)


def test_long_silence_forgets_the_stretch() -> None:
    for belief in (StretchBelief(), VoiceBelief(some_voices())):
        for _ in range(5):
            belief.hear(3.0, 0.0)
        assert belief.evidence > REST + 1.0
        belief.elapse(1e5)
        assert belief.evidence == pytest.approx(REST)


def test_evidence_against_is_bounded_because_not_all_of_a_sad_stretch_sounds_sad() -> None:
    assert stretch_llr(-50.0) == pytest.approx(math.log(0.4))
    assert stretch_llr(0.0) == pytest.approx(0.0)


@pytest.mark.parametrize("habit", [-2.5, -1.0, 0.5, 1.5])
def test_a_voice_is_learnt_without_a_label(habit: float) -> None:
    belief = VoiceBelief(some_voices())
    said(belief, habit, 40)

    assert belief.offset == pytest.approx(habit, abs=0.4)
    assert belief.deviation < 0.3
    assert belief.evidence < REST + 1.0


def test_a_sad_minute_of_a_learnt_voice_is_evidence_and_not_its_habit() -> None:
    belief = VoiceBelief(some_voices())
    said(belief, 0.8, 40)
    said(belief, 0.8 + 1.6, 15, seed=1)

    assert belief.evidence > REST + 4.0
    assert belief.offset == pytest.approx(0.8, abs=0.4)


def test_a_score_gets_better_as_the_voice_becomes_known() -> None:
    belief = VoiceBelief(some_voices())
    strange = belief.llr(0.8)
    said(belief, 0.8, 40)

    assert strange > 0.9  # of a stranger it sounds sad
    assert belief.llr(0.8) < -0.5  # of this voice it is ordinary
    assert belief.llr(2.6) > 1.0


def test_words_count_with_the_voice() -> None:
    plain, told = VoiceBelief(some_voices()), VoiceBelief(some_voices())
    for _ in range(5):
        plain.hear(0.0, 0.0)
        told.hear(0.0, 1.0)

    assert told.evidence > plain.evidence + 0.5


def test_somebody_else_may_talk_after_a_while() -> None:
    for_ever, an_hour = VoiceBelief(some_voices(stays_s=0.0)), VoiceBelief(some_voices())
    for belief in (for_ever, an_hour):
        said(belief, -2.5, 200)
        said(belief, 1.0, 30, seed=1)

    assert an_hour.offset == pytest.approx(1.0, abs=0.4)
    assert an_hour.evidence < for_ever.evidence  # a gloomier voice is no sad stretch of the first


def test_a_calibrated_voice_is_known_from_its_first_segment_and_anybody_else_is_not_ruled_out() -> None:
    prior = voice_prior(some_voices(), typical=1.2, segments=20)
    at = [-LIMIT + n * STEP for n in range(OFFSETS)]

    assert sum(prior) == pytest.approx(1.0)
    assert VoiceBelief(some_voices(), prior).llr(1.2) < VoiceBelief(some_voices()).llr(1.2) - 1.0
    assert sum(p for p, b in zip(prior, at, strict=True) if b < 0.0) > 0.05


def test_a_calibration_that_heard_nothing_is_none() -> None:
    assert voice_prior(some_voices(), typical=3.0, segments=0) == voice_prior(some_voices())


def test_densities_between_two_places_are_straight_lines_and_outside_the_last_ones() -> None:
    known = some_voices()
    talk, sad = known.densities(known.first + 2.5 * STEP, 3, 0.0)

    assert talk == pytest.approx([(known.talk[n] + known.talk[n + 1]) / 2 for n in (2, 1, 0)])
    assert sad == pytest.approx([(known.sad[n] + known.sad[n + 1]) / 2 for n in (2, 1, 0)])
    assert known.densities(1e3, 1, 0.0) == ([known.talk[-1]], [known.sad[-1]])
    assert known.densities(-1e3, 1, 0.0) == ([known.talk[0]], [known.sad[0]])


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-2, 2), st.floats(0.0, 1e5)), max_size=80))
def test_whatever_is_heard_the_numbers_stay_numbers(heard: list[tuple[float, float, float]]) -> None:
    belief = VoiceBelief(some_voices(stays_s=1800.0))
    for audio, words, pause_s in heard:
        belief.elapse(pause_s)
        assert math.isfinite(belief.llr(audio))
        belief.hear(audio, words)
        assert math.isfinite(belief.evidence)
        assert -LIMIT <= belief.offset <= LIMIT
