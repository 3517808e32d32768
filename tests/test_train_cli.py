"""The command as a person meets it: one line for a mistake, its exit code, nothing half-made; the manual is true."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_corpus import corpus

from train.cli import main

DOCS = Path("docs/training.md")


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    code = stop.value.code
    captured = capsys.readouterr()
    return (code if isinstance(code, int) else 0), captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["prepare", "iemocap", "{tmp}", "--out", "{tmp}/out"], 65, "not IEMOCAP: expected the release"),
        (["prepare", "tess", "{tmp}", "--out", "{tmp}/out"], 2, "corpus 'tess': expected one of iemocap"),
        (["fit", "thesis", "--manifest", "{tmp}/none"], 66, "no manifest; `sadstream-train prepare` makes one"),
        (["fit", "{tmp}/none.toml", "--manifest", "{tmp}"], 66, "no such preset; expected a TOML file, or one of"),
        (["fit", "{tmp}/bad.toml", "--manifest", "{tmp}"], 78, "training.patience: Input should be"),
        (["evaluate", "{tmp}/none"], 66, "a run is made by: sadstream-train fit"),
        (["evaluate", "{tmp}/none", "--protocol", "hope"], 2, "--protocol hope: expected strict, thesis or both"),
        (["export", "{tmp}/none"], 66, "a run is made by: sadstream-train fit"),
        (["report", "{tmp}"], 65, "no evaluated run in it"),
        (["reproduce", "--iemocap", "{tmp}", "--compute", "abacus"], 2, "--compute abacus: expected auto, cpu or cuda"),
        (["reproduce", "--iemocap", "{tmp}", "--share", "2/2"], 2, "--share 2/2: expected I/N, from 0/N to N-1/N"),
        (["reproduce", "--iemocap", "{tmp}", "--token", "t"], 2, "--token t: opens a cluster; add --cluster"),
        (["open", "--data", "{tmp}", "--cluster", "--share", "0/2"], 2, "leave --share and torchrun away"),
        (["synth-iemocap", "{tmp}"], 65, "not empty: expected a new folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, line: str
) -> None:
    base = Path("configs/thesis.toml").resolve()
    (tmp_path / "bad.toml").write_text(f'base = "{base}"\n[training]\npatience = 0\n')
    if arguments[0] == "synth-iemocap" and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    found, out, err = ended([argument.format(tmp=tmp_path) for argument in arguments], capsys)

    assert (found, out) == (code, "")
    assert line in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_espeak_it_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = ended(["synth-iemocap", str(tmp_path / "new")], capsys)

    assert (code, err.count("\n")) == (69, 1)
    assert "sudo apt-get install espeak-ng" in err


def test_wrong_counts_print_the_table_of_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = corpus(tmp_path / "corpus")
    code, _, err = ended(["prepare", "iemocap", str(release), "--out", str(tmp_path / "out")], capsys)

    assert code == 65
    assert re.search(r"^utterances +10,039 +50$", err, re.MULTILINE)
    assert not (tmp_path / "out").exists()


def test_one_system_from_corpus_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """prepare, fit, evaluate, export, report; what each prints."""
    release, data, runs = corpus(tmp_path / "corpus"), tmp_path / "data", tmp_path / "runs"
    run = runs / "thesis-small-cnn-lstm-seed0-fixed"
    cache = ["--cache", str(tmp_path / "cache")]
    steps = (
        ["prepare", "iemocap", str(release), "--out", str(data), "--allow-partial"],
        ["fit", "thesis-small", "--manifest", str(data), "--system", "cnn-lstm", "--epochs", "2", "--out", str(runs),
         "--allow-partial", *cache],
        ["evaluate", str(run), *cache],
        ["export", str(run), "--out", str(tmp_path / "x.safetensors"), *cache],
        ["report", str(runs), "--out", str(tmp_path / "report")],
    )  # fmt: skip
    said = []
    for step in steps:
        code, out, _ = ended(step, capsys)
        assert code == 0
        said.append(out)

    assert said[0] == f"{data / 'manifest.csv'}: 50 utterances, 10 sad\n"
    assert said[1].startswith(f"{run}: 2 epochs")
    assert said[2].startswith("PARTIAL CORPUS: 50 of 10,039 utterances of iemocap")
    assert "Audio CNN-LSTM, thesis |" in said[2]
    assert "[model] checkpoint =" in said[3]
    assert [Path(line).name for line in said[4].split()] == ["report.md", "report.html"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_commands_of_the_manual_work_as_printed(tmp_path: Path) -> None:
    """Those under a `run` mark, in their order, in an empty folder."""
    blocks = re.findall(r"<!-- run -->\n```console\n(.*?)```", DOCS.read_text(), re.DOTALL)
    commands = [line.split() for block in blocks for line in block.splitlines()]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.setdefault("SADSTREAM_MODELS", str(Path("~/.cache/sadstream/models").expanduser()))
    for program, *arguments in commands:
        assert program == "sadstream-train"
        subprocess.run([sys.executable, "-m", "train", *arguments], cwd=tmp_path, env=environment, check=True)

    assert len(commands) == 7
    report = (tmp_path / "reproduction" / "report-minilm.md").read_text()
    assert "Whisper states, BiLSTM, attention (minilm, not BERT) [tiny.en]" in report
    assert (tmp_path / "mine.safetensors").is_file()
    assert (tmp_path / "report" / "report.html").is_file()
