"""A pause that outlives the daemon: an empty file in its state folder, one an endpoint, until somebody resumes."""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from sadstream.base import logs
from sadstream.base.files import sync_folder

log = logging.getLogger("sadstream")

FOLDER = "pause"
LONGEST_NAME = 240  # bytes; file systems take 255


class PauseFile:
    """Whether the daemon of an endpoint is to stay silent.

    A file that is there is a pause, whatever it holds: an empty one can be made on most disks that are full. What
    cannot be read is a pause too, since nobody knows better.
    """

    def __init__(self, endpoint: str, folder: Path | None = None) -> None:
        if endpoint.startswith("ipc://") and not endpoint.startswith("ipc://@"):
            endpoint = f"ipc://{Path(endpoint.removeprefix('ipc://')).absolute()}"
        self.path = (folder or state_folder()) / quote(endpoint, safe="")[-LONGEST_NAME:]
        self.fault = ""  # why the last answer or change is not what it should be
        self.notes: tuple[str, ...] = ()  # for whoever asks how the daemon is

    def is_on(self) -> bool:
        """A pause is in force."""
        self.fault = ""
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            # A folder that was never to be reached, as a sandbox hides a home, holds no pause of ours.
            hidden = not os.path.lexists(self.path.parent)
            self.fault = "" if hidden else f"{self.path}: cannot be read ({error.strerror}), so it counts as a pause"
            return not hidden
        return True

    def found(self, endpoint: str) -> bool:
        """Somebody paused the daemon before this start, and nobody has resumed it since; `notes` tell of it."""
        if not self.is_on():
            return False
        why = self.fault or f"paused {f'since {since}' if (since := self.since()) else 'before this start'}"
        self.notes = (f"{why}; `sadstream resume {endpoint}` lets it listen",)
        log.warning("%s", self.notes[0], extra=logs.CHANGE)
        return True

    def since(self) -> str:
        """When it began, as a local time; empty where nobody knows."""
        with suppress(OSError):
            return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.path.lstat().st_mtime))
        return ""

    def set(self, on: bool) -> bool:
        """Keep or end it for the starts to come; False, with `fault`, where that cannot be."""
        self.fault = ""
        try:
            if on:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            else:
                self.path.unlink(missing_ok=True)
            self._settle()
        except NotADirectoryError as error:
            self.fault = f"{self.path}: {error.strerror}" if on else ""
        except OSError as error:
            self.fault = f"{self.path}: {error.strerror}"
        return not self.fault

    def keep(self, on: bool) -> None:
        """Let a pause hold over crash and restart, or end there too; `notes` tell what came of it."""
        if self.set(on):
            self.notes = ("paused until `sadstream resume`, over restarts too",) if on else ()
            return
        end = "so the pause ends with this run" if on else "so the next start is paused again"
        self.notes = (f"{self.fault}, {end}; make the folder writable and say it again",)
        log.error("%s", self.notes[0], extra=logs.CHANGE)

    def _settle(self) -> None:
        """Let the folder reach the disk: the power may go next."""
        with suppress(OSError):  # some file systems cannot say so, and the file is there
            sync_folder(self.path.parent)


def state_folder() -> Path:
    """Where pauses are kept: the unit's folder of that name (or its first), else the user's own state."""
    given = [Path(path) for path in os.environ.get("STATE_DIRECTORY", "").split(":") if path]
    if given:
        return next((path for path in given if path.name == FOLDER), given[0] / FOLDER)
    from platformdirs import user_state_path

    return user_state_path("sadstream") / FOLDER
