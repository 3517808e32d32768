"""A path for a socket, claimed: nothing is there, or a socket of ours that nobody listens on; else it is untouched."""

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

from sadstream.base.errors import BusyError, UnavailableError

BESIDE = ("", ".replay", ".control")  # what a daemon binds for one endpoint
LOCK = ".lock"
CONNECT_S = 1.0


def claim(path: str) -> int:
    """The lock beside a socket's path, ours until it is closed; BusyError for what is not ours, UnavailableError.

    ZeroMQ itself replaces whatever lies there. Ours is a socket of this user's beside an empty lock file of this
    user's, which every daemon makes before its first socket and leaves behind.
    """
    lock = Path(path + LOCK)
    known = os.path.lexists(lock)
    places = [Path(path + end) for end in BESIDE]
    for place in () if known else places:
        if os.path.lexists(place):
            raise _taken(place, "there already, and no sadstream made it")
    held = _locked(path, lock)
    try:
        for place in places:
            expect_free(place)
    except BaseException:
        os.close(held)
        raise
    return held


def expect_free(path: Path) -> None:
    """BusyError unless nothing is there, or a socket of this user's that nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be bound: {error.strerror}; choose --publish") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise _taken(path, f"there already, {_kind(found.st_mode)}")
    if found.st_uid != os.geteuid():
        raise _taken(path, "a socket of another user")
    if _listens(path):
        raise _taken(path, "another program listens there")


def _taken(path: Path, what: str) -> BusyError:
    return BusyError(f"{path}: {what}: expected nothing or a socket that sadstream left; remove it or choose --publish")


def _kind(mode: int) -> str:
    kinds = (("a link", stat.S_ISLNK), ("a folder", stat.S_ISDIR), ("a pipe", stat.S_ISFIFO), ("a file", stat.S_ISREG))
    return next((name for name, is_one in kinds if is_one(mode)), "a device")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(CONNECT_S)
        try:
            knock.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:  # of another kind, or too busy to answer: somebody's
            return True
    return True


def _locked(path: str, lock: Path) -> int:
    try:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _taken(lock, "there already, no lock of ours") from None
        raise UnavailableError(
            f"ipc://{path}: cannot be bound: {error.strerror}; make its folder or choose --publish"
        ) from None
    found = os.fstat(held)
    if not stat.S_ISREG(found.st_mode) or found.st_size or found.st_uid != os.geteuid():
        os.close(held)
        raise _taken(lock, "there already, no lock of ours")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise BusyError(f"ipc://{path}: another sadstream publishes there; stop it or choose --publish") from None
    return held
