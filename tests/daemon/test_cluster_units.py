"""A machine that scores for rooms, installed as a service: keys and token of its own, and nothing left of it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from daemon import run

from sadstream.daemon.supervision.installation import cluster_units, install
from sadstream.daemon.supervision.installation.layout import layout
from sadstream.daemon.supervision.installation.uninstall import uninstall
from sadstream.events import keys


class Machine:
    """Commands that are kept instead of run, but for the key."""

    def __init__(self, root: Path) -> None:
        self.where = layout(False, root)
        self.ran: list[Sequence[str]] = []

    def run(self, command: Sequence[str]) -> None:
        self.ran.append(command)
        if "keys" in command:
            keys.new_key(Path(command[-1]))

    def said(self, word: str) -> list[str]:
        return [" ".join(command) for command in self.ran if word in command]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(install, "systemctl", lambda where, run, *commands: [run(["systemctl", *c]) for c in commands])
    return Machine(tmp_path)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_a_machine_that_serves_has_a_key_a_token_and_an_empty_list(machine: Machine) -> None:
    cluster_units.install_serve(machine.where, machine.run, yes=True)

    where = machine.where
    assert modes(where.configuration) == {"serve.key": 0o600, "cluster.token": 0o600, "rooms.keys": 0o644}
    assert keys.read_secret(where.configuration / "serve.key")
    assert len((where.configuration / "cluster.token").read_text()) == 64
    assert machine.said("pip")[-1].endswith(install.origin("[dashboard,metrics,mqtt,web,cluster]"))
    assert (where.units / "sadstream-serve.service").is_file()
    assert "systemctl enable sadstream-serve.service" in machine.said("systemctl")
    assert "systemctl restart sadstream-serve.service" not in machine.said("systemctl")  # who would it score for?


def test_installed_again_it_keeps_its_keys_and_starts_for_whom_it_was_told_to_allow(machine: Machine) -> None:
    cluster_units.install_serve(machine.where, machine.run, yes=True)
    folder = machine.where.configuration
    keys.allow(folder / "rooms.keys", keys.public_key(folder / "serve.key"), "kitchen")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    cluster_units.install_serve(machine.where, machine.run, yes=True)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "systemctl restart sadstream-serve.service" in machine.said("systemctl")


def test_a_machine_that_joins_is_told_whom_and_waits_for_the_token(machine: Machine) -> None:
    cluster_units.install_join(machine.where, machine.run, "192.0.2.7", yes=True)
    over = machine.where.units / "sadstream-serve-join.service.d/head.conf"
    restart = "systemctl restart sadstream-serve-join.service"

    assert over.read_text() == "[Service]\nEnvironment=HEAD=192.0.2.7\n"
    assert restart not in machine.said("systemctl")
    (machine.where.configuration / "cluster.token").write_text("a token")
    cluster_units.install_join(machine.where, machine.run, "192.0.2.7", yes=True)
    assert restart in machine.said("systemctl")


def test_an_uninstallation_takes_all_of_it(machine: Machine, tmp_path: Path) -> None:
    cluster_units.install_serve(machine.where, machine.run, yes=True)
    cluster_units.install_join(machine.where, machine.run, "192.0.2.7", yes=True)
    uninstall(machine.where, machine.run)

    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize(
    "words", [["--serve", "--user"], ["--serve", "--join", "gpu"], ["--join", "gpu; reboot"], ["--join", ""]]
)
def test_what_cannot_be_installed_is_said_before_anything_is_done(words: list[str]) -> None:
    done: subprocess.CompletedProcess[str] = run("service", "install", "--yes", *words)

    assert done.returncode == 2
    assert "expected" in done.stderr
