"""`make release`: sdist and wheel of a tag, built three times to the same bytes, installed, played, and put into dist/.

    make release               of the tag that this commit has
    make release REHEARSE=1    of any commit, tagged or not

docs/releasing.md says what comes before and after.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK, DIST = ROOT / "build/release", ROOT / "dist"
PYTHONS = ("3.11", "3.12", "3.13")
UNUSED = ("numba", "triton")  # openai-whisper asks for them (deploy/small.txt says why nobody here does)
# What a build could let in; and a wheel's dates are two seconds apart at least.
OTHERWISE = {"TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7", "PYTHONUTF8": "1"}
APART_S = 2.5
SAFELY: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2, Debian 12's, has none


class ReleaseError(Exception):
    """One line: what is wrong, where, what was expected."""


def say(text: str) -> None:
    print(text, flush=True)


def ran(*command: str | Path, **options: object) -> str:
    """What a program prints; ReleaseError with its last words where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise ReleaseError(f"`{' '.join(words)}`: exit code {done.returncode}\n" + "\n".join(last))
    return str(done.stdout)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what was done, and how long it took."""
    began = time.monotonic()
    yield
    say(f"{time.monotonic() - began:6.1f} s  {what}")


# What may be released


def version_of(root: Path, rehearse: bool) -> str | None:
    """The tag's version, None in a rehearsal of a commit without one; ReleaseError where nothing can be released."""
    changed = ran("git", "-C", root, "status", "--porcelain").splitlines()
    if changed:
        raise ReleaseError(
            f"{len(changed)} file(s) differ from the commit, such as {changed[0][3:]}: commit or remove them"
        )
    tags = ran("git", "-C", root, "tag", "--points-at", "HEAD", "--list", "v[0-9]*").split()
    if len(tags) == 1:
        return agreed(root, tags[0].removeprefix("v"))
    if rehearse:
        return None
    found = " and ".join(tags) or "no tag"
    raise ReleaseError(f"{found} at this commit: expected one, v and the version; `make release REHEARSE=1` needs none")


