"""The thesis's numbers, and verdicts on them and on what was found."""

import pytest
from test_paired import made
from tiny_corpus import iemocap_rows

from train.thesis import printed as thesis
from train.thesis.tables import SystemPredictions, found_verdicts, spread, table_1, table_2, thesis_verdicts


@pytest.mark.parametrize("system", thesis.TABLE_2)
def test_a_printed_row_of_table_2_comes_from_whole_counts(system: str) -> None:
    """Out of 245 sad and 1,925 other utterances."""
    printed = thesis.TABLE_2[system]
    hits = round(printed.recall / 100 * 245)
    alarms = round(hits / (printed.precision / 100)) - hits

    assert 100 * (hits + 1925 - alarms) / 2170 == pytest.approx(printed.accuracy, abs=0.006)
    assert 100 * 2 * hits / (2 * hits + alarms + 245 - hits) == pytest.approx(printed.f1, abs=0.006)


def test_the_claim_of_the_thesis_holds_in_its_numbers_and_its_hypothesis_does_not() -> None:
    claim, hypothesis, never = thesis_verdicts()

    assert "percent, relative, above the best unimodal system): MET" in claim
    assert "+13.88 points, +30.7 percent relative" in claim
    assert "read as relative: NOT MET; read as points: NOT MET" in hypothesis
    assert "+4.61 points, +5.5 percent relative" in hypothesis
    assert 'Answering "never sad" is 88.71 percent accurate; above it: attention.' in never


def test_table_1_shows_both_counts() -> None:
    text = table_1(iemocap_rows())

    assert "| train (sessions 1-3) | 6,528 | 696 | 5,832 | 5,766 | 696 | 5,070 |" in text
    assert "| train, oversampled | 11,664 | 5,832 | 5,832 | 10,140 | 5,070 | 5,070 |" in text
    assert "| validation (session 4) | 1,339 | 143 | 1,196 | 2,103 | 143 | 1,960 |" in text
    assert "| test (session 5) | 2,170 | 245 | 1,925 | 2,170 | 245 | 1,925 |" in text


def scored() -> list[SystemPredictions]:
    return [
        SystemPredictions("cnn", "Audio CNN", made(skill=1.0)),
        SystemPredictions("attention", "Attention (x, not BERT)", made()),
    ]


def test_table_2_ends_with_never_sad_and_keeps_the_thesis_beside() -> None:
    lines = table_2(scored()).splitlines()

    assert lines[2].startswith("| Audio CNN | 84.33 | 45.16 | 37.33 | 57.14 |")
    assert lines[3].startswith("| Attention (x, not BERT) | 88.94 | 59.04 | 50.73 | 70.61 |")
    assert lines[-1].startswith("| never sad | 88.71 | 0.00 |")


def test_verdicts_need_both_sides() -> None:
    assert "NOT MET" in found_verdicts(scored())[1]
    assert found_verdicts(scored()[:1]) == [
        "Neither claim nor hypothesis can be judged without the attention system and an audio-only one."
    ]


def test_a_bootstrap_over_two_speakers_says_what_it_is_worth() -> None:
    assert "lower bound of the uncertainty" in spread([SystemPredictions("cnn", "Audio CNN", made(speakers=2))])
    assert "lower bound" not in spread(scored())
