"""The way of somebody with recordings of their own: table, prepare, fit, evaluate, report, export."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_corpus import tone

from sadstream.scoring.fusion import checkpoint
from train.cli import main
from train.corpora.manifest import read, write_licence
from train.corpora.synthetic import script

SPEAKERS = 6


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Sixty tones of six speakers, sad ones falling, and a preset that trains in a second."""
    import soundfile
    from tiny_corpus import text_encoder

    folder = tmp_path_factory.mktemp("own")
    lines = script(60, seed=0)
    rows = []
    for number, line in enumerate(lines):
        soundfile.write(folder / f"{line.name}.wav", tone(line), 16_000)
        rows.append((f"{line.name}.wav", f"p{number % SPEAKERS}", int(line.label == "sad"), line.words, number))
    # Each speaker has sad and other utterances, whatever the script dealt.
    rows = [(name, f"p{at // 10}", sad, words, number) for at, (name, _, sad, words, number) in enumerate(rows)]
    encoder = text_encoder(folder / "encoder")
    base = Path("configs/thesis.toml").resolve()
    preset = folder / "tiny.toml"
    preset.write_text(
        f'base = "{base}"\nname = "tiny"\n[features]\nn_mels = 16\n[model]\nchannels = [2, 4]\nhidden = 4\n'
        f'[text]\nencoder = "{encoder}"\n[training]\nepochs = 2\n'
    )
    return SimpleNamespace(folder=folder, rows=rows, preset=preset)


WORDS: dict[str, Callable[[str, int, int], str]] = {
    "no column": lambda words, sad, number: "",
    "empty cells": lambda words, sad, number: "",
    "nan": lambda words, sad, number: "nan",
    "one sentence": lambda words, sad, number: "Kids are talking by the door.",
    "sad ones only": lambda words, sad, number: f"{words} {number}" if sad else "",
    "free speech": lambda words, sad, number: f"{words} {number}",
}


def prepared(recordings: SimpleNamespace, out: Path, words: str = "no column") -> Path:
    column = "" if words == "no column" else ",transcript"
    lines = [f"path,speaker,sad{column}"]
    for name, speaker, sad, said, number in recordings.rows:
        lines.append(f"{name},{speaker},{sad}" + (f',"{WORDS[words](said, sad, number)}"' if column else ""))
    table = recordings.folder / f"{words.replace(' ', '-')}.csv"
    table.write_text("\n".join(lines))
    assert ended(["prepare", "csv", str(table), "--out", str(out / "data")]) == 0
    return out / "data"


