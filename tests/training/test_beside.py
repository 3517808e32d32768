"""Emotions and dimensions beside sad: learned, calibrated on validation, exported, said by the daemon's models."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_run import outputs, whole
from tiny_corpus import begun, prepared

from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import DataError
from sadstream.config import parse
from sadstream.config.tables import StreamConfig
from sadstream.events import from_wire, to_wire
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.header import Heads
from sadstream.scoring.recording import RecordedSegment, score_recording
from train.corpora.classes import FOUR, NONE
from train.corpora.manifest import RATINGS, read
from train.metrics.targets import Targets, concordance
from train.metrics.targets import read as read_targets
from train.training.beside import BesideLoss, calibrated, told
from train.training.loop import Trainer

EMOTIONS = {"classes": FOUR}
DIMENSIONS = {"dimensions": RATINGS}
BOTH = {**EMOTIONS, **DIMENSIONS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("beside"))


def test_a_corpus_keeps_how_people_rated_it(made: SimpleNamespace) -> None:
    rows = read(made.path).rows
    sad = [row.valence for row in rows if row.label == "sad"]

    assert set(sad) == {-0.65}  # 1.7 of 1 to 5
    assert all(row.arousal is not None and -1.0 <= row.arousal <= 1.0 for row in rows)


@pytest.mark.parametrize("system", ["text", "cnn-lstm", "attention", "gated", "cross-modal", "hierarchical"])
def test_every_system_learns_both_and_the_same_again(made: SimpleNamespace, tmp_path: Path, system: str) -> None:
    run = whole(made, system, tmp_path / "a", **BOTH)
    found = read_targets(run.targets_path, "test")

    assert found.emotions == ("angry", "happy", "neutral", "sad")
    assert found.dimensions == RATINGS
    assert len(found.names) == 10
    np.testing.assert_allclose(found.shares.sum(1), 1.0, atol=1e-6)
    assert np.abs(found.said).max() <= 1.0
    assert all(epoch.validation_target is not None for epoch in run.history.epochs)
    assert outputs(run) == outputs(whole(made, system, tmp_path / "b", **BOTH))


def test_the_strict_epoch_is_the_best_of_what_is_learned_beside_sad(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "cnn-lstm", tmp_path, **EMOTIONS)
    best = max(run.history.epochs, key=lambda epoch: (epoch.validation_target, -epoch.epoch))

    assert run.selection("strict").epoch == best.epoch
    assert run.selection("thesis").heads == Heads()
    assert "heads" in {record.what for record in run.selection("strict").fitted}


def test_a_loss_in_parts_is_the_loss_of_the_whole(made: SimpleNamespace, tmp_path: Path) -> None:
    """A batch is computed in parts of 16, so the loss must be a mean over rows."""
    run, _ = begun(tmp_path, made.preset, "cnn-lstm", made.path, **BOTH)
    trainer = Trainer(made.session.load(run.rows(made.manifest), run.config), run.config, made.session.compute)
    loss, inputs = trainer.beside, trainer.inputs
    assert loss is not None
    index = torch.from_numpy(trainer.drawn)[:32]
    raw = torch.randn(32, 7, generator=torch.Generator().manual_seed(0))
    parts = [loss(raw[at], inputs.emotions[index[at]], inputs.ratings[index[at]]) for at in torch.arange(32).split(8)]

    assert float(sum(parts)) / 4 == pytest.approx(float(loss(raw, inputs.emotions[index], inputs.ratings[index])))


def test_each_emotion_counts_the_same_and_what_has_none_counts_nothing(made: SimpleNamespace, tmp_path: Path) -> None:
    run, _ = begun(tmp_path, made.preset, "cnn", made.path, **EMOTIONS)
    inputs = made.session.load(run.rows(made.manifest), run.config)
    drawn = inputs.pieces_of("train").numpy()
    loss = BesideLoss(inputs, drawn, "cpu")
    counts = np.bincount(inputs.emotions[drawn][inputs.emotions[drawn] != NONE].numpy())
    nothing = inputs.ratings[:1]

    np.testing.assert_allclose(loss.weights.numpy() * counts, loss.weights.numpy()[0] * counts[0], rtol=1e-5)
    assert float(loss(torch.randn(1, 4), torch.tensor([NONE]), nothing)) == 0.0


def test_a_corpus_that_nobody_rated_is_one_line(made: SimpleNamespace, tmp_path: Path) -> None:
    run, _ = begun(tmp_path, made.preset, "cnn", made.path, **DIMENSIONS)
    bare = [replace(row, valence=None, arousal=None, dominance=None) for row in made.manifest.rows]

    with pytest.raises(DataError, match="no utterance is rated: expected a column valence"):
        made.session.load(bare, run.config)


def raw(logits: np.ndarray, true: np.ndarray, rated: np.ndarray, said: np.ndarray) -> Targets:  # type: ignore[type-arg]
    n = true.size
    names = tuple(f"u{i}" for i in range(n))
    return Targets(names, names, tuple(one.name for one in FOUR), true, logits, ("valence",), rated, said)


def test_calibration_takes_back_what_was_said_too_loudly(made: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(4), 200)
    logits = rng.standard_normal((800, 4)) + 1.5 * np.eye(4)[true]
    rated = rng.uniform(-0.5, 0.5, (800, 1))
    said = 0.1 * rated + 0.3 + 0.02 * rng.standard_normal((800, 1))
    _, config = begun(tmp_path, made.preset, "cnn", made.path, **(EMOTIONS | {"dimensions": ("valence",)}))
    heads = calibrated(config, raw(7.0 * logits, true, rated, said))
    after = told(heads, raw(7.0 * logits, true, rated, said))

    assert heads.temperature == pytest.approx(7.0 / 1.5, rel=0.1)  # unit variance and a shift of 1.5
    assert concordance(rated[:, 0], said[:, 0]) < 0.1
    assert concordance(rated[:, 0], after.said[:, 0]) > 0.75
    assert after.said.mean() == pytest.approx(rated.mean(), abs=1e-3)


def test_what_falls_with_the_ratings_is_not_turned_round(made: SimpleNamespace, tmp_path: Path) -> None:
    rated = np.linspace(-1, 1, 20)[:, None]
    _, config = begun(tmp_path, made.preset, "cnn", made.path, dimensions=("valence",))
    nobody = np.full(20, NONE)
    heads = calibrated(config, replace(raw(np.zeros((20, 0)), nobody, rated, -rated), emotions=()))

    assert (heads.slopes, heads.shifts) == ((1.0,), (0.0,))


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_the_daemons_scores_say_it_where_the_checkpoint_has_it(
    made: SimpleNamespace, tmp_path: Path, scene: Path
) -> None:
    run = whole(made, "attention", tmp_path, **BOTH)
    out = tmp_path / "mine.safetensors"
    made.session.export(run.folder, out)
    header = checkpoint.read_header(out)
    config = parse({"model": {"checkpoint": str(out)}, "text": {"encoder": made.preset.text.encoder}}, "test")
    source = open_source(StreamConfig(source=str(scene)), config)
    assert isinstance(source, Recording)
    scored = score_recording(source, config, Analyzer(load_models(config)))
    scores = [one.score for one in scored if isinstance(one, RecordedSegment)]

    assert header.heads == run.selection("strict").heads
    assert {"emotions: unweighted recall", "emotions: CCC valence"} <= {metric.name for metric in header.metrics}
    assert len(scores) >= 6
    for score in scores:
        assert list(score.emotions or ()) == ["angry", "happy", "neutral", "sad"]
        assert sum((score.emotions or {}).values()) == pytest.approx(1.0, abs=1e-3)
        assert -1.0 <= (score.valence or 0.0) <= 1.0
        assert -1.0 <= (score.arousal or 0.0) <= 1.0
        assert from_wire(to_wire(score)) is not None
