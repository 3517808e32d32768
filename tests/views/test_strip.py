"""The strip shows each score where and as high as it was."""

import pytest
from wire import a_score, an_episode

from sadstream.client.lines import local_clock
from sadstream.views.watch.glyphs import ASCII, BLOCKS, Glyphs
from sadstream.views.watch.strip import GUTTER, Strip

WIDTH = 40


def strip(*audio_logits: float) -> Strip:
    made = Strip()
    for number, logit in enumerate(audio_logits):
        made.score(a_score(number, audio_logit=logit))
    return made


def height(made: Strip, column: int, rows: int, glyphs: Glyphs = BLOCKS) -> float:
    """What a reader takes a column for, 0 to 1."""
    cells = [row.plain[column] for row in made.chart(WIDTH, rows, glyphs)]
    return sum(glyphs.rising.find(cell) / 8 for cell in cells if cell in glyphs.rising) / rows


@pytest.mark.parametrize("rows", [3, 6, 16])
def test_a_column_is_as_high_as_the_score(rows: int) -> None:
    logits = (-3.0, -1.0, 0.0, 1.5, 3.0, 6.0)
    made = strip(*logits)
    for at, score in enumerate(a_score(audio_logit=logit) for logit in logits):
        assert height(made, WIDTH - len(logits) + at, rows) == pytest.approx(score.p_sad, abs=1 / rows / 8)


def test_the_newest_score_is_the_rightmost_and_old_ones_leave() -> None:
    made = strip(*[-3.0] * 100, 3.0)
    chart = made.chart(WIDTH, 6, BLOCKS)

    assert [len(row.plain) for row in chart] == [WIDTH] * 6
    assert len(made.visible(WIDTH)) == WIDTH - GUTTER
    assert made.decisions(WIDTH).plain.endswith(" S")


def test_the_threshold_stands_beside_the_chart_and_across_it() -> None:
    (line,) = [row.plain for row in strip(-3.0, -3.0, 3.0).chart(WIDTH, 6, BLOCKS) if "limit" in row.plain]

    assert "0.50" in line
    assert line[GUTTER:].endswith("╌╌█")


def test_words_that_did_not_count_are_no_zero() -> None:
    made = Strip()
    made.score(a_score(0, text_used=True, text_reason="none", text_logit=0.0))
    made.score(a_score(1, text_used=False))

    assert made.parts(WIDTH, "text", BLOCKS)[0].plain.endswith(" ·")


def test_parts_stand_for_and_hang_against() -> None:
    above, below = (row.plain[-3:] for row in strip(3.0, -3.0, 0.0).parts(WIDTH, "audio", ASCII))

    assert (above, below) == ("#  ", " # ")


def test_an_episode_is_under_its_scores_alone() -> None:
    made = strip(*[0.0] * 8)
    made.episode(an_episode(0, phase="start", first_score_seq=2, last_score_seq=3))
    assert made.episodes(WIDTH, ASCII).plain.endswith("  ======")

    made.episode(an_episode(1, phase="end", first_score_seq=2, last_score_seq=5))
    assert made.episodes(WIDTH, ASCII).plain.endswith("  ====  ")


def test_a_final_score_replaces_its_provisional_one() -> None:
    made = strip(0.0)
    made.score(a_score(1, provisional=True, audio_logit=-3.0))
    made.score(a_score(2, segment=1, audio_logit=3.0))

    assert len(made.visible(WIDTH)) == 2


def test_what_lies_between_scores_has_a_letter() -> None:
    made = strip(-3.0)
    for cut in ("lost", "restart", "deaf", "deaf", "mark"):
        made.cut(cut)
    made.score(a_score(1, audio_logit=3.0))

    assert made.decisions(WIDTH).plain.endswith(" ?R!MS")


@pytest.mark.parametrize(("scores", "times"), [(0, 0), (1, 1), (7, 1), (18, 2), (100, 2)])
def test_times_of_day_are_whole_wherever_there_is_room(scores: int, times: int) -> None:
    row, clock = strip(*[0.0] * scores).times(WIDTH).plain, local_clock(a_score().time)

    assert len(row) == WIDTH
    assert row.split()[1:] == [clock] * times
    assert not times or row.endswith(clock)
