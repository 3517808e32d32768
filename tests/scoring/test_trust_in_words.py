"""Words that may be invented never count, and the reason is the one that holds."""

import math
from dataclasses import replace

import pytest

from sadstream.scoring.whisper.trust import ALONE, ASKED, Evidence, Languages, judge

ENGLISH = Languages(expected=0.9, rival=0.03, spread=0.5)
POLISH = Languages(expected=0.03, rival=0.9, spread=0.4)
ANYTHING = Languages(expected=0.4, rival=0.1, spread=2.4)


def heard(text: str = "Kids are talking by the door.", **changes: float | bool | Languages | None) -> Evidence:
    return Evidence(**({"text": text, "looped": False, "no_speech": 0.02, "avg_logprob": -0.2} | changes))  # type: ignore[arg-type]


def test_sure_words_count_and_nobody_is_asked() -> None:
    assert judge(heard()) == "none"
    assert heard().sure
    assert not heard(avg_logprob=-0.4).sure
    assert not heard(speech=0.4).sure


@pytest.mark.parametrize("words", ["you", "Thank you."])
@pytest.mark.parametrize("languages", [None, ANYTHING])
def test_half_a_second_of_anything_is_not_a_thank_you(words: str, languages: Languages | None) -> None:
    assert (
        judge(heard(words, no_speech=0.56, avg_logprob=-1.05, tokens=2, seconds=0.7, speech=0.9, languages=languages))
        == "silence"
    )


def test_words_where_somebody_may_not_even_speak_need_more_to_speak_for_them() -> None:
    assert judge(heard("you", no_speech=0.7, avg_logprob=-0.9, speech=0.3)) == "silence"
    assert judge(heard("you", no_speech=0.3, avg_logprob=-0.9, speech=0.3, languages=ANYTHING)) == "low-confidence"


def test_fluent_english_that_nobody_spoke_is_named_by_its_language() -> None:
    polish = heard("I'm not sure if I can see you.", avg_logprob=-1.5, languages=POLISH)

    assert not polish.sure
    assert judge(polish) == "language"


def test_english_of_little_confidence_counts_once_it_is_known_to_be_english() -> None:
    mumbled = heard("And to morphine.", avg_logprob=-1.0, tokens=5, seconds=1.5)

    assert judge(replace(mumbled, languages=ENGLISH)) == "none"
    assert judge(replace(mumbled, avg_logprob=-1.4)) == "low-confidence"


def test_the_right_language_does_not_save_words_that_are_guessed() -> None:
    assert judge(heard(avg_logprob=-3.5, seconds=3.0, languages=ENGLISH)) == "low-confidence"


@pytest.mark.parametrize("name", ["no_speech", "avg_logprob", "speech", "seconds"])
def test_a_number_that_is_not_one_is_a_rejection(name: str) -> None:
    assert judge(heard(**{name: math.nan})) == "low-confidence"
    assert judge(heard(languages=Languages(math.nan, 0.1, 0.5))) == "low-confidence"


def test_a_loop_is_a_loop_in_any_language_and_silence_where_nobody_speaks() -> None:
    assert judge(heard("by the door " * 5, languages=ENGLISH)) == "loop"
    assert judge(heard("by the door " * 5, no_speech=0.6)) == "silence"


@pytest.mark.parametrize("weights", [ASKED, ALONE])
def test_everything_pulls_in_its_own_direction(weights: object) -> None:
    assert callable(weights)
    middling = heard(no_speech=0.2, avg_logprob=-0.8, languages=ENGLISH)

    def moved(**changes: float | Languages) -> float:
        return float(weights(replace(middling, **changes)) - weights(middling))  # type: ignore[arg-type]

    assert moved(avg_logprob=-0.5) > 0.0
    assert moved(speech=0.5) < 0.0
    assert moved(no_speech=0.4) < 0.0
    assert moved(tokens=12) < 0.0
    assert moved(seconds=3.0) < 0.0
    assert moved(languages=POLISH) <= 0.0
