"""Figures, intervals over speakers, paired tests, Holm's correction."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from train.metrics.paired import RANKED, _drawn_ranks, against, confusion, holm, never_sad, paired, sad_figures
from train.metrics.predictions import Predictions


def made(n: int = 400, skill: float = 1.5, seed: int = 0, speakers: int = 10) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.2).astype(np.int64)
    logits = skill * labels + rng.standard_normal(n) - 1.0
    p = 1.0 / (1.0 + np.exp(-logits))
    return Predictions(
        names=tuple(f"u{i:04d}" for i in range(n)),
        speakers=tuple(f"s{i % speakers}" for i in range(n)),
        dialogues=tuple(f"d{i % (4 * speakers)}" for i in range(n)),
        labels=labels,
        logits=logits,
        probabilities=p,
        predicted=(p >= 0.5).astype(np.int64),
    )


def test_the_figures_are_those_of_scikit_learn() -> None:
    found = made()
    figures = sad_figures(found)
    labels, said = found.labels, found.predicted

    assert figures["accuracy"].value == pytest.approx(accuracy_score(labels, said))
    assert figures["precision"].value == pytest.approx(precision_score(labels, said))
    assert figures["recall"].value == pytest.approx(recall_score(labels, said))
    assert figures["F1"].value == pytest.approx(f1_score(labels, said))
    assert figures["macro F1"].value == pytest.approx(f1_score(labels, said, average="macro"))
    assert figures["F1"].n == 400


def test_a_draw_is_measured_as_scikit_learn_does() -> None:
    """Ties, repeated utterances, utterances left out."""
    found = made()
    found = replace(found, probabilities=np.round(found.probabilities, 1))
    times = np.random.default_rng(3).integers(0, 4, found.labels.size)
    rows = np.repeat(np.arange(times.size), times)

    for name, value in _drawn_ranks(found, times).items():
        assert value == pytest.approx(RANKED[name](found.labels[rows], found.probabilities[rows]))


def test_an_interval_holds_its_figure_and_widens_with_fewer_speakers() -> None:
    found = made()
    few = replace(found, speakers=tuple(f"s{int(name[1:]) // 100}" for name in found.names))
    for figures in (sad_figures(found), sad_figures(few)):
        assert all(f.low <= f.value <= f.high for name, f in figures.items() if name != "ECE")


def test_two_speakers_give_three_draws() -> None:
    found = made(speakers=2)
    one, two = (f1_score(found.labels[i::2], found.predicted[i::2]) for i in range(2))

    assert sad_figures(found)["F1"].low == pytest.approx(min(one, two))
    assert sad_figures(found)["F1"].high == pytest.approx(max(one, two))


def test_never_sad_is_as_accurate_as_sadness_is_rare() -> None:
    found = never_sad(made())

    assert sad_figures(found)["accuracy"].value == pytest.approx(float((found.labels == 0).mean()))
    assert sad_figures(found)["F1"].value == 0.0


def test_the_confusion_counts_every_utterance_once() -> None:
    cells = confusion(made())

    assert cells.tn + cells.fp + cells.fn + cells.tp == 400


def test_a_system_against_itself_is_not_different() -> None:
    test = paired(made(), made(), ("a", "a"))

    assert (test.f1_difference.value, test.p_f1, test.p_decisions) == (0.0, 1.0, 1.0)


def test_a_better_system_is_found_better() -> None:
    strong, weak = made(skill=4.0), made(skill=0.0)
    test = paired(strong, replace(weak, labels=strong.labels), ("strong", "weak"))

    assert test.f1_difference.low > 0.2
    assert test.p_f1 < 0.001
    assert test.p_decisions < 0.001


def test_chance_is_found_different_as_rarely_as_the_level_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty pairs of equally poor systems: about two below .05, not ten."""
    monkeypatch.setattr("train.metrics.paired.SWAPS", 300)
    base = made(skill=0.0)
    p = [paired(base, replace(made(skill=0.0, seed=s), labels=base.labels), ("a", "b")).p_f1 for s in range(1, 41)]

    assert sum(value < 0.05 for value in p) <= 7


def test_holm_steps_down() -> None:
    """.01 x 4, .02 x 3 = .06, .03 x 2 = .06, .5 x 1; never below the one before."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])


def test_holm_and_mcnemar_are_what_their_definitions_say() -> None:
    """The smallest p times the number of tests, and so on; both tails of a fair coin thrown for each disagreement."""
    rng = np.random.default_rng(5)
    for n in (1, 2, 9):
        p = rng.random(n).round(2) ** 3
        stepped = np.minimum(np.maximum.accumulate(np.sort(p) * np.arange(n, 0, -1)), 1.0)
        assert holm(p.tolist()) == pytest.approx(stepped[np.argsort(np.argsort(p, kind="stable"))], abs=1e-12)
    assert holm([]) == []
    first = made(skill=1.0)
    for seed in range(5):
        second = replace(made(skill=1.5, seed=seed), labels=first.labels)
        right = [found.predicted == found.labels for found in (first, second)]
        wins, losses = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
        coin = binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
        assert paired(first, second, ("a", "b")).p_decisions == pytest.approx(coin, abs=1e-12)


def test_all_tests_of_one_system_are_corrected_together() -> None:
    systems = {"a": made(), "b": made(skill=0.0), "c": made(skill=1.0)}
    systems = {name: replace(found, labels=systems["a"].labels) for name, found in systems.items()}
    tests = against("a", systems)

    assert [test.second for test in tests] == ["b", "c"]
    assert [t.p_f1_holm for t in tests] == pytest.approx(holm([t.p_f1 for t in tests]))
