"""Simulated days: seeded, one speaker at a time, no clip twice, the truth beside them; and the alarms on them."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from sadstream.scoring.fusion.card import Card, card_path
from sadstream.scoring.fusion.voices import STEP
from sadstream.scoring.mood.belief import StretchBelief
from sadstream.scoring.mood.episodes import EpisodeFilter, ScoredSegment
from train.corpora.clips import CALM, Clip
from train.evaluation.alarms import OTHERS, Heard, outcome
from train.evaluation.card import days_report, offset_gain, rejection_band, write_card
from train.evaluation.company import _interrupted, by_turns, pairs
from train.evaluation.days import Day, DaysConfig, SadSpan, days, spoken_clips
from train.metrics.voices import VoicesConfig, fit_voices
from train.shipped.scorecard import ScoredClips

CONFIG = DaysConfig(hours=3)


def corpus(spread: float = 1.0, speakers: int = 9) -> tuple[ScoredClips, np.ndarray]:
    """Speakers with 40 neutral, 30 other and 30 sad clips; whose voices differ by `spread`."""
    rng = np.random.default_rng(0)
    clips, llrs = [], []
    for speaker in range(speakers):
        voice = spread * rng.standard_normal()
        for emotion, mean in [("neutral", -1.0)] * 40 + [("angry", -2.0)] * 30 + [("sad", 1.5)] * 30:
            path = Path(f"{speaker}-{len(clips)}.wav")
            clips.append(Clip(path, "made", f"s{speaker}", "f", emotion, int(emotion == "sad"), "train"))
            llrs.append(mean + voice + rng.standard_normal())
    return ScoredClips(tuple(clips), np.clip(llrs, -3, 3)), rng.uniform(1.0, 3.0, len(clips))


SCORED, SECONDS = corpus()
SPEAKERS = spoken_clips(SCORED, SECONDS)
DAYS = days(SPEAKERS, CONFIG)
VOICES = VoicesConfig()


def test_the_same_seed_gives_the_same_days_and_another_one_others() -> None:
    assert days(SPEAKERS, CONFIG) == DAYS
    assert days(SPEAKERS, DaysConfig(hours=3, seed=1)) != DAYS


def test_a_day_is_one_speakers_and_no_clip_comes_twice() -> None:
    for day in DAYS:
        clips = [clip for clip, _ in itertools.groupby(one.clip for one in day.heard)]
        assert {clip.speaker for clip in clips} == {day.speaker}
        assert len(set(clips)) == len(clips)


def test_the_clips_of_the_calibration_are_not_in_the_day() -> None:
    for day in DAYS:
        assert day.calibration
        assert {one.clip.emotion for one in day.calibration} <= CALM
        assert not {one.clip for one in day.calibration} & {one.clip for one in day.heard}


def test_time_only_goes_on_and_sad_clips_are_in_the_episodes_alone() -> None:
    for day in DAYS:
        assert all(a.t_end <= b.t_start + 1e-9 for a, b in itertools.pairwise(day.heard))
        for heard in day.heard:
            inside = any(span.t_start <= heard.t_start < span.t_end for span in day.truth)
            assert inside or not heard.clip.sad


def test_most_of_the_rest_is_neutral() -> None:
    rest = [one.clip for day in DAYS for one in day.heard if not one.clip.sad]

    assert np.mean([clip.emotion in CALM for clip in rest]) == pytest.approx(0.85, abs=0.05)


def one_day(*spans: SadSpan) -> Day:
    return Day("s", (), spans, 3600.0, ())


def test_an_alarm_counts_for_the_episode_in_which_it_starts_and_else_is_false() -> None:
    found = outcome(one_day(SadSpan(100, 200), SadSpan(1000, 1030)), [150, 160, 205, 1010, 3000])

    assert (found.false_alarms, found.long, found.caught, found.short_caught) == (2, 1, 1, 1)
    assert found.delays_s == (50,)
    assert found.calm_h == pytest.approx(3470 / 3600)


def test_every_method_rings_for_sad_stretches_and_at_a_very_high_threshold_never() -> None:
    heard = [ScoredSegment(3.0 * n, 3.0 * n + 2, n, False, 2.5 if n % 40 > 35 else -1.5) for n in range(400)]
    methods = [lambda threshold, s=starts: s(heard, threshold) for starts in OTHERS.values()]  # type: ignore[misc]
    for starts in (Heard.by(StretchBelief(), heard).starts, *methods):
        counts = [len(starts(threshold)) for threshold in (1.5, 50.0)]
        assert counts == [10, 0]


def test_learning_the_voice_buys_recall_at_the_same_rate_and_knowing_it_more() -> None:
    card = days_report(SCORED, SECONDS, "0123456789ab", CONFIG, VOICES).card
    off, auto, calibrated = (card.operating_point(6.0, offset).caught for offset in ("off", "auto", "calibrated"))

    assert off + 0.05 < auto <= calibrated + 0.05
    assert offset_gain(SCORED, SECONDS, CONFIG, resamples=20).gain.value > 0.1


def test_sad_from_the_first_minute_is_what_it_says() -> None:
    for day in days(SPEAKERS, DaysConfig(hours=1, sad_first=True)):
        assert day.truth[0].t_start == 0.0


def test_two_people_who_are_told_apart_ring_less_often_than_one_impossible_voice() -> None:
    known = dict.fromkeys(SPEAKERS, fit_voices(SCORED.clips, SCORED.uncapped, VOICES))
    apart, together = (
        sum(one.false_alarms for one in by_turns(DAYS, known, -1.0, told_apart)) for told_apart in (True, False)
    )

    assert apart < together


def test_who_speaks_between_is_heard_between_and_the_truth_moves_along() -> None:
    first, second = next(pairs(DAYS))
    day, own = _interrupted(first, second)

    assert sum(own) == len(first.heard)
    assert not all(own)
    assert all(a.t_end <= b.t_start + 1e-9 for a, b in itertools.pairwise(day.heard))
    for one, mine in zip(day.heard, own, strict=True):
        inside = any(span.t_start <= one.t_start < span.t_end for span in day.truth)
        assert inside or not one.clip.sad
        assert mine == (one.clip.speaker == first.speaker)


def test_what_was_recorded_once_rings_as_the_daemon_would_at_every_threshold() -> None:
    for day in DAYS[:3]:
        heard = Heard.by(StretchBelief(), day.as_it_comes())
        for threshold in (-1.0, 0.0, 2.0):
            episodes = EpisodeFilter(threshold, StretchBelief())
            said = [update.t_end for one in heard.scores for update in episodes.feed(one) if update.phase == "start"]
            assert heard.starts(threshold) == said


def test_a_voice_of_a_corpus_is_known_by_the_mean_and_the_spread_of_the_others() -> None:
    made = fit_voices(SCORED.clips, SCORED.uncapped, VOICES)
    speakers = [SCORED.only(lambda clip, s=f"s{n}": clip.speaker == s and clip.emotion in CALM) for n in range(9)]  # type: ignore[misc]
    means = [part.uncapped.mean() for part in speakers]

    assert made.mean == pytest.approx(np.mean(means), abs=1e-3)
    assert made.deviation == pytest.approx(VOICES.wide * np.std(means), abs=1e-3)
    assert sum(made.talk) * STEP == pytest.approx(1.0, abs=0.1)
    logs = np.log(np.array(made.sad) / np.array(made.talk))
    assert (np.diff(logs) >= -1e-3).all()  # five digits are kept


def test_the_gain_is_the_difference_of_its_two_sides_to_the_last_bit() -> None:
    found = offset_gain(SCORED, SECONDS, CONFIG, resamples=20)

    assert found.gain.value == found.with_offset.value - found.without.value
    assert found.gain.n == found.without.n == found.moved.llrs.size


def test_doubt_keeps_the_stated_share_and_ranks_the_rest_better() -> None:
    found = rejection_band(SCORED, 0.7, resamples=20)
    calm = SCORED.against_calm()
    kept = np.mean((calm.llrs <= found.low) | (calm.llrs >= found.high))

    assert kept == pytest.approx(0.7, abs=0.02)
    assert found.error_kept.value < found.error_all.value
    assert [name for name, _, _ in found.rejected] == ["sad", "neutral and calm", "other"]


def test_the_report_makes_a_card_that_the_daemon_can_read(tmp_path: Path) -> None:
    report = days_report(SCORED, SECONDS, "0123456789ab", DaysConfig(hours=1), VOICES)
    write_card(tmp_path / "mine.safetensors", report.card)

    assert Card.model_validate_json(card_path(tmp_path / "mine.safetensors").read_bytes()) == report.card
    assert "hidden Markov model" in report.text
    assert "single segments" in report.text
    assert report.card.voices == fit_voices(SCORED.clips, SCORED.uncapped, VOICES)
