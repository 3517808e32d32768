"""A release: its version is the tag's, its bytes are the same twice, all is in it, and it is of the tag alone."""

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("build", reason="build is not here: make setup")
pytest.importorskip("hatch_vcs", reason="hatch-vcs is not here: make setup")
pytestmark = pytest.mark.skipif(not Path(".git").exists(), reason="no repository: a release is made from one")

RELEASE: dict[str, Any] = runpy.run_path("deploy/release.py")
ReleaseError: type[Exception] = RELEASE["ReleaseError"]


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout


def version(folder: Path) -> str:
    command = [sys.executable, "-m", "hatchling", "version"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files that belong to the repository, as they are now."""
    found = git(Path(), "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return [name for name in found if Path(name).is_file()]


@pytest.fixture(scope="module")
def without_git(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, folder / name)
    return folder


@pytest.fixture(scope="module")
def untagged(without_git: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository") / "sadstream"
    shutil.copytree(without_git, folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture
def clone(untagged: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(untagged), "clone")
    return tmp_path / "clone"


def says(folder: Path, version: str) -> None:
    """What a person changes by hand for a release."""
    for name, pattern, line in (
        ("CITATION.cff", r"^version: .*$", f"version: {version}"),
        ("CHANGELOG.md", r"^## Unreleased$", f"## Unreleased\n\n## {version}"),
        ("pyproject.toml", r'^fallback-version = "[^"]*"', f'fallback-version = "{version}.dev0"'),
    ):
        text, changes = re.subn(pattern, line, (folder / name).read_text(), count=1, flags=re.MULTILINE)
        assert changes == 1, name
        (folder / name).write_text(text)
    git(folder, "commit", "--quiet", "--all", "--message", version)
    git(folder, "tag", f"v{version}")


def test_the_version_is_the_tags_and_after_it_the_next_ones(clone: Path) -> None:
    git(clone, "tag", "v7.8.9")
    tagged = version(clone)
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "more")

    assert tagged == "7.8.9"
    assert re.fullmatch(r"7\.8\.10\.dev1\+g[0-9a-f]+", version(clone))


def test_without_a_tag_it_names_the_commit_and_without_a_repository_what_is_to_come(
    clone: Path, without_git: Path
) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\.dev\d+\+g[0-9a-f]+", version(clone))
    assert re.fullmatch(r"\d+\.\d+\.\d+\.dev0", version(without_git))


def test_an_archive_of_the_tag_says_the_tags_version_without_git(clone: Path, tmp_path: Path) -> None:
    git(clone, "tag", "v7.8.9")
    git(clone, "archive", "--output", str(tmp_path / "archive.tar"), "HEAD")
    with tarfile.open(tmp_path / "archive.tar") as archive:
        archive.extractall(tmp_path / "archive", **RELEASE["SAFELY"])

    assert version(tmp_path / "archive") == "7.8.9"


def test_it_is_built_alike_three_times_and_everything_is_in_it(clone: Path, tracked: list[str], tmp_path: Path) -> None:
    says(clone, "7.8.9")
    built = RELEASE["built_alike"](clone, Path(sys.executable), tmp_path / "work")
    with tarfile.open(built / "sadstream-7.8.9.tar.gz") as archive:
        source = {name.removeprefix("sadstream-7.8.9/") for name in archive.getnames()}
    with zipfile.ZipFile(built / "sadstream-7.8.9-py3-none-any.whl") as archive:
        wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    inside = {name for name in tracked if name.startswith(("sadstream/", "train/"))} | {"sadstream_start.py"}
    beside = {name for name in tracked if name.startswith(("systemd/", "configs/"))} | {"room.txt", "service.md"}

    assert source == {name for name in tracked if not name.startswith(".ci/")} | {"PKG-INFO"}
    assert wheel == inside | {f"sadstream-7.8.9.data/data/share/sadstream/{name}" for name in beside}


def test_what_differs_from_the_commit_has_no_tag_or_another_version_is_refused_in_a_line(clone: Path) -> None:
    version_of = RELEASE["version_of"]
    with pytest.raises(ReleaseError, match=r"no tag at this commit: expected one.*REHEARSE=1"):
        version_of(clone, rehearse=False)
    assert version_of(clone, rehearse=True) is None

    git(clone, "tag", "v7.8.9")
    with pytest.raises(ReleaseError, match=r"CITATION\.cff says .*: expected 7\.8\.9"):
        version_of(clone, rehearse=False)

    git(clone, "tag", "--delete", "v7.8.9")
    says(clone, "7.8.9")
    assert version_of(clone, rehearse=False) == "7.8.9"

    (clone / "new.py").touch()
    with pytest.raises(ReleaseError, match=r"1 file\(s\) differ from the commit, such as new\.py"):
        version_of(clone, rehearse=True)


def test_what_it_is_made_of_names_the_wheel_by_its_hash_and_no_folder() -> None:
    said = [{"alg": "SHA-256", "content": "ab" * 32}]
    came = {"type": "distribution", "url": "file:///home/anna/sadstream.whl", "hashes": said}
    ours = {"type": "library", "bom-ref": "s", "name": "sadstream", "version": "7.8.9", "externalReferences": [came]}
    other = {"type": "library", "bom-ref": "n", "name": "numpy", "version": "2"}
    made_of = RELEASE["about_the_wheel"]({"metadata": {"tools": {}}, "components": [other, ours]})

    assert made_of["components"] == [other]
    assert made_of["metadata"]["component"] == {
        "type": "application", "bom-ref": "s", "name": "sadstream", "version": "7.8.9", "hashes": said,
    }  # fmt: skip
    assert made_of["metadata"]["tools"] == {}
    assert "anna" not in str(made_of)


def test_other_bytes_are_named() -> None:
    with pytest.raises(ReleaseError, match=r"a\.whl: not the same bytes twice"):
        RELEASE["alike"]({"a.whl": "1", "b.tar.gz": "2"}, {"a.whl": "3", "b.tar.gz": "2"})
