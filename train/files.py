"""Files written whole or not at all."""

import errno
import io
from collections.abc import Sequence
from pathlib import Path

from sadstream import whole
from sadstream.errors import DataError, UnavailableError

TABLE_BYTES = 1 << 30  # of a corpus's table


def table_text(path: Path, errors: str = "strict") -> io.StringIO:
    """A table's text for `csv`, with its line ends; OSError for what is no file or has no end, UnicodeDecodeError."""
    return io.StringIO(whole.read_whole(path, TABLE_BYTES).decode(errors=errors), newline="")


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` under this name in one step; a full disk leaves what was there before and says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_whole(path, content)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "make room" if full else "choose another folder or its permissions"
        raise UnavailableError(
            f"{path}: cannot be written: {error.strerror}; {cure} and run the same command again, it goes on"
        ) from None


def expect_files(root: Path, what: str, names: Sequence[str]) -> None:
    """DataError unless `root` is a folder that holds at least one of these (glob patterns)."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: expected {what}")
    if not any(next(root.glob(name), None) for name in names):
        raise DataError(f"{root}: not {what}: expected {' or '.join(names)} in it")


def is_appledouble(path: Path) -> bool:
    """A Mac's resource fork, which travels beside the real file as `._name`."""
    return path.name.startswith("._")
