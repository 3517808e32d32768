"""What the system is asked to do: one command after the other, and what it refuses in one line."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from sadstream.base.errors import UnavailableError
from sadstream.daemon.supervision.installation.layout import InstallLayout

Run = Callable[[Sequence[str]], None]
# Who says little beside what was refused: of these the refusal is shown as one line.
TERSE = ("groupadd", "groupdel", "systemctl", "useradd", "userdel", "usermod")


def system(command: Sequence[str]) -> None:
    """Run a command; UnavailableError names the one that failed, and what it said."""
    terse = command[0] in TERSE
    try:
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE if terse else None, text=True)
    except OSError as error:
        what = error.strerror or type(error).__name__
    else:
        if done.returncode == 0:
            return
        said = " ".join((done.stderr or "").split())
        what = f"exit code {done.returncode}{f', {said}' if said else ''}"
    raise UnavailableError(f"service: `{' '.join(command)}` failed: {what}; mend that and try again")


def systemctl(where: InstallLayout, run: Run, *commands: list[str]) -> None:
    if not Path("/run/systemd/system").is_dir():
        print(f"systemd does not run here: {'; '.join('systemctl ' + ' '.join(c) for c in commands)} left out")
        return
    for command in commands:
        run(["systemctl", *(["--user"] if where.user else []), *command])
