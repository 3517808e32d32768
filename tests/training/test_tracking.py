"""A run in other people's tools: all of it, nothing twice, whatever stopped it in between."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_corpus import prepared

from sadstream.base.errors import UnavailableError, UsageError
from train.cli import main
from train.training.records.history import Epoch, History
from train.training.run import Run
from train.training.session import Session
from train.training.tracking import tracker
from train.training.tracking.tracker import Kind, followed, kind_of, settings


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("tracking"))


class Notebook:
    """A tracker that keeps everything in a list, over any number of openings."""

    kept: dict[str, list[tuple[str, float, int]]]

    def __init__(self, folder: Path, name: str, values: Mapping[str, str]) -> None:
        self.lines = self.kept.setdefault(folder.name, [])

    def logged(self) -> int:
        return max((step for name, _, step in self.lines if name == "loss"), default=0)

    def has(self, name: str) -> bool:
        return any(name == one for one, _, _ in self.lines)

    def epoch(self, epoch: Epoch) -> None:
        self.lines.append(("loss", epoch.train_loss, epoch.epoch))

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        self.lines += [(name, value, epoch) for name, value in values.items()]

    def close(self) -> None:
        self.lines.append(("closed", 0.0, 0))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, float, int]]]:
    monkeypatch.setattr(Notebook, "kept", {}, raising=False)
    monkeypatch.setattr(tracker, "_shell", lambda kind: Notebook)
    return Notebook.kept


def fitted(made: SimpleNamespace, out: Path, track: Kind | None) -> Run:
    own = Session(made.session.cache, made.session.compute, made.session.load, track)
    return own.fit(made.preset, "cnn", made.path, out, allow_partial=True, say=lambda _: None)


def test_each_epoch_is_told_once_and_the_figures_once(
    made: SimpleNamespace, tmp_path: Path, kept: dict[str, list[tuple[str, float, int]]]
) -> None:
    for _ in range(2):
        run = fitted(made, tmp_path, "tensorboard")
        made.session.evaluate(run.folder, ["strict"])
    told = [(name, step) for name, _, step in kept[run.folder.name] if name != "closed"]

    assert [step for name, step in told if name == "loss"] == [1, 2, 3]
    assert told.count(("strict/macro F1", 3)) == 1
    assert len(set(told)) == len(told)
    losses = [value for name, value, _ in kept[run.folder.name] if name == "loss"]
    assert losses == [epoch.train_loss for epoch in run.history.epochs]


def test_a_run_that_is_gone_on_with_is_told_what_is_missing(
    made: SimpleNamespace, tmp_path: Path, kept: dict[str, list[tuple[str, float, int]]]
) -> None:
    run = fitted(made, tmp_path, None)
    assert not kept
    whole = run.history.epochs
    for known in (1, 1, 3):
        with followed("mlflow", run.folder, run.config) as told:
            told(History(epochs=whole[:known]))

    assert [step for name, _, step in kept[run.folder.name] if name == "loss"] == [1, 2, 3]


def test_a_configuration_is_a_line_a_setting(made: SimpleNamespace, tmp_path: Path) -> None:
    found = settings(fitted(made, tmp_path, None).config)

    assert found["training.epochs"] == "3"
    assert found["spec.loss"] == "bce"
    assert found["seed"] == "0"


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="--track abacus: expected tensorboard or mlflow"):
        kind_of("abacus")


@pytest.mark.parametrize(("kind", "module"), [("mlflow", "mlflow.tracking"), ("tensorboard", "tensorboard")])
def test_a_tool_that_is_not_installed_is_one_line(
    made: SimpleNamespace,
    tmp_path: Path,
    kind: str,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(UnavailableError, match=rf"{kind}: not installed; .* pip install '\.\[{kind}\]'"):
        kind_of(kind)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "thesis-small", "--manifest", str(made.path), "--out", str(tmp_path / "runs"), "--track", kind])

    assert stop.value.code == 69
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.rglob("config.json"))


def test_a_run_is_evaluated_where_its_tool_is_not_installed(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = fitted(made, tmp_path, None)
    (run.folder / "tracking.json").write_text('{"kind": "mlflow"}')
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    made.session.evaluate(run.folder, ["strict"])

    assert run.evaluated("strict")
    assert "not told any more: mlflow: not installed" in caplog.text


@pytest.mark.slow
def test_what_tensorboard_reads_is_the_run(made: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        run = fitted(made, tmp_path, "tensorboard")
        made.session.evaluate(run.folder, ["strict"])
    found = EventAccumulator(str(run.folder / "tensorboard"))
    found.Reload()

    assert [event.step for event in found.Scalars("loss/train")] == [1, 2, 3]
    assert [event.step for event in found.Scalars("strict/macro F1")] == [3]
    losses = [event.value for event in found.Scalars("loss/validation")]
    assert losses == pytest.approx([epoch.validation_loss for epoch in run.history.epochs])


@pytest.mark.slow
def test_what_mlflow_reads_is_the_run(made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from train.training.tracking.mlflow import require

    for _ in range(2):
        run = fitted(made, tmp_path, "mlflow")
        made.session.evaluate(run.folder, ["strict"])
    client = require()(tracking_uri=(tmp_path / "mlruns").as_uri())
    (kept,) = client.search_runs([client.get_experiment_by_name("sadstream").experiment_id])

    assert (kept.info.run_name, kept.info.status) == (run.config.name, "FINISHED")
    assert kept.data.params["training.epochs"] == "3"
    assert [one.step for one in client.get_metric_history(kept.info.run_id, "train_loss")] == [1, 2, 3]
    assert len(client.get_metric_history(kept.info.run_id, "strict/macro_F1")) == 1
