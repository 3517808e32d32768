"""The presets say what the thesis says, and what it leaves out the same for all."""

from pathlib import Path

import pytest

from sadstream.base.errors import ConfigError, MissingFileError, UsageError
from train.presets import BEYOND, SEVENTH, SIX, load_preset, presets_folder, run_config


def test_the_thesis_preset_is_the_thesis() -> None:
    preset = load_preset("thesis")
    table = {name: (s.batch_size, s.learning_rate, s.loss, s.text) for name, s in preset.systems.items()}

    assert table == {
        "text": (32, 1e-4, "bce", True),
        "cnn": (32, 1e-4, "bce", False),
        "cnn-lstm": (32, 1e-4, "bce", False),
        "early-fusion": (64, 1e-5, "focal", True),
        "multimodal-cnn-lstm": (64, 1e-4, "focal", True),
        "attention": (64, 1e-4, "focal", True),
        "whisper": (64, 1e-4, "focal", True),
    } | dict.fromkeys(BEYOND, (64, 1e-4, "focal", True))
    assert tuple(preset.systems) == (*SIX, SEVENTH, *BEYOND)
    assert (preset.features.n_frames, preset.features.n_mels, preset.features.window) == (94, 128, 400)
    assert (preset.training.epochs, preset.training.patience, preset.training.gamma) == (100, 10, 2.0)
    assert (preset.text.encoder, preset.text.pooling) == ("bert", "cls")


@pytest.mark.parametrize(
    ("name", "frames", "patience"),
    [("thesis-small", 94, 10), ("thesis-hop10", 301, 10), ("thesis-window2048", 94, 10), ("thesis-patience20", 94, 20)],
)
def test_the_other_presets_start_from_it(name: str, frames: int, patience: int) -> None:
    preset = load_preset(name)

    assert preset.name == name
    assert preset.systems == load_preset("thesis").systems
    assert (preset.features.n_frames, preset.training.patience) == (frames, patience)


def test_every_preset_is_there() -> None:
    assert len(list(presets_folder().glob("thesis*.toml"))) == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "x"', "systems: Field required"),
        ('base = "thesis.toml"\n[training]\nepoch = 3', "training.epoch: Extra inputs are not permitted"),
        ('base = "thesis.toml"\n[systems.cnn]\nloss = "hinge"', "systems.cnn.loss: Input should be 'bce' or 'focal'"),
        ("name = ", "cannot be read as TOML"),
        (
            'base = "thesis.toml"\n[training]\nclass_weights = true',
            "oversample and class_weights",
        ),
        (
            'base = "thesis.toml"\n[audio]\nlayers = [3, 1]',
            "layers: Value error, expected each layer once",
        ),
    ],
)
def test_a_wrong_preset_is_named_by_its_key(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "x.toml"
    base = presets_folder() / "thesis.toml"
    path.write_text(text.replace('"thesis.toml"', f'"{base}"'))

    with pytest.raises(ConfigError, match=line):
        load_preset(str(path))


@pytest.mark.parametrize("name", ["thesis-small", "thesis-small.toml"])
def test_a_preset_of_ones_own_starts_from_one_that_ships_or_from_its_neighbour(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "{name}"\nname = "mine"\n')
    assert load_preset(str(path)).model == load_preset("thesis-small").model

    (tmp_path / name).write_text(f'base = "{name}"\n[model]\nhidden = 7\n')
    assert load_preset(str(path)).model.hidden == 7


def test_an_unknown_preset_or_system_names_the_known() -> None:
    with pytest.raises(MissingFileError, match="or one of thesis, thesis-hop10"):
        load_preset("thesis-large")
    with pytest.raises(UsageError, match="'rnn': expected one of text, cnn"):
        run_config(load_preset("thesis"), "rnn", "m")


def test_a_stand_in_is_named_in_title_and_folder() -> None:
    preset = load_preset("thesis")
    stand_in = preset.model_copy(update={"text": preset.text.model_copy(update={"encoder": "minilm"})})

    assert run_config(preset, "text", "m").title == "Text Only (BERT)"
    assert run_config(stand_in, "text", "m").title == "Text Only (minilm, not BERT)"
    assert run_config(stand_in, "text", "m").name == "thesis-text-minilm-seed0-fixed"
    assert run_config(stand_in, "cnn", "m").title == "Audio CNN"
