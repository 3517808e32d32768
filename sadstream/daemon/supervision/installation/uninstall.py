"""`sadstream service uninstall`: all that an installation made goes; what is somebody's own is asked about."""

import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sadstream.base.errors import UnavailableError
from sadstream.daemon.supervision.installation.accounts import MADE, NAME, Accounts
from sadstream.daemon.supervision.installation.command import Run, systemctl
from sadstream.daemon.supervision.installation.layout import (
    ALL,
    CONFIG_NAME,
    DOOR_KEY,
    LOOKS,
    PASSWORD,
    ROOMS,
    TOKEN,
    Ask,
    InstallLayout,
)
from sadstream.daemon.supervision.pause_file import PauseFile


def uninstall(where: InstallLayout, run: Run, yes: bool = False, ask: Ask = input) -> None:
    """Remove all that `install` made, however far it got: units, environment, models, configuration, accounts.

    yes: also what somebody else put there (scores, voices, configurations); else they are asked about, and kept.
    What a tool of the system refuses is said and the rest done; UnavailableError at the end, and it can be repeated.
    """
    kept = _to_keep(where, yes, ask)
    refused: list[str] = []

    def tried(command: Sequence[str]) -> None:
        try:
            run(command)
        except UnavailableError as error:
            refused.append(str(error))
            print(f"sadstream: {error}", file=sys.stderr)

    systemctl(where, tried, ["stop", *ALL], ["reset-failed", *ALL])
    for path in list(_unit_traces(where)):
        remove(path)
    systemctl(where, tried, ["daemon-reload"])
    PauseFile(where.endpoint).set(False)  # a user's own is kept where the runs by hand keep theirs
    if not where.user and not kept:  # what is kept is theirs, and a number without a name may be anybody's next
        Accounts(where.state).remove(tried)
    if where.on_path.is_symlink() and where.on_path.readlink() == where.program:
        remove(where.on_path)
    made = where.state / MADE  # which says what is still to be removed
    for folder in (where.environment, where.before, where.configuration, where.state):
        remove(folder, {*kept, made} if refused or kept else set())
    if refused:
        raise UnavailableError(f"service uninstall: {len(refused)} step(s) refused, see above; mend that and try again")
    if kept:
        accounts = "" if where.user else f"; so are user and group {NAME}"
        print(f"kept: {', '.join(map(str, kept))}{accounts}. `service uninstall --yes` removes them too")
        return
    left = [str(folder) for folder in (where.environment, where.state, where.configuration) if folder.exists()]
    if left:
        raise UnavailableError(f"service uninstall: could not remove {', '.join(left)}; remove it by hand")


def _to_keep(where: InstallLayout, yes: bool, ask: Ask) -> list[Path]:
    """What lies there and is not the installation's, unless somebody says that it may go."""
    found = _strangers(where)
    for path in found:
        print(f"{path}: not made by the installation{'; removed with it' if yes else ''}")
    if yes or not found:
        return []
    with suppress(EOFError):  # a script without an input
        if ask("Remove what is listed too? Type yes, or Enter to keep it: ").strip().lower() == "yes":
            return []
    return found


def _unit_traces(where: InstallLayout) -> Iterator[Path]:
    """Units, links that start them, and what was laid over them (`systemctl edit`, `mask`, `set-property`)."""
    control = [folder.with_name(f"{folder.name}.control") for folder in (where.units, where.runtime_units)]
    for folder in (where.units, where.runtime_units, *control):
        # With a wildcard each: of a name without one Python 3.11 finds no link whose unit is gone.
        for pattern in ALL:
            for within in ("", "*.wants/", "*.requires/"):
                yield from folder.glob(f"{within}{pattern}")
            yield from folder.glob(f"{pattern}.d")


def _strangers(where: InstallLayout) -> list[Path]:
    """What lies among the installation's files and is not of it: a journal of scores, voices, configurations."""
    ours = {where.environment, where.models, where.checkpoints, where.state / "pause", where.state / MADE}
    ours |= {where.configuration / name for name in (CONFIG_NAME, TOKEN, PASSWORD, LOOKS, DOOR_KEY, ROOMS)}
    folders = [folder for folder in (where.state, where.configuration) if folder.is_dir()]
    found = (path for folder in folders for path in folder.iterdir() if path not in ours)
    return sorted(path for path in found if not path.is_dir() or any(path.iterdir()))


def remove(path: Path, but: Collection[Path] = ()) -> None:
    """A file, a link or a folder with all that is in it but these; what resists is found afterwards."""
    if path in but:
        return
    if any(path in one.parents for one in but):
        for inside in path.iterdir() if path.is_dir() else ():
            remove(inside, but)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
