"""The shape of the code: who may import what, where threads live, what never happens."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SADSTREAM = sorted(Path("sadstream").rglob("*.py"))
TRAIN = sorted(Path("train").glob("*.py"))

# Each heavy library has one home, so that a newcomer knows where it is used and a fake has one seam.
HOMES = {
    "sounddevice": {"capture"},
    "webrtcvad": {"segment"},
    "whisper": {"whisper", "origins"},  # origins reads its table of official addresses
    "transformers": {"text"},
    "torchaudio": {"features"},
    "soundfile": {"decoder"},
    "av": {"ffmpeg"},
    "matplotlib": {"plot"},
    "PIL": {"sound", "report"},  # report only asks whether it is there
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether at its top."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            yield name, node in tree.body


@pytest.mark.parametrize("path", SADSTREAM, ids=lambda path: path.stem)
def test_the_daemon_never_imports_the_workshop(path: Path) -> None:
    assert [name for name, _ in imports(path) if name.split(".")[0] == "train"] == []


@pytest.mark.parametrize("path", SADSTREAM, ids=lambda path: path.stem)
def test_a_heavy_library_is_imported_in_its_home_and_only_when_needed(path: Path) -> None:
    for name, at_top in imports(path):
        root = name.split(".")[0]
        if root in HOMES:
            assert path.stem in HOMES[root], f"{name} in {path}"
            assert not at_top, f"{name} at the top of {path}"


@pytest.mark.parametrize("path", SADSTREAM, ids=lambda path: path.stem)
def test_threads_and_queues_live_in_the_pipeline(path: Path) -> None:
    found = {name for name, _ in imports(path)} & {"threading", "queue", "concurrent.futures", "multiprocessing"}

    assert not found or path.stem == "pipeline"


@pytest.mark.parametrize("path", SADSTREAM + TRAIN, ids=str)
def test_nothing_is_unpickled(path: Path) -> None:
    """torch.load only of an official file, as weights alone."""
    assert not {name for name, _ in imports(path)} & {"cPickle", "dill", "joblib", "shelve"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert not called.startswith("pickle."), f"{path}:{node.lineno}"
            assert called != "torch.load" or "weights_only=True" in ast.unparse(node), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", SADSTREAM + TRAIN, ids=str)
def test_no_class_is_called_manager_and_no_file_utils(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Handler", "Helper"))


@pytest.mark.parametrize("words", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join)
def test_the_linters_are_content(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_sadstream_is_quick_and_pulls_in_no_torch() -> None:
    """The best of five: under 50 ms."""
    times = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import sadstream, sys; assert 'torch' not in sys.modules"],
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(int(done.stderr.splitlines()[-1].split("|")[1]) / 1000)

    assert min(times) < 50


@pytest.mark.parametrize("module", ["events", "client", "config", "render"])
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sadstream.{module}, sys; print({{'torch', 'transformers', 'whisper', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
