"""Words that may be invented never count; a number that is not one is a rejection."""

import math

import pytest

from sadstream.whisper import MAX_TOKENS, judge


@pytest.mark.parametrize(
    ("text", "tokens", "no_speech", "logprob", "reason"),
    [
        ("Kids are talking by the door.", 8, 0.02, -0.3, "none"),
        ("no, no, no", 6, 0.02, -0.3, "none"),
        ("", 1, 0.9, -0.1, "silence"),
        (" ... ", 3, 0.1, -0.1, "silence"),
        ("Thank you.", 3, 0.7, -1.2, "silence"),
        ("Words nobody said", 4, 0.1, -1.5, "low-confidence"),
        ("by the door by the door by the door by the door by the door", 16, 0.1, -0.2, "loop"),
        ("six " * 9, 10, 0.1, -0.2, "loop"),
        ("a different word each time until the cap", MAX_TOKENS, 0.1, -0.2, "loop"),
        ("Anything", 2, math.nan, -0.2, "low-confidence"),
        ("Anything", 2, 0.1, math.nan, "low-confidence"),
        ("Anything", 2, 0.1, -math.inf, "low-confidence"),
    ],
)
def test_a_transcript_is_judged(text: str, tokens: int, no_speech: float, logprob: float, reason: str) -> None:
    assert judge(text, tokens, no_speech, logprob) == reason
