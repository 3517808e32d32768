"""A small search that states its price: chosen on validation, tested once, never done twice."""

import re
from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import pytest
from tiny_corpus import prepared

from sadstream.base.errors import UsageError
from train.comparison.sweep import SweepRequest, axis_of, sweep
from train.corpora.manifest import CorpusManifest
from train.features.inputs import Inputs
from train.training.run import Run
from train.training.session import Session


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("sweep"))


def asked(made: SimpleNamespace, out: Path, *grid: str, seeds: int = 2) -> SweepRequest:
    return SweepRequest(made.preset, "cnn", made.path, out, tuple(map(axis_of, grid)), seeds, allow_partial=True)


@pytest.fixture(scope="module")
def swept(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    out = tmp_path_factory.mktemp("swept")
    grid = ("system.learning_rate=1e-2,1e-5", "training.oversample=true,false")
    text = sweep(asked(made, out, *grid), made.session, lambda _: None)
    return SimpleNamespace(out=out, text=text, grid=grid, runs=sorted((out / "runs").iterdir()))


def test_the_budget_stands_in_the_tables(swept: SimpleNamespace) -> None:
    epochs = sum(len(Run(folder).history.epochs) for folder in swept.runs)
    budget = rf"4 settings x 2 seeds = 8 runs, {epochs} epochs, [\d.]+ wall seconds"

    assert len(swept.runs) == 8
    assert re.search(rf"## 4 settings on validation; budget: {budget}", swept.text)
    assert re.search(rf"caption\{{4 settings on validation; budget: {budget}", (swept.out / "sweep.tex").read_text())
    assert (swept.out / "sweep.md").read_text() == swept.text


def test_the_best_mean_on_validation_is_chosen_and_nothing_else_is_tested(swept: SimpleNamespace) -> None:
    scores: dict[str, list[float]] = {}
    for folder in swept.runs:
        best = max(epoch.validation_macro_f1 for epoch in Run(folder).history.epochs)
        scores.setdefault(Run(folder).config.variant, []).append(best)
    chosen = max(scores, key=lambda variant: mean(scores[variant]))
    (line,) = re.findall(r"^\| (.*) \| yes \|$", swept.text, re.MULTILINE)

    assert {Run(f).config.variant for f in swept.runs if Run(f).evaluated("strict")} == {chosen}
    assert f"{100 * mean(scores[chosen]):.2f}" in line.split(" | ")
    assert "| seed 0, chosen of 4 |" in swept.text
    assert "| seed 1, chosen of 4 |" in swept.text


def test_a_larger_grid_fits_only_what_is_missing(
    made: SimpleNamespace, swept: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    whole = Session.fit_run

    def noted(self: Session, run: Run, manifest: CorpusManifest) -> Inputs:
        fitted.append(run.config.variant)
        return whole(self, run, manifest)

    monkeypatch.setattr(Session, "fit_run", noted)
    larger = ("system.learning_rate=1e-2,1e-5,1e-3", swept.grid[1])
    assert sweep(asked(made, swept.out, *swept.grid), made.session, lambda _: None) == swept.text
    assert fitted == []
    sweep(asked(made, swept.out, *larger, seeds=1), made.session, lambda _: None)

    assert set(fitted[:2]) == {f"system.learning_rate=0.001, training.oversample={value}" for value in (True, False)}


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("learning_rate=1e-2", r"no such key: expected one of features\..*training\.gamma.*system\.learning_rate"),
        ("training.gamma=-1.0", r"training\.gamma=-1\.0: Input should be greater than or equal to 0"),
        ("training.gamma", "expected KEY=VALUE,VALUE"),
        ("training.gamma=1.0,1.0", "each once"),
    ],
)
def test_a_wrong_grid_is_one_line_before_any_run(made: SimpleNamespace, tmp_path: Path, grid: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        sweep(asked(made, tmp_path, grid), made.session, lambda _: None)

    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
