"""The words before a fragment are those that were said before it, and of nobody's other dialogue."""

import runpy
from pathlib import Path
from typing import Any

import pytest

BENCH: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "bench/context.py"))


def said(speaker: str, words: str, dialogue: str = "a") -> Any:
    line = BENCH["WrittenLine"](words, "meld", "neutral", 0, dialogue, "dev")
    return BENCH["Said"](line, speaker, tuple(words.split()))


LINES = [
    said("Ann", "of another talk", "z"),
    said("Ann", "one two three"),
    said("Bob", "four five"),
    said("Ann", "six seven eight"),
]


@pytest.mark.parametrize(
    ("seconds", "same_speaker", "expected"),
    [
        (0.0, False, ""),
        (0.5, False, "six"),  # at two words a second: of the line itself first
        (1.5, False, "four five six"),
        (2.0, False, "three four five six"),
        (9.0, False, "one two three four five six"),
        (2.0, True, "three six"),  # what another says takes its time
        (1.0, True, "six"),
    ],
)
def test_the_words_of_the_seconds_before(seconds: float, same_speaker: bool, expected: str) -> None:
    variant = BENCH["Variant"]("", seconds, same_speaker)

    assert " ".join(BENCH["before"](LINES, 3, 1, variant, 2.0)) == expected


def test_the_first_fragment_of_the_first_line_has_none() -> None:
    assert BENCH["before"](LINES, 0, 0, BENCH["VARIANTS"][2], 2.0) == []
