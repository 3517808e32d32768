"""The tests with the oldest and the newest libraries that pyproject.toml admits, each in an environment of its own.

`python tests/ranges.py oldest [PYTEST ARGUMENTS]` builds `.venv-oldest` with uv (what tests need besides is the newest
in both) and runs the tests there; the extra `cluster`, whose Ray asks for newer ones than the rest, comes last,
with its own tests. --write keeps what was tested in docs/ranges.json and in the table of docs/contributing.md.
UV_TORCH_BACKEND=cpu spares 7 GB where pytorch.org can be reached; --python names another Python.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
PAGE, KEPT = HERE / "docs/contributing.md", HERE / "docs/ranges.json"
BEGIN, END = "<!-- ranges -->", "<!-- end of ranges -->"
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
LAST = "cluster"
SMALL = ("--overrides", "deploy/small.txt")
BESIDE = (
    "numba",
    "pip",
    "setuptools",
)  # for tests alone; an override would leave numba out
NAME = re.compile(r"[A-Za-z0-9_.-]+")
# Of the linters, whose findings change with what the libraries say of their types; deprecations between two libraries.
ARGUMENTS = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-W", "ignore::DeprecationWarning", "-q")
LEFT_OUT = ("--deselect", "tests/test_house.py::test_the_linters_are_content")

Project = dict[str, Any]


def requirements(project: Project) -> dict[str, tuple[str, str]]:
    """Of each library the range, and the extra that it is in (empty: needed by everybody)."""
    found: dict[str, tuple[str, str]] = {}
    for extra, lines in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for line in lines:
            name = NAME.match(line).group()  # type: ignore[union-attr]
            found.setdefault(name, (line.removeprefix(name), extra))
    return found


def uv(*arguments: str) -> None:
    """Of the environment that runs this."""
    subprocess.run([sys.executable, "-m", "uv", *arguments], cwd=HERE, check=True)


def build(which: str, python: str, extras: list[str]) -> Path:
    """The environment's Python, with what these extras need."""
    folder = HERE / f".venv-{which}"
    own, pins = folder / "bin/python", folder / "pins.txt"
    if not own.exists():
        uv("venv", "--quiet", "--python", python, str(folder))
    pins.unlink(missing_ok=True)  # what lies there would be kept to
    chosen = [argument for extra in extras for argument in ("--extra", extra)]
    uv("pip", "compile", "--quiet", "pyproject.toml", *chosen, "--resolution", RESOLUTIONS[which], *SMALL,
       "--python", str(own), "--no-header", "--no-annotate", "--output-file", str(pins))  # fmt: skip
    install = ("pip", "install", "--quiet", "--python", str(own))
    uv(*install, "--requirements", str(pins), *SMALL)
    uv(*install, "--constraints", str(pins), *SMALL, "--editable", ".", "--group", "dev")
    uv(*install, "--constraints", str(pins), *BESIDE)
    return own


def run(own: Path, arguments: list[str]) -> dict[str, int]:
    """How many tests passed, failed and were skipped."""
    environment = {
        **os.environ,
        "PATH": f"{own.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(own), "-m", "pytest", "-p", "no:cacheprovider", *ARGUMENTS, *LEFT_OUT, *arguments]
    process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    process.wait()
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    return {"passed": 0, "skipped": 0, **counts}


def versions(own: Path, names: list[str]) -> dict[str, str]:
    """What is installed of these."""
    code = (
        "import json; from importlib.metadata import distributions; "
        "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in distributions()}))"
    )
    done = subprocess.run([str(own), "-c", code], capture_output=True, text=True, check=True)
    installed = json.loads(done.stdout)
    return {name: installed[NAME.match(name).group().lower()] for name in names if name.lower() in installed}  # type: ignore[union-attr]


def table(kept: dict[str, Any], wanted: dict[str, tuple[str, str]]) -> str:
    """The page's, of what was kept."""
    rows = ["| library | range | extra | oldest tested | newest tested |", "|---|---|---|---|---|"]
    for name, (limits, extra) in wanted.items():
        tested = (kept.get(which, {}).get("versions", {}).get(name, "") for which in RESOLUTIONS)
        rows.append(f"| {name} | `{limits}` | {extra} | {' | '.join(tested)} |")
    for which, run in kept.items():
        counts = ", ".join(f"{number} {word}" for word, number in run["counts"].items())
        rows.append(f"\n{which.capitalize()}, Python {run['python']}: {counts} ({run['tests']}).")
    return "\n".join(rows)


def write(which: str, tested: dict[str, Any], wanted: dict[str, tuple[str, str]]) -> None:
    """Keep what was tested, and the table."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept[which] = tested
    kept = {name: kept[name] for name in RESOLUTIONS if name in kept}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(kept, wanted)}\n{END}{rest.split(END)[1]}")


def main() -> None:
    """Build, test, write; ends with 1 where a test fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("which", choices=RESOLUTIONS)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--write", action="store_true")
    chosen, arguments = parser.parse_known_args()
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    extras, wanted = list(project["optional-dependencies"]), requirements(project)
    own = build(chosen.which, chosen.python, [extra for extra in extras if extra != LAST])
    counts = run(own, arguments or ["--ignore", "tests/cluster"])
    found = versions(own, list(wanted))
    if not arguments:
        more = run(build(chosen.which, chosen.python, extras), ["tests/cluster"])
        counts = {word: counts.get(word, 0) + more.get(word, 0) for word in counts | more}
        found |= versions(own, [name for name in wanted if wanted[name][1] == LAST])
    if chosen.write:
        python = subprocess.run([str(own), "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
        tests = " ".join(arguments) or "all tests but the linters"
        write(chosen.which, {"python": python, "tests": tests, "counts": counts, "versions": found}, wanted)
    sys.exit(1 if counts.get("failed") or counts.get("error") or not counts["passed"] else 0)


if __name__ == "__main__":
    main()
