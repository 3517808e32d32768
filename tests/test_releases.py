"""Checkpoints of a service: up, back, and never half."""

from pathlib import Path

import pytest

from sadstream import checkpoint, releases
from sadstream.errors import SadstreamError, UsageError

DEFAULT = checkpoint.default_path()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A sound checkpoint that is not the default one."""
    loaded = checkpoint.load(DEFAULT)
    path = tmp_path / "other.safetensors"
    checkpoint.save(path, loaded.fusion, loaded.header.model_copy(update={"system": "another"}))
    return path


def current(folder: Path) -> str:
    return checkpoint.load(folder / releases.CURRENT).sha256[:12]


def test_an_upgrade_is_current_and_a_rollback_brings_the_old_one_back(tmp_path: Path, other: Path) -> None:
    folder = tmp_path / "checkpoints"
    first = releases.upgrade(folder, DEFAULT)
    second = releases.upgrade(folder, other)

    assert first != second == current(folder)
    assert releases.rollback(folder) == first == current(folder)
    assert releases.rollback(folder) == second == current(folder)


def test_the_same_checkpoint_twice_keeps_the_one_before(tmp_path: Path, other: Path) -> None:
    folder = tmp_path / "checkpoints"
    first = releases.upgrade(folder, DEFAULT)
    for _ in range(2):
        releases.upgrade(folder, other)

    assert releases.rollback(folder) == first


def test_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    first = releases.upgrade(folder, DEFAULT)
    content = bytearray(DEFAULT.read_bytes())
    content[-100] ^= 1
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(content)

    with pytest.raises(SadstreamError):
        releases.upgrade(folder, bad)
    assert current(folder) == first
    assert sorted(path.name for path in folder.iterdir()) == [f"{first}.safetensors", releases.CURRENT]


def test_without_an_earlier_one_there_is_no_way_back(tmp_path: Path) -> None:
    releases.upgrade(tmp_path / "c", DEFAULT)

    with pytest.raises(UsageError, match="no earlier checkpoint"):
        releases.rollback(tmp_path / "c")
