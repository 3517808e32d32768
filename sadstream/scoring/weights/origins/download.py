"""One file from one address, continued where an earlier attempt stopped, and checked."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from sadstream.base.errors import UnavailableError

CHUNK_BYTES = 1 << 20
# A machine without the hubs must go on within seconds; a hub that is there answers in far less.
HUB_TIMEOUT_S = 5.0
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416


def download(
    url: str,
    path: Path,
    sha256: str,
    progress: Callable[[int, int | None], None],
    timeout_s: float = HUB_TIMEOUT_S,
) -> None:
    """The file at this address, continued where an earlier attempt stopped.

    Tried again as long as each attempt brings bytes. UnavailableError if it is not there or not that file.
    """
    if path.is_file() and file_sha256(path) == sha256:
        return
    partial = path.with_name(path.name + ".part")
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            complete = _continue(url, partial, before, progress, timeout_s)
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            if not partial.exists() or partial.stat().st_size <= before:
                raise UnavailableError(reason(str(error) or type(error).__name__)) from None
            complete = False
        if complete:
            break
        if (have := partial.stat().st_size) <= before:
            raise UnavailableError(f"the connection ends after {have} bytes; the next fetch goes on from there")
    found = file_sha256(partial)
    if found != sha256:
        partial.unlink()
        raise UnavailableError(f"SHA-256 {found}, expected {sha256}")
    partial.rename(path)


def _continue(
    url: str, partial: Path, have: int, progress: Callable[[int, int | None], None], timeout_s: float
) -> bool:
    """Appends what is missing; true if all that was announced is there."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    # Addresses come from openai-whisper's own table, never from a user.
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == RANGE_NOT_SATISFIABLE:
            return True
        raise
    with response:
        resumed = response.status == PARTIAL_CONTENT
        done = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with partial.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    return total is None or done >= total


def file_sha256(path: Path) -> str:
    """A file's SHA-256, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(text: str) -> str:
    """The first sentence of a library's complaint, short enough to stand in a line."""
    return text.strip().splitlines()[0].removeprefix("ERROR: ").rstrip(".")[:160]
