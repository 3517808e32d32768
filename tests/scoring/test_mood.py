"""What the scores of one stream come to: offset, mood, doubt, episodes, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import analysis, some_voices

from sadstream.audio.segmenter import Segment
from sadstream.base.errors import ConfigError
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.fusion.card import Card, OperatingPoint
from sadstream.scoring.mood.mood import NEVER, Mood, MoodPlan, plan
from sadstream.scoring.mood.voice import VoiceBaseline

VOICE = VoiceBaseline(model="0123456789ab", segments=20, speech_s=60.0, typical=1.5, offset_logit=-1.5)
VOICES = some_voices()
CARD = Card(
    model="0123456789ab",
    protocol="made up",
    hours=10.0,
    speakers=27,
    reference=-0.6,
    coverage=0.7,
    uncertain_low=-0.5,
    uncertain_high=1.0,
    off=(
        OperatingPoint(threshold=1.0, alarms=50, caught=0.8, delay_s=20.0),
        OperatingPoint(threshold=4.0, alarms=19, caught=0.4, delay_s=40.0),
        OperatingPoint(threshold=7.0, alarms=0, caught=0.01, delay_s=None),
    ),
    running=(OperatingPoint(threshold=2.0, alarms=9, caught=0.5, delay_s=30.0),),
    calibrated=(
        OperatingPoint(threshold=0.5, alarms=9, caught=0.8, delay_s=25.0),
        OperatingPoint(threshold=2.0, alarms=4, caught=0.7, delay_s=30.0),
    ),
)


LEARNS = CARD.model_copy(
    update={"voices": VOICES, "auto": CARD.calibrated, "auto_low": -0.2, "auto_high": 0.4, "calibrated_low": -0.1}
)


def scored(audio: float, speech: float = 1.0, person: str = "") -> Analysis:
    silent = Segment(0, np.zeros(48_000, np.float32), 0.0, 3.0, 1.0, 0.0)
    capped = max(-3.0, min(3.0, audio))
    return replace(
        analysis(silent),
        bias_logit=-2.2,
        audio_logit=capped if speech >= 0.5 else min(capped, 0.0),
        uncapped_logit=audio,
        speech=speech,
        threshold=0.4,
        person=person,
    )


def fed(mood: Mood, parts: list[float]) -> list[Analysis]:
    return [mood.feed(scored(part), 3.5 * n, 3.5 * n + 3.0)[0] for n, part in enumerate(parts)]


class TestMood:
    def test_the_offset_is_a_part_like_the_others(self) -> None:
        (moved,) = fed(Mood(MoodPlan("calibrated", -1.5)), [2.0])

        assert moved.offset_logit == -1.5
        assert math.log(moved.p_sad / (1 - moved.p_sad)) == pytest.approx(-2.2 + 2.0 - 1.5)
        assert not moved.sad

    def test_what_is_too_close_to_call_is_another_thing_for_a_calibrated_voice(self) -> None:
        card = CARD.model_copy(update={"calibrated_low": -0.6, "calibrated_high": 0.8})

        assert plan(card, 0.0, "off").uncertain == (-0.5, 1.0)
        assert plan(card, 0.0, "calibrated", VOICE).uncertain == (-0.6, 0.8)
        assert plan(CARD, 0.0, "calibrated", VOICE).uncertain == (-0.5, 1.0)

    def test_without_a_plan_there_is_a_mood_and_nothing_else(self) -> None:
        moved = fed(Mood(MoodPlan()), [2.0] * 10)

        assert [one.offset_logit for one in moved] == [0.0] * 10
        assert moved[-1].uncertain is None
        assert 0.0 < moved[0].mood < moved[-1].mood < 1.0  # type: ignore[operator]

    def test_too_close_to_call_is_marked(self) -> None:
        marks = [one.uncertain for one in fed(Mood(MoodPlan(uncertain=(-0.5, 1.0))), [-2.0, 0.0, 0.9, 2.0])]

        assert marks == [False, True, True, False]

    def test_what_may_be_no_voice_is_always_uncertain(self) -> None:
        moved, _ = Mood(MoodPlan(uncertain=(-0.5, 1.0))).feed(scored(-2.0, speech=0.3), 0.0, 3.0)

        assert moved.uncertain is True

    def test_an_episode_counts_the_scores_that_made_it(self) -> None:
        mood = Mood(MoodPlan(threshold=2.0, false_alarms_h=1.0))
        turns = [turn for n in range(10) for turn in mood.feed(scored(2.5), 3.5 * n, 3.5 * n + 3.0)[1]]

        assert turns[0].phase == "start"
        assert turns[0].first_score_seq == 0
        assert mood.flush()[0].last_score_seq == 9

    def test_the_running_offset_takes_a_voice_back_to_where_others_are(self) -> None:
        moved = fed(Mood(MoodPlan("running", reference=-0.6)), [1.0] * 60)

        assert moved[0].offset_logit == 0.0
        assert moved[-1].offset_logit == pytest.approx(-1.6, abs=0.2)


class TestAVoiceThatIsLearnt:
    def test_the_parts_still_sum_to_the_logit(self) -> None:
        for one in fed(Mood(plan(LEARNS, None, "auto")), [0.5, 4.5, -1.0, 2.0]):
            logit = one.bias_logit + one.audio_logit + one.text_logit + one.offset_logit
            assert math.log(one.p_sad / (1 - one.p_sad)) == pytest.approx(logit)

    def test_a_gloomy_voice_is_ordinary_once_it_is_known_and_its_sad_minute_is_an_episode(self) -> None:
        mood = Mood(plan(LEARNS, 1.0, "auto"))
        said = [1.2, 0.4, 1.7, 0.9, 1.3, 0.6, 1.9, 1.1] * 5 + [2.9, 3.4, 1.2, 3.1, 2.5] * 4
        heard = [mood.feed(scored(part), 3.5 * n, 3.5 * n + 3.0) for n, part in enumerate(said)]

        assert heard[0][0].p_sad > 5 * heard[32][0].p_sad  # the same ratio of a stranger and of a known voice
        assert not any(one.sad for one, _ in heard[10:40])
        starts = [update.t_end for _, updates in heard for update in updates if update.phase == "start"]
        assert [t > 40 * 3.5 for t in starts] == [True]

    def test_what_may_be_a_dog_teaches_nothing_and_speaks_for_nothing(self) -> None:
        mood = Mood(plan(LEARNS, None, "auto"))
        for one in fed(mood, [0.0] * 5):
            assert one.mood is not None
        barked, _ = mood.feed(scored(4.0, speech=0.3), 20.0, 23.0)
        fresh = Mood(plan(LEARNS, None, "auto"))
        fed(fresh, [0.0] * 5)

        assert barked.offset_logit + barked.audio_logit <= 0.0
        assert mood.early(scored(1.0)).p_sad == pytest.approx(fresh.early(scored(1.0)).p_sad, abs=0.01)

    def test_whoever_is_calibrated_is_known_at_once(self) -> None:
        (stranger,) = fed(Mood(plan(LEARNS, None, "auto")), [1.5])
        (known,) = fed(Mood(plan(LEARNS, None, "calibrated", VOICE)), [1.5])

        assert stranger.p_sad > 4 * known.p_sad

    def test_two_people_who_are_told_apart_have_a_voice_each(self) -> None:
        mood = Mood(plan(LEARNS, None, "auto"))
        for n in range(40):
            mood.feed(scored(1.5, person="anna"), 7.0 * n, 7.0 * n + 3.0)
            mood.feed(scored(-2.0, person="bob"), 7.0 * n + 3.5, 7.0 * n + 6.5)

        assert not mood.early(scored(1.5, person="anna")).p_sad > 0.1
        assert mood.early(scored(1.5, person="bob")).p_sad > 0.4

    def test_it_has_limits_and_an_operating_point_of_its_own(self) -> None:
        made = plan(LEARNS, None, "auto")

        assert (made.uncertain, made.threshold) == ((-0.2, 0.4), 0.5)
        assert made.voices == VOICES

    def test_a_card_that_knows_nothing_of_voices_works_as_before(self) -> None:
        assert plan(CARD, 2.0, "auto") == plan(CARD, 2.0, "off")
        assert plan(None, None, "auto") == MoodPlan()

    def test_off_stays_off(self) -> None:
        assert plan(LEARNS, 2.0, "off").voices is None


class TestPlan:
    def test_the_point_that_catches_most_at_the_wanted_rate_is_taken(self) -> None:
        made = plan(CARD, 2.0, "off")

        assert (made.threshold, made.false_alarms_h) == (4.0, 2.0)

    def test_what_the_curve_cannot_keep_is_refused_with_what_it_can(self) -> None:
        with pytest.raises(ConfigError, match=r"false_alarms_h = 1: checkpoint 0123456789ab keeps 2 an hour at best"):
            plan(CARD, 1.0, "off")

    def test_a_point_that_catches_nothing_is_not_kept(self) -> None:
        """The threshold of 7 rings never; silence is no operating point."""
        with pytest.raises(ConfigError):
            plan(CARD, 0.2, "off")

    def test_a_calibrated_voice_keeps_more(self) -> None:
        assert plan(CARD, 1.0, "calibrated", VOICE).threshold == 0.5

    def test_the_default_is_one_an_hour_or_no_episodes(self) -> None:
        assert plan(CARD, None, "calibrated", VOICE).false_alarms_h == 1.0
        assert plan(CARD, None, "off").threshold == NEVER

    def test_zero_means_no_episodes(self) -> None:
        assert plan(CARD, 0.0, "calibrated", VOICE).threshold == NEVER

    def test_without_a_card_episodes_are_refused_only_when_asked_for(self) -> None:
        assert plan(None, None, "off") == MoodPlan()
        with pytest.raises(ConfigError, match="no card"):
            plan(None, 1.0, "off")

    def test_a_rate_is_held_to_one_alarm_more_than_was_counted(self) -> None:
        assert CARD.rate(CARD.calibrated[0]) == pytest.approx(1.0)


def test_a_provisional_score_has_a_number_and_the_offset_and_moves_nothing_else() -> None:
    chosen = MoodPlan("calibrated", 0.5)
    with_early, without = Mood(chosen), Mood(chosen)
    early = with_early.early(scored(1.0))

    assert early.offset_logit == 0.5
    assert math.log(early.p_sad / (1 - early.p_sad)) == pytest.approx(1.5 + early.bias_logit)
    assert with_early.feed(scored(1.0), 0.0, 3.0)[0].mood == without.feed(scored(1.0), 0.0, 3.0)[0].mood
