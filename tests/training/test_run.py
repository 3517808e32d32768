"""A run: trained on train alone, chosen by its protocol, the same bytes again, going on where it was stopped."""

import errno
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_corpus import begun, prepared, session

from sadstream.base.errors import BusyError, ConfigError, DataError, UnavailableError, UsageError
from sadstream.scoring.fusion import checkpoint, torchaudio_library
from sadstream.scoring.fusion.header import WhisperStatesConfig
from train.corpora.manifest import write
from train.features.cache import Cache
from train.presets import SEVENTH
from train.training import loop
from train.training.launch import held
from train.training.run import PROTOCOLS, Run, evaluate_run

SIX = ("text", "cnn", "cnn-lstm", "early-fusion", "multimodal-cnn-lstm", "attention")
# Whose voice it is, is asked of real weights.
TEN = (*SIX, "cross-modal", "gated", "hierarchical", pytest.param("speaker", marks=pytest.mark.models))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("run"))


def whole(made: SimpleNamespace, system: str, folder: Path, **changes: object) -> Run:
    run, _ = begun(folder, made.preset, system, made.path, **changes)
    inputs = made.session.fit_run(run, made.manifest)
    for protocol in PROTOCOLS:
        evaluate_run(run, inputs, protocol)
    return run


def outputs(run: Run) -> dict[str, bytes]:
    """Everything that a run leaves, but for what times and the machine come to."""
    kept = {p.relative_to(run.folder).as_posix(): p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    return {name: content for name, content in kept.items() if name not in ("timing.json", "provenance.json")}


@pytest.mark.parametrize("system", TEN)
def test_each_system_trains_and_predicts_every_validation_and_test_utterance(
    made: SimpleNamespace, tmp_path: Path, system: str
) -> None:
    run = whole(made, system, tmp_path)

    assert len(run.history.epochs) == 3
    assert len(list((run.folder / "epochs").iterdir())) == 3
    for protocol in PROTOCOLS:
        lines = run.predictions_path(protocol).read_text().splitlines()
        assert len(lines) == 1 + 20


@pytest.mark.parametrize("system", ["attention", "cross-modal", "gated", "hierarchical"])
def test_the_same_seed_gives_the_same_bytes(made: SimpleNamespace, tmp_path: Path, system: str) -> None:
    assert outputs(whole(made, system, tmp_path / "a")) == outputs(whole(made, system, tmp_path / "b"))


def test_another_seed_gives_another_run(made: SimpleNamespace, tmp_path: Path) -> None:
    a, b = (whole(made, "attention", tmp_path, seed=seed) for seed in (0, 1))

    assert a.predictions_path("strict").read_bytes() != b.predictions_path("strict").read_bytes()


class Killed(BaseException):
    """What a test ends a training with; nothing may catch it."""


@pytest.mark.parametrize("write_number", range(1, 14))
def test_a_run_stopped_at_any_write_ends_in_the_same_predictions(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_number: int
) -> None:
    expected = outputs(whole(made, "cnn-lstm", tmp_path / "whole"))
    written, real = [0], os.fsync

    def stop(number: int) -> None:
        written[0] += 1
        if written[0] == write_number:
            raise Killed
        real(number)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", stop)
        with pytest.raises(Killed):
            whole(made, "cnn-lstm", tmp_path / "stopped")
    again = SimpleNamespace(**{**vars(made), "session": session(made.folder / "cache")})

    assert outputs(whole(again, "cnn-lstm", tmp_path / "stopped")) == expected


def test_training_never_reads_a_test_row(made: SimpleNamespace, tmp_path: Path) -> None:
    """Every number of the test utterances set to NaN: the weights stay the same."""
    run, config = begun(tmp_path / "clean", made.preset, "attention", made.path)
    inputs = made.session.fit_run(run, made.manifest)
    poisoned = inputs.audio.clone()
    poisoned[inputs.pieces_of("test")] = float("nan")
    from dataclasses import replace

    trainer = loop.Trainer(replace(inputs, audio=poisoned), config, loop.ComputeTarget())
    loop.fit(trainer, tmp_path / "poisoned")

    for epoch in (1, 2, 3):
        name = f"epochs/{epoch:04d}.safetensors"
        assert (run.folder / name).read_bytes() == (tmp_path / "poisoned" / name).read_bytes()


def test_strict_choices_do_not_depend_on_the_test_set(made: SimpleNamespace, tmp_path: Path) -> None:
    """With the test labels turned round, strict chooses the same and thesis may not."""
    run = whole(made, "cnn", tmp_path / "a")
    from dataclasses import replace

    rows = [replace(r, label="neu" if r.sad else "sad", sad=1 - r.sad) if r.split == "test" else r
            for r in made.manifest.rows]  # fmt: skip
    path = tmp_path / "turned.csv"
    turned = SimpleNamespace(**{**vars(made), "manifest": write(path, rows), "path": path})
    other = whole(turned, "cnn", tmp_path / "b")
    chosen, again = run.selection("strict"), other.selection("strict")

    assert (chosen.epoch, chosen.threshold, chosen.calibration) == (again.epoch, again.threshold, again.calibration)


def test_oversampling_makes_both_classes_equally_many(made: SimpleNamespace, tmp_path: Path) -> None:
    run, config = begun(tmp_path, made.preset, "cnn", made.path)
    inputs = made.session.load(run.rows(made.manifest), config)
    trainer = loop.Trainer(inputs, config, loop.ComputeTarget())

    assert inputs.labels[torch.from_numpy(trainer.drawn)].mean() == 0.5
    assert set(trainer.drawn.tolist()) == set(inputs.pieces_of("train").tolist())


def test_class_weights_make_both_classes_count_the_same_without_drawing_any_again(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    training = made.preset.training.model_copy(update={"oversample": False, "class_weights": True})
    preset = made.preset.model_copy(update={"training": training})
    run, config = begun(tmp_path, preset, "cnn", made.path)
    inputs = made.session.load(run.rows(made.manifest), config)
    trainer = loop.Trainer(inputs, config, loop.ComputeTarget())
    labels = inputs.labels[torch.from_numpy(trainer.drawn)]
    undecided = torch.zeros(labels.numel())
    loss = loop.loss_of(undecided, labels, "bce", 0.0, trainer.sad_weight)
    sad = loop.loss_of(undecided[labels == 1], labels[labels == 1], "bce", 0.0, trainer.sad_weight)

    assert trainer.drawn.size == inputs.pieces_of("train").numel()
    assert float(labels.sum() * sad) == pytest.approx(float(labels.numel() * loss) / 2)


def test_another_configuration_does_not_go_into_a_runs_folder(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "cnn", tmp_path / "runs")
    from train.training.run import open_run

    config = run.config
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        open_run(run.folder, config.model_copy(update={"seed": 5}))


def test_a_run_is_not_gone_on_with_after_the_manifest_changed(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "cnn", tmp_path / "runs")
    changed = write(tmp_path / "other.csv", made.manifest.rows[:-1])

    with pytest.raises(DataError, match=r"made from manifest .* fit again"):
        run.rows(changed)


def test_a_partial_corpus_needs_to_be_allowed(made: SimpleNamespace, tmp_path: Path) -> None:
    run, config = begun(tmp_path, made.preset, "cnn", made.path)
    run.write("config.json", config.model_copy(update={"allow_partial": False}))

    with pytest.raises(DataError, match="27 counts are not the corpus's"):
        run.rows(made.manifest)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left on device; make room and run the same command again"):
        begun(tmp_path, made.preset, "cnn", made.path)

    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_damaged_cache_entry_is_computed_again(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = SimpleNamespace(**{**vars(made), "session": session(folder)})
    expected = outputs(whole(first, "attention", tmp_path / "a"))
    entries = sorted(folder.rglob("*.npy"))
    sound = entries[0].read_bytes()
    entries[0].write_bytes(sound[:100])
    entries[1].write_bytes(b"")
    fresh = SimpleNamespace(**{**vars(made), "session": session(folder)})

    assert outputs(whole(fresh, "attention", tmp_path / "b")) == expected
    assert entries[0].read_bytes() == sound


def test_a_vanished_recording_is_named_and_the_rest_is_computed(made: SimpleNamespace, tmp_path: Path) -> None:
    from dataclasses import replace

    gone = tmp_path / "gone.wav"
    rows = [replace(made.manifest.rows[0], path=str(gone)), *made.manifest.rows[1:]]
    path = tmp_path / "manifest.csv"
    manifest = write(path, rows)
    own = session(tmp_path / "cache")
    run, _ = begun(tmp_path, made.preset, "cnn", path)

    with pytest.raises(DataError, match=r"gone\.wav: cannot be read: No such file or directory"):
        own.fit_run(run, manifest)
    assert len(list(Cache(tmp_path / "cache").folder.rglob("*.npy"))) == 49


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Whisper leaves its vocabulary open
def test_the_seventh_reads_whispers_states(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, SEVENTH, tmp_path)

    assert run.config.title.endswith("[tiny.en]")
    assert run.predictions_path("strict").is_file()


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_seventh_reads_the_layers_that_it_is_told(made: SimpleNamespace, tmp_path: Path) -> None:
    def told(*layers: int) -> SimpleNamespace:
        audio = made.preset.audio.model_copy(update={"layers": layers})
        return SimpleNamespace(**{**vars(made), "preset": made.preset.model_copy(update={"audio": audio})})

    run = whole(told(2, 4), SEVENTH, tmp_path)
    made.session.export(run.folder, tmp_path / "x.safetensors")
    header = checkpoint.read_header(tmp_path / "x.safetensors")

    assert isinstance(header.audio, WhisperStatesConfig)
    assert header.audio.layers == (2, 4)
    with pytest.raises(UsageError, match=r"layers: 9: \S+ has 0 to 4"):
        whole(told(9), SEVENTH, tmp_path / "b")


def test_the_seventh_takes_any_speech_encoder(made: SimpleNamespace, tmp_path: Path) -> None:
    torchaudio_library.usable()  # which transformers imports
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    folder = tmp_path / "wav2vec2"
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    Wav2Vec2Model(config).save_pretrained(folder)
    preset = made.preset.model_copy(update={"audio": made.preset.audio.model_copy(update={"encoder": str(folder)})})
    own = SimpleNamespace(**{**vars(made), "preset": preset})
    run = whole(own, SEVENTH, tmp_path / "runs")

    assert run.config.title.endswith("[wav2vec2]")
    with pytest.raises(DataError, match="which the daemon does not compute"):
        made.session.export(run.folder, tmp_path / "x.safetensors")


def test_a_damaged_state_is_named(made: SimpleNamespace, tmp_path: Path) -> None:
    run, config = begun(tmp_path, made.preset, "cnn", made.path)
    inputs = made.session.load(run.rows(made.manifest), config)
    (run.folder / "state.pt").write_bytes(b"half of it")

    with pytest.raises(DataError, match=r"state\.pt: damaged .* delete it and fit again"):
        loop.fit(loop.Trainer(inputs, config, loop.ComputeTarget()), run.folder)


def test_times_of_an_earlier_version_are_read_where_it_put_them(made: SimpleNamespace, tmp_path: Path) -> None:
    """They stood in the history, of a finished run as in the state of one that goes on."""
    run = whole(made, "cnn", tmp_path)
    now = run.history
    assert len(run.timing.seconds) == 3
    assert all(seconds > 0 for seconds in run.timing.seconds)
    assert b"seconds" not in (run.folder / "history.json").read_bytes()
    (run.folder / "timing.json").unlink()
    assert run.timing.seconds == ()
    before = [{**epoch.model_dump(), "seconds": 0.5 * epoch.epoch} for epoch in now.epochs]
    text = json.dumps({"epochs": before})
    (run.folder / "history.json").write_text(text)

    assert run.history == now
    assert run.timing.seconds == (0.5, 1.0, 1.5)
    trainer = loop.Trainer(made.session.load(run.rows(made.manifest), run.config), run.config, loop.ComputeTarget())
    state = torch.load(io.BytesIO(trainer.state(now, run.timing)), weights_only=True)
    old = io.BytesIO()
    torch.save({**{name: state[name] for name in ("fusion", "optimiser")}, "history": text}, old)
    assert trainer.restore(old.getvalue(), "state.pt") == (now, run.timing)


def test_damaged_times_cost_nothing_but_the_times(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "cnn", tmp_path)
    (run.folder / "timing.json").write_text("{")

    with pytest.raises(DataError, match=r"timing\.json: not JSON: .*; delete it: it is printed alone"):
        _ = run.timing


def test_a_second_process_at_a_run_is_told(made: SimpleNamespace, tmp_path: Path) -> None:
    run = whole(made, "cnn", tmp_path)

    with held(run.folder), pytest.raises(BusyError, match="another process is at this run; wait for it, or end it"):
        made.session.evaluate(run.folder, PROTOCOLS)