def agreed(root: Path, version: str) -> str:
    """The version, once every file that names one names it."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    said = {
        "CITATION.cff": re.findall(r"^version: (\S+)$", (root / "CITATION.cff").read_text(), re.MULTILINE),
        "CHANGELOG.md": re.findall(r"^## \[?([0-9][^\s\]]*)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[:1],
        "pyproject.toml, fallback-version": [project["tool"]["hatch"]["version"]["fallback-version"].split(".dev")[0]],
    }
    for name, found in said.items():
        if found != [version]:
            raise ReleaseError(f"{name} says {' '.join(found) or 'no version'}: expected {version}, as the tag does")
    return version


# Built


def clone(root: Path, folder: Path) -> Path:
    """The commit alone, as anybody has it."""
    commit = ran("git", "-C", root, "rev-parse", "HEAD").strip()
    ran("git", "clone", "--quiet", "--no-checkout", root, folder)
    ran("git", "-C", folder, "checkout", "--quiet", "--detach", commit)
    return folder


def built(
    python: Path, source: Path, out: Path, umask: int, environment: Mapping[str, str], *kinds: str
) -> dict[str, str]:
    """The names of what was built (`--sdist`, `--wheel`), and the SHA-256 of each."""
    ran(
        python,
        "-m",
        "build",
        "--no-isolation",
        *kinds,
        "--outdir",
        out,
        source,
        umask=umask,
        env=os.environ | environment,
    )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def built_alike(root: Path, python: Path, work: Path) -> Path:
    """The folder of the first build; ReleaseError where another folder, time, umask or zone makes other bytes."""
    both = ("--sdist", "--wheel")
    with step("built once"):
        first = built(python, clone(root, work / "one"), work / "built", 0o022, {}, *both)
    time.sleep(APART_S)
    with step("built in another folder, at another time, with another umask, zone and locale: the same bytes"):
        elsewhere = work / "another folder/with a longer name"
        elsewhere.parent.mkdir()
        alike(first, built(python, clone(root, elsewhere), work / "built-again", 0o077, OTHERWISE, *both))
    with step("wheel built from the sdist: the same bytes"):
        (sdist,) = (work / "built").glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(work / "unpacked", **SAFELY)
        (unpacked,) = (work / "unpacked").iterdir()
        again = built(python, unpacked, work / "built-of-sdist", 0o077, {}, "--wheel")
        alike({name: first[name] for name in first if name.endswith(".whl")}, again)
    return work / "built"


def alike(first: Mapping[str, str], second: Mapping[str, str]) -> None:
    if first != second:
        other = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
        raise ReleaseError(f"{', '.join(other)}: not the same bytes twice; look for what the build lets in")


# Installed


def python_of(version: str) -> Path | None:
    """A Python that runs and makes environments, from PATH or pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    onpath = shutil.which(f"python{version}")
    for path in (*([onpath] if onpath else []), *sorted(pyenv.glob(f"{version}*/bin/python{version}"), reverse=True)):
        tried = subprocess.run(
            [path, "-c", "import ensurepip, sys, venv; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode == 0:
            return Path(tried.stdout.strip())
    return None


def whisper_of(wheel: Path) -> str:
    """The openai-whisper that the wheel asks for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    (found,) = (line for line in asked if line.startswith("openai-whisper"))
    return found


def without_unused(environment: Path) -> None:
    """openai-whisper asks no more for what nobody here uses."""
    for path in environment.glob("lib/python3*/site-packages/openai_whisper-*.dist-info/METADATA"):
        kept = [
            line for line in path.read_text().splitlines() if not re.match(f"Requires-Dist: ({'|'.join(UNUSED)})", line)
        ]
        path.write_text("\n".join(kept) + "\n")


class Environments:
    """Bare environments of one Python: without pip, without a home, without a path but the system's."""

    def __init__(self, tools: Path, python: Path, folder: Path, wheel: Path) -> None:
        self._tools, self._folder = tools, folder
        self._dependencies = folder / "dependencies"
        ran(python, "-m", "venv", "--without-pip", self._dependencies)
        self.pip(self._dependencies, "--no-deps", whisper_of(wheel))
        without_unused(self._dependencies)
        self.pip(self._dependencies, wheel)
        ran(
            tools,
            "-m",
            "pip",
            "--python",
            self._dependencies / "bin/python",
            "uninstall",
            "--quiet",
            "--yes",
            "sadstream",
        )

    def pip(self, environment: Path, *words: str | Path) -> None:
        python = environment / "bin/python"
        ran(self._tools, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", *words)

    def with_installed(self, artefact: Path) -> Path:
        """A new environment with the dependencies, which lie on the disk once, and the artefact."""
        environment = self._folder / artefact.name
        shutil.copytree(self._dependencies, environment, symlinks=True, copy_function=os.link)
        self.pip(environment, "--no-deps", artefact)
        return environment

    def gigabytes(self) -> float:
        return int(ran("du", "-sk", self._dependencies).split()[0]) * 1024 / 1e9


def play(environment: Path, version: str, models: Path) -> None:
    """The demo, its version and its files, from a folder and a home with nothing in them."""
    with tempfile.TemporaryDirectory() as home:
        bare = {"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "SADSTREAM_MODELS": str(models)}
        program = environment / "bin/sadstream"

        def say_of(*words: str | Path) -> str:
            return ran(*words, cwd=home, env=bare)

        say_of(program, "doctor", "--only", "log-Mel")
        said = say_of(program, "--version").strip()
        if said != f"sadstream {version}":
            raise ReleaseError(f"{environment.name}: says {said}: expected sadstream {version}")
        say_of(environment / "bin/sadstream-train", "--help")
        asks = "from sadstream.daemon.supervision.installation import install"
        asks += "; install.unit('sadstream.service'); install.origin()"
        say_of(environment / "bin/python", "-P", "-c", asks)
        say_of(program, "models", "fetch")
        scores = re.findall(r"^scene +[0-9.]+ to +[0-9.]+ s", say_of(program, "demo", "--pace", "fast"), re.MULTILINE)
    if not scores:
        raise ReleaseError(f"{environment.name}: the demo ended without a score")


def installed(tools: Path, python: Path, folder: Path, artefacts: Sequence[Path], version: str, models: Path) -> str:
    """The exact Python in whose bare environments each artefact was installed and played."""
    exact = ran(python, "-c", "import platform; print(platform.python_version())").strip()
    with step(f"Python {exact}: the dependencies"):
        environments = Environments(tools, python, folder, artefacts[0])
    made_of = artefacts[0].with_name(f"sadstream-{version}.cdx.json")
    for artefact in artefacts:
        with step(f"Python {exact}: {artefact.name} installed, {environments.gigabytes():.1f} GB; the demo played"):
            environment = environments.with_installed(artefact)
            play(environment, version, models)
        if not made_of.exists():
            write_sbom(tools, environment, made_of)
        shutil.rmtree(environment)
    shutil.rmtree(folder)
    return exact


def write_sbom(tools: Path, environment: Path, path: Path) -> None:
    """CycloneDX of the wheel and all that it took, without times, numbers of chance and places of this machine."""
    found = ran(tools.with_name("cyclonedx-py"), "environment", "--output-reproducible", environment / "bin/python")
    path.write_text(json.dumps(about_the_wheel(json.loads(found)), indent=2) + "\n")


def about_the_wheel(sbom: dict[str, Any]) -> dict[str, Any]:
    """What was found in an environment, as a description of the wheel, which came from a file of this machine."""
    (ours,) = (one for one in sbom["components"] if one["name"] == "sadstream")
    (came,) = (one for one in ours["externalReferences"] if one["url"].startswith("file:"))
    named = {key: value for key, value in ours.items() if key != "externalReferences"}
    wheel = named | {"type": "application", "hashes": came["hashes"]}
    rest = [one for one in sbom["components"] if one is not ours]
    return sbom | {"metadata": sbom["metadata"] | {"component": wheel}, "components": rest}


# Done


def tools_of(work: Path) -> Path:
    """The Python of an environment with what builds and describes releases (the group `release`)."""
    python = work / "tools/bin/python"
    ran(sys.executable, "-m", "venv", work / "tools")
    ran(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    ran(python, "-m", "pip", "install", "--quiet", "--group", f"{ROOT / 'pyproject.toml'}:release")
    return python


def release(rehearse: bool, models: Path) -> None:
    tag = version_of(ROOT, rehearse)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    with step("tools"):
        tools = tools_of(WORK)
    folder = built_alike(ROOT, tools, WORK)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    version = wheel.name.split("-")[1]
    if tag not in (None, version):
        raise ReleaseError(f"{wheel.name}: expected {tag}, as the tag says")
    pythons = {wanted: python_of(wanted) for wanted in PYTHONS}
    done = [
        installed(tools, python, WORK / wanted, (wheel, sdist), version, models)
        for wanted, python in pythons.items()
        if python is not None
    ]
    if not done:
        raise ReleaseError(f"none of Python {', '.join(PYTHONS)} is here, in PATH or pyenv: nothing was installed")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))
    shutil.rmtree(DIST, ignore_errors=True)
    folder.rename(DIST)
    shutil.rmtree(WORK)
    kind = "" if tag else " (no tag: a rehearsal)"
    say(f"{DIST}: sadstream {version}{kind}; played on Python {', '.join(done)}")
    for wanted, python in pythons.items():
        if python is None:
            say(f"skipped: Python {wanted}, of which PATH and pyenv have none that makes environments")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build, compare, install and play a release; leave it in dist/.")
    parser.add_argument("--rehearse", action="store_true", help="a commit without a tag will do")
    parser.add_argument(
        "--models", type=Path, default=Path.home() / ".cache/sadstream/models", help="fetched into it once"
    )
    asked = parser.parse_args()
    began = time.monotonic()
    try:
        release(asked.rehearse, asked.models)
    except ReleaseError as error:
        print(f"sadstream: release: {error}", file=sys.stderr)
        return 1
    say(f"{time.monotonic() - began:6.1f} s  in all")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
