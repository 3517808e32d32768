"""Runs beside each other: the same utterances or no comparison at all."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_run import whole
from tiny_corpus import prepared

from sadstream.base.errors import DataError, UsageError
from train.comparison.compare import compare
from train.training.run import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="module")
def runs(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    return [whole(made, system, folder) for system in ("cnn", "text", "cnn-lstm")]


def test_the_first_is_tested_against_each_other_and_every_speaker_has_a_line(runs: list[Run]) -> None:
    text = compare([run.folder for run in runs], "strict")
    tested = text.partition("## Audio CNN against each other run")[2].partition("\n## ")[0]

    assert "| Text Only (encoder, not BERT) |" in tested
    assert "| Audio CNN-LSTM |" in tested
    assert "| Audio CNN |" not in tested
    by_speaker = text.partition("## By speaker")[2]
    assert "| Ses05F | 5 |" in by_speaker
    assert "| Ses05M | 5 |" in by_speaker


def test_a_run_beside_itself_differs_in_nothing(made: SimpleNamespace, runs: list[Run], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0].folder, tmp_path / "copy")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"seed": 0', '"seed": 7'))
    text = compare([runs[0].folder, copy], "strict")

    assert "| Audio CNN, tiny, seed 7 | +0.00 [+0.00, +0.00] | 1.0000 |" in text


def test_folds_of_one_configuration_are_one_run(made: SimpleNamespace, tmp_path: Path) -> None:
    folds = [whole(made, system, tmp_path, fold=f"s{n}") for system in ("cnn", "text") for n in (1, 2, 3, 4, 5)]
    text = compare([run.folder for run in folds], "strict")

    assert "n = 50 utterances, 10 sad, 10 speakers" in text


def test_runs_over_other_utterances_are_refused(made: SimpleNamespace, runs: list[Run], tmp_path: Path) -> None:
    other = whole(made, "text", tmp_path, fold="s1")

    with pytest.raises(DataError, match="tested on other utterances than Audio CNN"):
        compare([runs[0].folder, other.folder], "strict")


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_alone_or_given_twice_is_no_comparison(runs: list[Run], count: int) -> None:
    with pytest.raises(UsageError, match=r"expected at least two|given twice"):
        compare([runs[0].folder] * count, "strict")