def ended(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def fit(recordings: SimpleNamespace, data: Path, out: Path, system: str = "attention", *more: str) -> int:
    cache = str(recordings.folder / "cache")
    command = ["fit", str(recordings.preset), "--manifest", str(data), "--out", str(out / "runs"), "--system", system]
    return ended([*command, "--cache", cache, *more])


@pytest.mark.parametrize("words", [name for name in WORDS if name != "free speech"])
def test_a_text_part_is_never_trained_on_nothing(
    recordings: SimpleNamespace, tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared(recordings, tmp_path, words)
    assert fit(recordings, data, tmp_path) == 0
    said = capsys.readouterr().err
    (run,) = (tmp_path / "runs").iterdir()
    assert ended(["evaluate", str(run), "--cache", str(recordings.folder / "cache")]) == 0
    made = tmp_path / "own.safetensors"
    assert ended(["export", str(run), "--out", str(made), "--cache", str(recordings.folder / "cache")]) == 0
    loaded = checkpoint.load(made)

    assert "attention: trained without a text part, on sound alone: " in said
    assert loaded.header.text is None
    assert loaded.header.fusion.text_dim == 0
    assert not hasattr(loaded.fusion, "text_out")


@pytest.mark.parametrize("system", ["early-fusion", "multimodal-cnn-lstm"])
def test_every_system_with_words_is_trained_without_where_there_are_none(
    recordings: SimpleNamespace, tmp_path: Path, system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recordings, prepared(recordings, tmp_path), tmp_path, system) == 0
    assert f"{system}: trained without a text part" in capsys.readouterr().err


def test_the_system_of_words_alone_is_refused(
    recordings: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(recordings, prepared(recordings, tmp_path), tmp_path, "text") == 65
    assert "reads words alone, and they say nothing" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_words_that_say_something_are_learned_from(recordings: SimpleNamespace, tmp_path: Path) -> None:
    assert fit(recordings, prepared(recordings, tmp_path, "free speech"), tmp_path) == 0
    (run,) = (tmp_path / "runs").iterdir()

    assert run.name == "tiny-attention-encoder-seed0-fixed"


@pytest.fixture(scope="module")
def reported(recordings: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Three folds by speaker and the fixed split, which two systems learn from, and their report."""
    out = tmp_path_factory.mktemp("reported")
    cache = ["--cache", str(recordings.folder / "cache")]
    data = prepared(recordings, out, "free speech")
    assert fit(recordings, data, out, "cnn") == 0
    assert fit(recordings, data, out, "cnn", "--folds", "3") == 0
    assert fit(recordings, data, out, "attention") == 0
    for run in (out / "runs").iterdir():
        assert ended(["evaluate", str(run), "--protocol", "strict", *cache]) == 0
    assert ended(["report", str(out / "runs"), "--out", str(out / "report")]) == 0
    text = next((out / "report").glob("*.md")).read_text()
    return SimpleNamespace(out=out, text=text, cache=cache, run=out / "runs" / "tiny-cnn-seed0-fixed")


def test_the_thesis_is_not_judged_by_another_corpus(reported: SimpleNamespace) -> None:
    """No verdict, and none of its numbers beside other recordings."""
    text = reported.text

    assert "Not judged: the thesis's claim and hypothesis are about IEMOCAP, not about csv." in text
    for wrong in ("MET", "59.04", "88.94", "45.16", "88.71", "1757", "--loso", "thesis acc.", "Table 2"):
        assert wrong not in text, wrong


def test_too_little_to_judge_by_is_said_with_what_can_be_done(reported: SimpleNamespace) -> None:
    assert "One speaker: no interval" in reported.text
    assert "`fit --folds 5` (or `reproduce` with it) tests all 6 speakers" in reported.text
    assert "Fewer than 20 of a class" in reported.text


def test_folds_by_speaker_are_pooled_over_everybody(reported: SimpleNamespace) -> None:
    section = reported.text.partition("## Cross-validation by speaker, 3 folds, protocol strict")[2]

    assert "n = 60 utterances" in section
    assert "6 speakers" in section


def test_the_runs_of_all_folds_are_evaluated_together(
    reported: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(path) for path in sorted((reported.out / "runs").glob("*of3"))]
    assert ended(["evaluate", *runs, "--protocol", "strict", *reported.cache]) == 0

    assert len(runs) == 3
    assert "Audio CNN: n = 60 utterances, " in capsys.readouterr().out


def test_the_ladder_is_climbed_on_any_manifest_and_every_seed_is_shown(
    recordings: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared(recordings, tmp_path)
    asked = ["--preset", str(recordings.preset), "--system", "cnn", "--system", "text", "--epochs", "1", "--seeds", "2"]
    where = ["--manifest", str(data), "--out", str(tmp_path / "out"), "--cache", str(recordings.folder / "cache")]
    assert ended(["reproduce", *asked, "--folds", "3", *where]) == 0
    said = capsys.readouterr()
    seeds = said.out.partition("## F1 over seeds")[2].partition("\n## ")[0]
    lines = [line.split(" | ") for line in seeds.splitlines() if line.startswith("| Audio CNN")]

    assert [line[1] for line in lines] == ["thesis", "strict", "strict, 3 folds by speaker"]
    for line in lines:
        first, second = (float(part.split(": ")[1]) for part in line[-1].strip(" |").split(", "))
        assert float(line[3]) == pytest.approx((first + second) / 2, abs=0.011)
    assert len(list((tmp_path / "out/runs").iterdir())) == 8
    assert said.err.count("left out: ") == 1
    assert "text reads words alone, and they say nothing" in said.err


LICENCES: dict[str, tuple[list[str], int, str, bool | None]] = {
    "not stated": ([], 0, "not stated", None),
    "stated": (["--licence", "CC BY 4.0", "--commercial-use"], 0, "CC BY 4.0", True),
    "stated, no business": (["--licence", "CC BY-NC 4.0", "--no-commercial-use"], 0, "CC BY-NC 4.0", False),
    "only half": (["--commercial-use"], 2, "", None),
    "empty": (["--licence", " "], 2, "", None),
}


@pytest.mark.parametrize("kind", LICENCES)
def test_a_checkpoint_of_own_recordings_says_the_licence_that_its_makers_state(
    reported: SimpleNamespace, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options, code, licence, commercial = LICENCES[kind]
    made = tmp_path / "own.safetensors"
    assert ended(["export", str(reported.run), "--out", str(made), *options, *reported.cache]) == code
    err = capsys.readouterr().err
    if code:
        assert not made.exists()
        return
    header = checkpoint.read_header(made)

    assert (header.licence, header.commercial_use) == (licence, commercial)
    assert ("may not be used commercially" in err) == (commercial is False)
    assert ("state one with --licence" in err) == (commercial is None)
    assert "own.card.json: not there: without a card the daemon sends scores, but no episodes" in err


def test_a_checkpoint_says_the_licence_that_its_data_states(reported: SimpleNamespace, tmp_path: Path) -> None:
    manifest = reported.out / "data/manifest.csv"
    write_licence(manifest, read(manifest).sha256, "CC BY-SA 4.0")
    made = tmp_path / "own.safetensors"
    assert ended(["export", str(reported.run), "--out", str(made), *reported.cache]) == 0
    write_licence(manifest, read(manifest).sha256, "")

    assert checkpoint.read_header(made).licence == "CC BY-SA 4.0"


def test_export_writes_over_a_checkpoint_and_over_nothing_else(
    reported: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "own.safetensors"
    made.write_text("a diary")
    command = ["export", str(reported.run), "--out", str(made), *reported.cache]

    assert ended(command) != 0
    assert made.read_text() == "a diary"
    made.unlink()
    assert ended(command) == 0
    assert ended(command) == 0


DAMAGE: dict[str, Callable[[Path], None]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(999)),
    "text": lambda path: path.write_text("{}"),
    "another kind": lambda path: torch.save({"fusion": 3}, path),
}
READ_BY = {
    "config.json": "report",
    "provenance.json": "report",
    "strict/selection.json": "report",
    "strict/predictions.csv": "report",
    "history.json": "evaluate",
    "learned.json": "evaluate",
    "epochs": "export",
}


@pytest.mark.parametrize("damage", ["cut", "garbage"])
@pytest.mark.parametrize("file", READ_BY)
def test_a_damaged_file_of_a_run_is_one_line_that_says_what_to_delete(
    reported: SimpleNamespace, tmp_path: Path, file: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(reported.run, tmp_path / "runs" / reported.run.name))
    for path in [run / file] if file != "epochs" else list((run / file).iterdir()):
        DAMAGE[damage](path)
    if READ_BY[file] == "evaluate":
        shutil.rmtree(run / "strict")
    command = {
        "report": ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")],
        "evaluate": ["evaluate", str(run), *reported.cache],
        "export": ["export", str(run), "--out", str(tmp_path / "x.safetensors"), *reported.cache],
    }[READ_BY[file]]

    assert ended(command) == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert str(run) in line
    assert "delete" in line


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_one_line_and_without_it_training_starts_anew(
    recordings: SimpleNamespace,
    reported: SimpleNamespace,
    tmp_path: Path,
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "runs" / reported.run.name
    shutil.copytree(reported.run, run)
    for name in ("learned.json", "history.json"):
        (run / name).unlink()
    torch.save({"fusion": {}, "optimiser": {}, "history": "{}"}, run / "state.pt")
    DAMAGE[damage](run / "state.pt")
    data = reported.out / "data"

    assert fit(recordings, data, tmp_path, "cnn") == 65
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"{run / 'state.pt'}: damaged" in line
    assert "delete it and fit again" in line
    (run / "state.pt").unlink()
    assert fit(recordings, data, tmp_path, "cnn") == 0
    assert (run / "epochs/0002.safetensors").read_bytes() == (reported.run / "epochs/0002.safetensors").read_bytes()


def test_what_never_trained_blocks_no_corrected_run(recordings: SimpleNamespace, tmp_path: Path) -> None:
    """First a manifest that cannot be trained on, in the same place and folder; then the corrected one."""
    data = prepared(recordings, tmp_path, "free speech")
    good = (data / "manifest.csv").read_text()
    (data / "manifest.csv").write_text(good.replace(",validation\n", ",train\n"))
    assert fit(recordings, data, tmp_path, "cnn") == 65
    (data / "manifest.csv").write_text(good)
    assert fit(recordings, data, tmp_path, "cnn") == 0


def test_a_recording_that_changed_since_is_named(
    recordings: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    data = prepared(recordings, tmp_path, "free speech")
    content = (data / "manifest.csv").read_text()
    noise = 0.1 * np.random.default_rng(0).standard_normal(99_000)
    for number, samples in enumerate((np.full(16_000, np.nan), noise)):
        other = tmp_path / f"{number}.wav"
        soundfile.write(other, samples, 16_000, subtype="FLOAT")
        first = next(row.split(",")[6] for row in content.splitlines()[1:])
        (data / "manifest.csv").write_text(content.replace(first, str(other)))
        assert fit(recordings, data, tmp_path, "cnn") == 65
        err = capsys.readouterr().err
        assert str(other) in err.splitlines()[-1]
        assert "Traceback" not in err
