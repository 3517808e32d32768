"""The service's user and group: what is missing is made, what was there is left, what is refused is said."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sadstream.base.errors import UnavailableError
from sadstream.daemon.supervision.installation.accounts import Accounts
from sadstream.daemon.supervision.installation.command import system


class Machine:
    """The accounts of a machine, and the tools that change them as Debian's do."""

    def __init__(self, users: Sequence[str] = (), groups: Sequence[str] = (), refuses: Sequence[str] = ()) -> None:
        self.users, self.groups, self.refuses = set(users), set(groups), set(refuses)
        self.primary = ""

    def accounts(self, state: Path) -> Accounts:
        return Accounts(state, lambda name: {name: 0}[name if name in self.users else ""],
                        lambda name: {name: 0}[name if name in self.groups else ""])  # fmt: skip

    def run(self, command: Sequence[str]) -> None:
        tool, name = command[0], command[-1]
        if tool in self.refuses:
            raise UnavailableError(f"`{tool}` failed: exit code 8")
        if tool == "groupadd":
            self.groups.add(name)
        elif tool == "useradd":
            assert name in self.groups
            self.users.add(name)
            self.primary = name
        elif tool == "usermod":
            self.primary = command[command.index("--gid") + 1]
        elif tool == "userdel":
            self.users.remove(name)
            self.groups.discard(self.primary)  # USERGROUPS_ENAB
        elif tool == "groupdel":
            self.groups.remove(name)


def test_what_is_missing_is_made_and_removed_again(tmp_path: Path) -> None:
    machine = Machine()
    machine.accounts(tmp_path).make(machine.run)
    assert (machine.users, machine.groups) == ({"sadstream"}, {"sadstream"})

    machine.accounts(tmp_path).remove(machine.run)
    assert (machine.users, machine.groups) == (set(), set())


@pytest.mark.parametrize("there", [["user"], ["group"], ["user", "group"]])
def test_what_was_there_is_taken_said_and_left(
    tmp_path: Path, there: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    users, groups = (["sadstream"] if kind in there else [] for kind in ("user", "group"))
    machine = Machine(users, groups)
    machine.accounts(tmp_path).make(machine.run)
    said = capsys.readouterr().out
    for kind in there:
        assert f"{kind} sadstream: there already" in said
    assert (machine.users, machine.groups) == ({"sadstream"}, {"sadstream"})

    machine.accounts(tmp_path).remove(machine.run)
    assert (machine.users, machine.groups) == (set(users), set(groups))
    assert capsys.readouterr().out.count(": left, since no installation made it") == len(there)


def test_a_second_installation_says_nothing_of_its_own_accounts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine()
    for _ in range(2):
        machine.accounts(tmp_path).make(machine.run)

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("tool", ["groupadd", "useradd"])
def test_an_installation_that_is_refused_an_account_can_be_undone_and_repeated(tmp_path: Path, tool: str) -> None:
    machine = Machine(refuses=[tool])
    with pytest.raises(UnavailableError, match=tool):
        machine.accounts(tmp_path).make(machine.run)
    undone = Machine(machine.users, machine.groups)
    undone.accounts(tmp_path).remove(undone.run)
    assert (undone.users, undone.groups) == (set(), set())

    machine.refuses.clear()
    machine.accounts(tmp_path).make(machine.run)
    assert (machine.users, machine.groups) == ({"sadstream"}, {"sadstream"})


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["systemctl", "--no-such-option"], "no-such-option"),
        (["userdel", "no-such-user-here"], "no-such-user-here"),
        (["/no/such/program"], "No such file"),
    ],
)
def test_what_a_tool_of_the_system_refuses_is_one_line_with_its_reason(command: list[str], said: str) -> None:
    with pytest.raises(UnavailableError) as refusal:
        system(command)

    assert said in str(refusal.value).split("failed:")[1]
    assert "\n" not in str(refusal.value)
