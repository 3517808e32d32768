"""What the daemon is given scores as the run did: same probability, parts that add up, no words are average words."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_run import TEN, whole
from tiny_corpus import prepared

from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import DataError
from sadstream.config import parse
from sadstream.config.tables import StreamConfig
from sadstream.events import from_wire, to_wire
from sadstream.scoring.analysis import audio_part, text_part
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.recording import RecordedSegment, score_recording
from train.cli import main
from train.features.inputs import batch_of
from train.metrics.predictions import read
from train.presets import BEYOND
from train.training.run import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("release"))


@pytest.mark.parametrize("system", TEN)
def test_the_checkpoint_repeats_the_runs_probabilities(made: SimpleNamespace, tmp_path: Path, system: str) -> None:
    run = whole(made, system, tmp_path)
    out = tmp_path / "x.safetensors"
    made.session.export(run.folder, out)
    loaded = checkpoint.load(out)
    inputs = made.session.load(run.rows(made.manifest), run.config)
    index = inputs.pieces_of("test")
    batch = batch_of(inputs, index, "cpu")
    parts = loaded.fusion.parts(batch.audio, batch.text, batch.heard, batch.voices)
    tuned, header = loaded.header.calibration, loaded.header
    p = []
    for i in range(index.numel()):
        audio = audio_part(tuned, float(parts.audio[i])) if header.audio else 0.0
        text = text_part(tuned, float(parts.text[i])) if header.text else 0.0
        p.append(1.0 / (1.0 + math.exp(-(header.bias_logit + audio + text))))
    expected = read(run.predictions_path("strict"), "test").probabilities

    # Half precision moves a logit by a thousandth of its raw size; the calibration's slope multiplies that.
    assert p == pytest.approx(expected.tolist(), abs=0.002 * max(1.0, tuned.audio_scale))
    assert (header.threshold, header.prior) == (run.selection("strict").threshold, run.selection("strict").prior)


@pytest.mark.parametrize("system", ["early-fusion", "attention"])
def test_no_words_count_as_average_words(made: SimpleNamespace, tmp_path: Path, system: str) -> None:
    run = whole(made, system, tmp_path)
    out = tmp_path / "x.safetensors"
    made.session.export(run.folder, out)
    loaded = checkpoint.load(out)
    inputs = made.session.load(run.rows(made.manifest), run.config)
    raw = loaded.fusion.text_out(inputs.text[inputs.pieces_of("train")]).squeeze(1)
    parts = [text_part(loaded.header.calibration, float(value)) for value in raw]

    assert float(np.mean(parts)) == pytest.approx(0.0, abs=0.01 * max(1.0, loaded.header.calibration.text_scale))


def test_the_header_says_what_it_was_trained_on_and_how_it_was_measured(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "attention", tmp_path)
    out = tmp_path / "x.safetensors"
    made.session.export(run.folder, out)
    header = checkpoint.read_header(out)

    assert "PARTIAL CORPUS: 50 of 10,039 utterances" in header.trained_on[0]
    assert {metric.protocol for metric in header.metrics} == {"strict, fold fixed"}
    assert {metric.n for metric in header.metrics} == {10}
    assert not header.commercial_use


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize("system", BEYOND)
def test_the_daemon_scores_with_it_and_names_parts_only_where_there_are_some(
    made: SimpleNamespace, tmp_path: Path, scene: Path, system: str
) -> None:
    run = whole(made, system, tmp_path)
    out = tmp_path / "mine.safetensors"
    made.session.export(run.folder, out)
    config = parse({"model": {"checkpoint": str(out)}, "text": {"encoder": made.preset.text.encoder}}, "test")
    analyzer = Analyzer(load_models(config))
    source = open_source(StreamConfig(source=str(scene)), config)
    assert isinstance(source, Recording)
    scores = [one.score for one in score_recording(source, config, analyzer) if isinstance(one, RecordedSegment)]

    assert len(scores) >= 6
    assert any(score.text_used for score in scores)
    is_sum = system in ("hierarchical", "speaker")
    for score in scores:
        parts = (score.bias_logit, score.audio_logit, score.text_logit, score.offset_logit)
        assert from_wire(to_wire(score)) is not None  # which refuses parts that do not sum to the logit
        assert (None not in parts) if is_sum else (set(parts) == {None})


def test_what_is_measured_over_several_segments_says_so(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "hierarchical", tmp_path)
    made.session.export(run.folder, tmp_path / "x.safetensors")
    header = checkpoint.read_header(tmp_path / "x.safetensors")

    assert {metric.protocol for metric in header.metrics} == {
        "strict, fold fixed, utterances of up to 5 segments; the daemon hears one"
    }


def test_a_run_without_the_strict_protocol_is_not_exported(made: SimpleNamespace, tmp_path: Path) -> None:
    import shutil

    run = whole(made, "cnn", tmp_path)
    shutil.rmtree(run.folder / "strict")

    with pytest.raises(DataError, match="not evaluated under the strict protocol"):
        made.session.export(run.folder, tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("audio", {"view": "whole"}, "reads whole utterances"),
        ("text", {"window_s": 6.0}, "words of earlier utterances"),
    ],
)
def test_what_the_daemon_cannot_repeat_is_not_exported(
    made: SimpleNamespace, tmp_path: Path, part: str, changes: dict[str, object], reason: str
) -> None:
    from train.presets import run_config
    from train.thesis.ablations import Variant, varied
    from train.training.run import evaluate_run, open_run

    base = run_config(made.preset, "attention", str(made.path), allow_partial=True)
    config = varied(base, Variant("other", "", {part: changes}))
    run: Run = open_run(tmp_path / config.name, config)
    evaluate_run(run, made.session.fit_run(run, made.manifest), "strict")

    with pytest.raises(DataError, match=reason):
        made.session.export(run.folder, tmp_path / "x.safetensors")
    assert torch.isfinite(torch.tensor(read(run.predictions_path("strict"), "test").logits)).all()


def test_export_writes_the_repository_beside_the_checkpoint(
    made: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = whole(made, "text", tmp_path)
    out = tmp_path / "mine.safetensors"
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run.folder), "--out", str(out), "--card", "--cache", str(tmp_path / "cache")])
    folder = tmp_path / "mine-repository"

    assert not stop.value.code, capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"README.md", "sadstream.safetensors"}
    assert (folder / "sadstream.safetensors").read_bytes() == out.read_bytes()
    assert "PARTIAL CORPUS: 50 of 10,039 utterances" in (folder / "README.md").read_text()
    assert "is acted (iemocap)" in (folder / "README.md").read_text()
