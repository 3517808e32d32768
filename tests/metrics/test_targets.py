"""What is said beside sad, in a file and in figures."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from sadstream.base.errors import DataError, MissingFileError
from train.corpora.classes import NONE
from train.metrics.targets import (
    Targets,
    concordance,
    dimension_figures,
    emotion_figures,
    main_figure,
    pooled,
    read,
    write,
)

NAMES = ("angry", "neutral", "sad")


def made(n: int = 60, seed: int = 0) -> Targets:
    rng = np.random.default_rng(seed)
    true = rng.integers(-1, 3, n)
    logits = rng.standard_normal((n, 3)) + 1.5 * np.eye(4)[true][:, :3]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rated = rng.uniform(-1, 1, (n, 1))
    rated[:5] = math.nan
    said = np.clip(np.nan_to_num(rated) + 0.5 * rng.standard_normal((n, 1)), -1, 1)
    people = tuple(f"s{i % 6}" for i in range(n))
    return Targets(tuple(f"u{seed}{i:03d}" for i in range(n)), people, NAMES, true, shares, ("valence",), rated, said)


def test_figures_are_those_of_scikit_learn_over_utterances_with_an_emotion() -> None:
    found = made()
    kept = found.true != NONE
    true, called = found.true[kept], found.shares[kept].argmax(1)
    figures = emotion_figures(found)

    assert figures["unweighted recall"].value == pytest.approx(balanced_accuracy_score(true, called))
    assert figures["accuracy"].value == pytest.approx((true == called).mean())
    assert figures["macro F1"].value == pytest.approx(f1_score(true, called, average="macro"))
    assert figures["accuracy"].n == kept.sum() < 60
    for figure in figures.values():
        assert figure.low <= figure.value <= figure.high or figure is figures["ECE"]
        assert figure.low < figure.high


def test_concordance_punishes_what_correlation_forgives() -> None:
    rated = np.linspace(-1, 1, 50)

    assert concordance(rated, rated) == pytest.approx(1.0)
    assert concordance(rated, -rated) == pytest.approx(-1.0)
    assert concordance(rated, rated / 2) == pytest.approx(2 * 0.5 / (1 + 0.25))
    assert concordance(rated, rated + 1.0) < 0.5
    assert math.isnan(concordance(np.ones(3), np.ones(3)))


def test_what_nobody_rated_counts_nowhere() -> None:
    found = made()
    figure = dimension_figures(found)["CCC valence"]

    assert figure.n == 55
    assert figure.value == pytest.approx(concordance(found.rated[5:, 0], found.said[5:, 0]))
    assert figure.low < figure.value < figure.high


def test_the_epoch_is_chosen_by_the_mean_of_what_there_is() -> None:
    found = made()

    expected = (emotion_figures(found)["unweighted recall"].value + dimension_figures(found)["CCC valence"].value) / 2
    assert main_figure(found) == pytest.approx(expected)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    write(path, {"validation": made(10, seed=1), "test": made()})
    again = read(path, "test")

    assert (again.names, again.speakers, again.emotions, again.dimensions) == (
        made().names, made().speakers, NAMES, ("valence",),
    )  # fmt: skip
    np.testing.assert_array_equal(again.true, made().true)
    np.testing.assert_allclose(again.shares, made().shares, rtol=1e-8)
    np.testing.assert_allclose(again.rated, made().rated, rtol=1e-8)
    np.testing.assert_allclose(again.said, made().said, rtol=1e-8)
    assert len(read(path, "validation").names) == 10


@pytest.mark.parametrize(
    "content", ["", "utterance,split\nu,test\n", "utterance,split,speaker,emotion,p_sad\nu,test,s,x,1\n"]
)
def test_a_file_that_is_something_else_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "targets.csv"
    path.write_text(content)

    with pytest.raises(DataError, match=r"targets\.csv: not what is said beside sad"):
        read(path, "test")
    with pytest.raises(MissingFileError, match="sadstream-train evaluate"):
        read(tmp_path / "nothing.csv", "test")


def test_folds_are_pooled_in_the_order_of_names() -> None:
    both = pooled([made(7, seed=2), made(5, seed=1)])

    assert list(both.names) == sorted(both.names)
    np.testing.assert_array_equal(both.shares[:5], made(5, seed=1).shares)
