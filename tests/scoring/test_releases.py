"""Checkpoints of a service: up, back, and never half."""

from pathlib import Path

import pytest

from sadstream.base.errors import BusyError, SadstreamError, UnavailableError, UsageError
from sadstream.config import parse
from sadstream.scoring.fusion import checkpoint, releases
from sadstream.scoring.fusion.card import card_path, read_card
from sadstream.scoring.mood.plan import read_plan

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


def test_what_was_measured_of_a_checkpoint_goes_with_it_through_upgrade_and_rollback(
    tmp_path: Path, other: Path
) -> None:
    """By its card a service says episodes; one without a card has none."""
    folder = tmp_path / "checkpoints"
    first = releases.upgrade(folder, DEFAULT)
    assert read_card(folder / releases.CURRENT, first) == read_card(DEFAULT, first) is not None
    second = releases.upgrade(folder, other)
    assert read_card(folder / releases.CURRENT, second) is None
    releases.rollback(folder)
    assert read_card(folder / releases.CURRENT, first) is not None


@pytest.mark.parametrize("name", [releases.CURRENT, releases.PREVIOUS])
def test_an_upgrade_replaces_no_file_that_it_did_not_make(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("the only copy")
    with pytest.raises(BusyError, match="there already"):
        releases.upgrade(tmp_path, DEFAULT)

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "the only copy"


def test_a_card_of_another_checkpoint_changes_nothing(tmp_path: Path, other: Path) -> None:
    card_path(other).write_bytes(card_path(DEFAULT).read_bytes())
    folder = tmp_path / "checkpoints"
    first = releases.upgrade(folder, DEFAULT)

    with pytest.raises(UnavailableError, match="measured for checkpoint"):
        releases.upgrade(folder, other)
    assert current(folder) == first


def test_the_installed_default_keeps_episodes_as_the_shipped_one_does(tmp_path: Path) -> None:
    releases.upgrade(tmp_path / "c", DEFAULT)
    installed = parse({"model": {"checkpoint": str(tmp_path / "c" / releases.CURRENT)}}, "test")

    assert read_plan(installed) == read_plan(parse({}, "test"))
    assert read_plan(installed).false_alarms_h


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
    files = sorted([f"{first}.card.json", f"{first}.safetensors", releases.CURRENT])
    assert sorted(path.name for path in folder.iterdir()) == files


def test_without_an_earlier_one_there_is_no_way_back(tmp_path: Path) -> None:
    releases.upgrade(tmp_path / "c", DEFAULT)

    with pytest.raises(UsageError, match="no earlier checkpoint"):
        releases.rollback(tmp_path / "c")
