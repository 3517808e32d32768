"""Words that may be invented never count, and the reason is the one that holds."""

import math

import pytest

from sadstream.gate import Evidence, judge


def heard(text: str = "Kids are talking by the door.", **changes: float | bool | None) -> Evidence:
    return Evidence(**({"text": text, "looped": False, "no_speech": 0.02, "avg_logprob": -0.2} | changes))  # type: ignore[arg-type]


def test_sure_words_count_and_nobody_is_asked() -> None:
    assert judge(heard()) == "none"
    assert not heard().doubtful


@pytest.mark.parametrize("words", ["you", "Thank you."])
def test_half_a_second_of_anything_is_not_a_thank_you(words: str) -> None:
    assert judge(heard(words, no_speech=0.56, avg_logprob=-1.05)) == "silence"


def test_both_gates_in_doubt_are_silence_and_one_alone_is_not() -> None:
    assert judge(heard("you", no_speech=0.8, avg_logprob=-0.7, speech=0.8)) == "silence"
    assert judge(heard("you", no_speech=0.8, avg_logprob=-0.7)) == "none"
    assert judge(heard("you", avg_logprob=-0.7, speech=0.8)) == "none"


def test_words_where_somebody_may_not_even_speak_are_silence() -> None:
    assert judge(heard(speech=0.3)) == "silence"


def test_fluent_english_that_nobody_spoke_is_named_by_its_language() -> None:
    polish = heard("I'm not sure if I can see you.", avg_logprob=-1.5, language=0.03)

    assert polish.doubtful
    assert judge(polish) == "language"


def test_english_of_little_confidence_counts_once_it_is_known_to_be_english() -> None:
    mumbled = heard("And to morphine.", avg_logprob=-1.2, language=0.9)

    assert judge(mumbled) == "none"
    assert judge(heard("And to morphine.", avg_logprob=-1.2)) == "low-confidence"


def test_the_right_language_does_not_save_words_that_are_guessed() -> None:
    assert judge(heard(avg_logprob=-2.5, language=0.8)) == "low-confidence"


@pytest.mark.parametrize("name", ["no_speech", "avg_logprob", "speech", "language"])
def test_a_number_that_is_not_one_is_a_rejection(name: str) -> None:
    assert judge(heard(**{name: math.nan})) == "low-confidence"


def test_a_loop_is_a_loop_in_any_language() -> None:
    assert judge(heard("by the door " * 5, language=0.99)) == "loop"
