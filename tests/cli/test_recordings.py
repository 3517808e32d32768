"""Scores as rows of a table: one line each, the same columns whatever the checkpoint tells."""

import csv
import json
from pathlib import Path

import pytest
from wire import a_score

from sadstream.base.errors import BusyError
from sadstream.cli.archive.tables import SCORES, expect_places
from sadstream.cli.recordings import COLUMNS, csv_row
from sadstream.cluster.archive.plan import FoundArchive
from sadstream.events import Score, to_json


def row(score: Score) -> dict[str, str]:
    """As a reader of the table has it."""
    (found,) = csv.DictReader([",".join(COLUMNS), csv_row("a.wav", json.loads(to_json(score)))])
    return found


def test_a_row_holds_what_is_told_beside_sad_and_nothing_where_there_is_none() -> None:
    felt = row(a_score(emotions={"sad": 0.75, "calm": 0.25}, valence=-0.5, arousal=0.0))
    plain = row(a_score())

    assert json.loads(felt["emotions"]) == {"sad": 0.75, "calm": 0.25}
    assert (felt["valence"], felt["arousal"]) == ("-0.5", "0.0")
    assert (plain["emotions"], plain["valence"], plain["arousal"]) == ("", "", "")
    assert felt["p_sad"] == plain["p_sad"] != ""


def test_a_table_of_a_version_with_fewer_columns_is_ours_to_write_anew(tmp_path: Path) -> None:
    nothing = FoundArchive((), (), 0)
    (tmp_path / SCORES).write_text("file,segment,t_start,t_end,p_sad,threshold,sad,bias_logit\n")
    expect_places(nothing, tmp_path, force=False)

    (tmp_path / SCORES).write_text("file,segment,mine\n")
    with pytest.raises(BusyError):
        expect_places(nothing, tmp_path, force=False)
