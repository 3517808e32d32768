"""The user and the group of the system's service: made where they are missing, removed where they were made."""

import grp
import pwd
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sadstream.daemon.supervision.installation.command import Run

NAME = "sadstream"
MADE = ".accounts"  # in the service's state: which of the two the installation made
USER, GROUP = "user", "group"


@dataclass(frozen=True, slots=True)
class Accounts:
    """`sadstream`, user and group, of a service whose state lies in this folder."""

    state: Path
    passwd: Callable[[str], object] = pwd.getpwnam
    groups: Callable[[str], object] = grp.getgrnam

    def make(self, run: Run) -> None:
        """Both, where they are missing; one that is there is taken, and said."""
        made = self.made()
        commands = {
            GROUP: ["groupadd", "--system", NAME],
            USER: ["useradd", "--system", "--gid", NAME, "--no-create-home", "--shell", "/usr/sbin/nologin", NAME],
        }
        for kind, command in commands.items():
            if self._exists(kind):
                if kind not in made:
                    print(f"{kind} {NAME}: there already; the service takes it, and an uninstallation leaves it")
                continue
            # Written first: an installation that breaks off here can be undone.
            made = [*made, kind]
            (self.state / MADE).write_text("".join(f"{name}\n" for name in made), encoding="utf-8")
            run(command)

    def remove(self, run: Run) -> None:
        """Those that the installation made; one that was there before it is left, and said."""
        made = self.made()
        if USER in made and self._exists(USER):
            if GROUP not in made:  # userdel takes the group of the same name along
                run(["usermod", "--gid", "nogroup", NAME])
            run(["userdel", NAME])
        if GROUP in made and self._exists(GROUP):
            run(["groupdel", NAME])
        for kind in (USER, GROUP):
            if kind not in made and self._exists(kind):
                print(f"{kind} {NAME}: left, since no installation made it; `{kind}del {NAME}` removes it")

    def made(self) -> list[str]:
        """What an installation made, as it wrote it down."""
        with suppress(OSError):
            return (self.state / MADE).read_text(encoding="utf-8").split()
        return []

    def _exists(self, kind: str) -> bool:
        with suppress(KeyError):
            (self.passwd if kind == USER else self.groups)(NAME)
            return True
        return False
