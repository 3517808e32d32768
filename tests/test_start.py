"""The installed commands in somebody's folder: what lies there is theirs, and is never run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

HOSTILE = "raise SystemExit('the file of somebody else was run')\n"
NAMES = ("train.py", "sadstream.py", "events.py", "token.py", "client.py", "config.py", "model.py", "sound.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with somebody's own modules, under names that are ours or the standard library's."""
    (tmp_path / "work").mkdir()
    for name in NAMES:
        (tmp_path / "work" / name).write_text(HOSTILE)
    return tmp_path / "work"


def command(folder: Path, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As pip's script does it: a file in another folder that imports the entry point."""
    script = folder.parent / "script"
    script.write_text(
        f"import sys\nfrom sadstream_start import {name}\nif __name__ == '__main__':\n    sys.exit({name}())\n"
    )
    setting = {**os.environ, "PYTHONPATH": f".{os.pathsep}{Path.cwd()}", **environment}
    return subprocess.run(
        [sys.executable, str(script), *arguments], cwd=folder, env=setting, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["sadstream", "train"])
@pytest.mark.parametrize("path", [".", "", "{folder}"], ids=["a dot", "an empty entry", "its whole name"])
def test_the_command_is_ours_whatever_lies_in_the_folder(folder: Path, name: str, path: str) -> None:
    before = path.format(folder=folder)
    done = command(folder, name, "--help", PYTHONPATH=f"{before}{os.pathsep}{Path.cwd()}")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_a_package_of_that_name_is_not_ours_either(tmp_path: Path) -> None:
    for name in ("train", "sadstream"):
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / "__init__.py").write_text(HOSTILE)
    done = command(tmp_path / "work", "train", "--help")

    assert (done.returncode, done.stderr) == (0, "")


def test_what_we_start_is_ours_too(folder: Path) -> None:
    script = "import os, sys, sadstream_start as s; s.find_ours(); os.execv(sys.argv[1], sys.argv[1:])"
    asks = "import token, train, sadstream; print(train.__file__, sadstream.__file__)"
    setting = {**os.environ, "PYTHONPATH": f".{os.pathsep}{Path.cwd()}"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, sys.executable, "-c", asks],
        cwd=folder,
        env=setting,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert str(folder) not in done.stdout


@pytest.mark.slow
def test_what_we_start_is_ours_too_under_a_long_temporary_folder(folder: Path) -> None:
    """Seventy recordings are heard by processes of their own; a socket under this TMPDIR has too long a name."""
    long = folder.parent / ("t" * max(1, 100 - len(str(folder.parent))))
    long.mkdir()
    lines = ["path,speaker,sad"]
    for number in range(70):
        noise = 0.1 * np.random.default_rng(number).standard_normal(4_000)
        soundfile.write(folder / f"{number}.wav", noise, 16_000)
        lines.append(f"{number}.wav,p{number // 10},{number % 2}")
    (folder / "own.csv").write_text("\n".join(lines))
    cache = ["--cache", str(folder.parent / "cache")]
    fit = ["fit", "thesis-small", "--manifest", "data", "--system", "cnn", "--epochs", "1", *cache]
    for arguments in (["prepare", "csv", "own.csv", "--out", "data"], fit):
        done = command(folder, "train", *arguments, TMPDIR=str(long))
        assert done.returncode == 0, done.stderr
    assert "somebody else" not in done.stdout + done.stderr
