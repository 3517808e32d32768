"""An uninstallation takes all that was made, asks about what was not, and says what it could not do."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sadstream.base.errors import UnavailableError
from sadstream.daemon.supervision.installation.accounts import Accounts
from sadstream.daemon.supervision.installation.install import install
from sadstream.daemon.supervision.installation.layout import InstallLayout, layout
from sadstream.daemon.supervision.installation.uninstall import uninstall


@pytest.fixture
def ran() -> list[Sequence[str]]:
    return []


def installed(root: Path) -> InstallLayout:
    where = layout(False, root)
    install(where, [].append, yes=True)
    return where


def test_an_uninstallation_removes_what_was_laid_over_the_units_and_what_starts_instances(
    tmp_path: Path, ran: list[Sequence[str]]
) -> None:
    where = layout(False, tmp_path)
    made = [
        where.units / "multi-user.target.wants/sadstream.service",
        where.units / "multi-user.target.wants/sadstream@room1.service",
        where.units / "sadstream@.service",
        where.units / "sadstream.service.d/override.conf",
        where.units / "sadstream@room1.service.d/override.conf",
        where.runtime_units / "sadstream.service.d/quick.conf",
        where.units.with_name("system.control") / "sadstream.service.d/50-MemoryMax.conf",
    ]
    others = [where.units / "sadstream-lamp.service", where.units / "other.service"]
    for path in (*made, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/nowhere")  # as a link to a unit that is removed before it
    uninstall(where, ran.append)

    assert [path for path in made if path.is_symlink()] == []
    assert all(path.is_symlink() for path in others)


@pytest.mark.parametrize("answer", ["", "no", None, "yes"])
def test_scores_voices_and_configurations_of_a_user_stay_unless_the_answer_is_yes(
    answer: str | None, tmp_path: Path, ran: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    where = installed(tmp_path)
    (where.state / "journal").mkdir()  # systemd makes it; without scores it is nobody's
    anna, room = where.state / "speakers/anna.json", where.configuration / "room1.toml"
    anna.parent.mkdir()
    for path in (anna, room, where.configuration / "mqtt.password"):
        path.touch()

    def ask(question: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    capsys.readouterr()
    uninstall(where, ran.append, ask=ask)
    said = capsys.readouterr().out
    left = {path for path in tmp_path.rglob("*") if not path.is_dir()}

    assert f"{anna.parent}: not made by the installation" in said
    assert f"{room}: not made by the installation" in said
    for ours in ("journal", "sadstream.toml", "mqtt.password"):
        assert f"{ours}: not made" not in said
    assert left == (set() if answer == "yes" else {anna, room, where.state / ".accounts"})
    if answer != "yes":
        assert f"kept: {room}, {anna.parent}; so are user and group sadstream" in said
        uninstall(where, ran.append, yes=True)
        assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_what_is_refused_is_said_the_rest_is_done_and_it_can_be_repeated(
    tmp_path: Path,
    ran: list[Sequence[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = installed(tmp_path)
    monkeypatch.setattr(Accounts, "remove", lambda self, run: run(["userdel", "sadstream"]))

    def refuse(command: Sequence[str]) -> None:
        if command[0] == "userdel":
            raise UnavailableError("service: `userdel sadstream` failed: exit code 8")

    with pytest.raises(UnavailableError, match=r"1 step\(s\) refused"):
        uninstall(where, refuse)
    assert "sadstream: service: `userdel sadstream` failed: exit code 8\n" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == [".accounts"]

    uninstall(where, ran.append)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
