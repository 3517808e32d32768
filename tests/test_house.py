"""The shape of the code: who may import what, where threads live, what never happens."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

SADSTREAM = sorted(Path("sadstream").rglob("*.py"))
TRAIN = sorted(Path("train").rglob("*.py"))
PACKAGES = sorted(path.parent for root in ("sadstream", "train") for path in Path(root).rglob("__init__.py"))
ENTRIES = 10  # of a package, beside __init__ and __main__; what is not Python is not counted
FOR_APPS = {
    Path("sadstream"): {"testing"}
}  # no part of the program: for the tests of others, who import it by this name
PIPELINE = Path("sadstream/daemon/pipeline")
CLUSTER = Path("sadstream/cluster")
CONTRACTS = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
# Whoever wants one of these has waited for it: it is imported where it is needed, not at the start.
HEAVY = {
    name
    for contract in CONTRACTS
    if contract["name"].endswith("has one home")
    for name in contract["forbidden_modules"]
} - {"zmq", "starlette", "uvicorn", "tokenizers"}
IGNORED = shutil.ignore_patterns("__pycache__", "*.safetensors", "pages", "scene")
PAGE = Path("docs/architecture.md")
BOUNDS = re.findall(r"\| `([\w.]+)\.([A-Z_]+)` \| ([\d.]+) \|", PAGE.read_text())


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


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages in this folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def doubled(root: Path) -> dict[str, list[str]]:
    """The class names that stand in two modules, underscore or not, and where; an import makes no second one."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for name in ("sadstream", "train") for path in (root / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name.lstrip("_"), []).append(path.relative_to(root).as_posix())
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_imports_go_one_way() -> None:
    done = linted(Path())

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("sadstream/scoring/analyzer/analyzer.py", "import sadstream.daemon.service", "sadstream: one way down"),
        ("sadstream/base/errors.py", "import train.presets", "the daemon never imports the workshop"),
        ("sadstream/views/plot.py", "import soundfile", "soundfile has one home"),
        ("sadstream/client/follower.py", "import numpy", "client and contract need pyzmq alone"),
        ("train/corpora/clips.py", "import train.thesis.report", "train: one way down"),
    ],
)
def test_an_import_against_the_rules_is_found(tmp_path: Path, path: str, line: str, contract: str) -> None:
    for name in ("sadstream", "train"):
        shutil.copytree(name, tmp_path / name, ignore=IGNORED)
    shutil.copy("pyproject.toml", tmp_path)
    with (tmp_path / path).open("a") as file:
        file.write(f"\n{line}\n")
    done = linted(tmp_path)

    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


@pytest.mark.parametrize("path", SADSTREAM, ids=str)
def test_a_heavy_library_is_imported_only_when_needed(path: Path) -> None:
    assert {name for name, at_top in imports(path) if at_top and name.split(".")[0] in HEAVY} == set()


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_is_seen_at_a_glance(package: Path) -> None:
    """At most ten entries, and a paragraph that says what is inside and what never is."""
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")} - FOR_APPS.get(package, set())
    said = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))

    assert len(modules | folders) <= ENTRIES, sorted(modules | folders)
    assert said, f"{package}/__init__.py says nothing"


@pytest.mark.parametrize("path", SADSTREAM, ids=str)
def test_threads_and_queues_live_in_the_pipeline(path: Path) -> None:
    found = {name for name, _ in imports(path)} & {"threading", "queue", "concurrent.futures", "multiprocessing"}

    assert not found or path.parent in (PIPELINE, CLUSTER)  # a scorer's process has no pipeline


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


def test_a_class_name_means_one_thing() -> None:
    assert doubled(Path()) == {}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("sadstream/cli/demo/play.py", "class Segment: ..."),
        ("train/metrics/paired.py", "class Manifold:\n    class _Interval: ..."),
        ("sadstream/views/watch/strip.py", "class Gap: ..."),
    ],
)
def test_a_second_class_of_a_name_is_found(tmp_path: Path, path: str, line: str) -> None:
    for name in ("sadstream", "train"):
        shutil.copytree(name, tmp_path / name, ignore=IGNORED)
    with (tmp_path / path).open("a") as file:
        file.write(f"\n{line}\n")
    (places,) = doubled(tmp_path).values()

    assert path in places


@pytest.mark.parametrize("words", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join)
def test_the_linters_are_content(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_files_of_tests_are_called_alike() -> None:
    """pytest takes the second one for the first and tests neither: folders of tests are no packages."""
    names = sorted(path.name for path in Path("tests").rglob("*.py"))

    assert [name for name in set(names) if names.count(name) > 1] in ([], ["conftest.py"])


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


@pytest.mark.parametrize("module", ["events", "client", "config", "client.lines"])
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sadstream.{module}, sys; print({{'torch', 'transformers', 'whisper', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("root", ["sadstream", "train"])
def test_each_folder_has_a_row_in_the_docs(root: str) -> None:
    rows = re.findall(rf"^\| `{root}/(\w+)/?` \|", PAGE.read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(path.parent.name for path in Path(root).glob("*/__init__.py"))


@pytest.mark.parametrize(("module", "name", "value"), BOUNDS, ids=lambda value: value)
def test_the_bounds_are_the_codes(module: str, name: str, value: str) -> None:
    assert getattr(importlib.import_module(f"sadstream.{module}"), name) == float(value)


def test_there_are_bounds() -> None:
    assert len(BOUNDS) == 7


@pytest.mark.parametrize(
    "topic",
    ["service", "wire", "training", "model-card", "performance", "architecture", "views", "web", "fleet", "archives"],
)
def test_each_topic_has_a_page_that_the_readme_links(topic: str) -> None:
    assert Path(f"docs/{topic}.md").exists()
    assert f"(docs/{topic}.md)" in Path("README.md").read_text()
