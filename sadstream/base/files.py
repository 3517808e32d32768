"""Files written whole or not at all, and never over what is somebody else's."""

import errno
import io
import os
import secrets
import stat
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sadstream.base.errors import BusyError, UnavailableError, UsageError

TABLE_BYTES = 1 << 30  # of a corpus's table
MARK_BYTES = 16_384  # of a file, in which its mark stands
SMALL_BYTES = 1 << 24  # of a file of settings, keys or measurements: a hundred times what any of ours has
PROBE_BYTES = 4096  # a page: a full disk has no room for it


def read_whole(path: Path, most: int = SMALL_BYTES) -> bytes:
    """What a file of text holds, without the mark (BOM) that some editors put before it; OSError as `contents`."""
    return contents(path, most)[0].removeprefix(BOM_UTF8)


def contents(path: Path, most: int = SMALL_BYTES) -> tuple[bytes, int]:
    """What a file holds and its permissions; OSError for what is no file, has no end or more than `most` bytes.

    A pipe would be waited for, and could not be read again; a device is read as far as it goes at once.
    """
    with open(path, "rb", opener=_at_once) as opened:
        mode = os.fstat(opened.fileno()).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
            raise OSError(errno.EINVAL, "expected a file, found a pipe", str(path))
        most = min(most, SMALL_BYTES) if stat.S_ISCHR(mode) else most
        content = opened.read(most + 1) or b""  # a device that has nothing yet gives None
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most} bytes", str(path))
    return content, stat.S_IMODE(mode)


def reason(error: Exception) -> str:
    """Why a file could not be read or was none, in few words."""
    return getattr(error, "strerror", None) or type(error).__name__


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)  # a pipe without a writer would wait


def write_atomic(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Put `content` under this name in one step, with these permissions less the umask; OSError leaves what was.

    A link stays one, and its target is replaced; a device (`/dev/null`) and a pipe are written to.
    """
    if path.exists() and _takes_bytes(path.stat().st_mode):
        with path.open("wb") as device:
            device.write(content)
        return
    with replacing(_target(path), mode) as file:
        file.write(content)


@contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file beside `target` to write to; in its place, on the disk, once the block ends well, else nothing changes."""
    temporary = _beside(target)
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk; OSError where its file system cannot say so."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def expect_place(
    option: str, path: Path, *, mark: bytes = b"", reads: Iterable[Path | None] = (), force: bool = False
) -> None:
    """Before the work: that a file can be written there, and that nothing is lost by it.

    mark: what a file that the same command made holds near its start; such a file is replaced, others with `force`.
    reads: inputs, which are never written over. Raises UsageError, BusyError (73) and UnavailableError.
    """
    try:
        found = path.stat() if path.exists() else None
        for source in reads:
            if found is not None and source is not None and source.exists() and source.samefile(path):
                raise UsageError(f"{option} {path}: is read from; expected another file")
        if found is not None and _takes_bytes(found.st_mode):
            return
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise BusyError(f"{option} {path}: there already, and no file; choose another")
        if found is not None and not force and not _is_marked(path, mark):
            raise BusyError(f"{option} {path}: there already, made by something else; choose another, or add --force")
        _probe(_target(path))
    except OSError as error:
        raise UnavailableError(
            f"{option} {path}: cannot be written: {error.strerror}; choose a place in a folder of yours"
        ) from None


def _target(path: Path) -> Path:
    """Where a link leads, or what is none; OSError for a loop of links, which `resolve` takes from Python 3.13 on."""
    if not path.is_symlink():
        return path
    with suppress(FileNotFoundError):
        path.stat()
    return path.resolve()


def make_folder(option: str, folder: Path) -> None:
    """The folder, made where there is none; BusyError for what is none, UnavailableError where none can be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BusyError(f"{option} {folder}: {error.filename} is no folder; choose another") from None
    except OSError as error:
        raise UnavailableError(f"{option} {folder}: cannot be made: {error.strerror}; choose another") from None


def expect_folder(option: str, folder: Path) -> None:
    """Before the work: that files can be written in this folder, or that it can be made; nothing is made yet.

    BusyError for what is no folder, UnavailableError where nothing can be written.
    """
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
        if not there.is_dir():
            raise BusyError(f"{option} {folder}: {there} is no folder; choose another")
        _probe(there / "probe")
    except OSError as error:
        raise UnavailableError(
            f"{option} {folder}: cannot be written: {error.strerror}; choose a place in a folder of yours"
        ) from None


def _probe(target: Path) -> None:
    temporary = _beside(target)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(bytes(PROBE_BYTES))
    finally:
        temporary.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    # Of no longer a name than the file may have itself.
    return target.with_name(f".sadstream-{secrets.token_hex(4)}")


def _takes_bytes(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _is_marked(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return bool(mark) and mark in file.read(MARK_BYTES)
    except OSError:
        return False


def table_text(path: Path, errors: str = "strict") -> io.StringIO:
    """A table's text for `csv`, with its line ends; OSError for what is no file or has no end, UnicodeDecodeError."""
    return io.StringIO(read_whole(path, TABLE_BYTES).decode(errors=errors), newline="")


def save_atomic(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Put `content` under this name in one step; a full disk leaves what was there before and says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content, mode)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "make room" if full else "choose another folder or its permissions"
        raise UnavailableError(
            f"{path}: cannot be written: {error.strerror}; {cure} and run the same command again, it goes on"
        ) from None
