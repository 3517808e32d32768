"""What is to be done: which recordings there are, where their scores go, and which of these are there already."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from sadstream.audio.decoding.container import FRAMES_BYTES, sniffed
from sadstream.base.boundary import from_system
from sadstream.base.errors import BusyError, MissingFileError, SadstreamError, UsageError
from sadstream.cluster.archive.score_file import SUFFIX, ScoreHead, read_head, run_of

# What is called so was meant to be a recording, even if nothing in it says so.
SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".w64", ".rf64", ".sph", ".voc", ".amr", ".m4a", ".aac", ".3gp", ".webm", ".wma", ".mka",
))  # fmt: skip
LONGEST_NAME = 255 - len(SUFFIX)  # bytes


@dataclass(frozen=True, slots=True)
class ArchivedRecording:
    """A recording: where it lies, what it is called in the archive, its bytes, the file that its scores go to."""

    path: Path
    file: str
    bytes: int
    target: Path


@dataclass(frozen=True, slots=True)
class FailedRecording:
    """A recording without scores, or whose scores end early: the exit code that it would cost alone, and why."""

    file: str
    code: int
    line: str


@dataclass(frozen=True, slots=True)
class FoundArchive:
    """What lies in some files and folders, in their order and in that of their names."""

    recordings: tuple[ArchivedRecording, ...]
    failed: tuple[FailedRecording, ...]
    others: int  # files that are no recordings


def find(paths: Sequence[Path], out: Path) -> FoundArchive:
    """All recordings in these files and folders, but for what lies in `out`.

    A file is one by its first bytes, or by its name; what begins with a dot is left alone. Raises UsageError where two
    recordings would have one file of scores.
    """
    found: dict[Path, ArchivedRecording] = {}
    failed: list[FailedRecording] = []
    others = 0
    for path in paths:
        files = _walk(path, out, failed) if path.is_dir() else [(path, path.name)]
        for one, file in files:
            if one != path and not _is_recording(one):
                others += 1
                continue
            try:
                if one.exists() and not one.is_file():
                    raise MissingFileError("no file: a pipe is scored without --out")
                made = ArchivedRecording(one, file, one.stat().st_size, out / f"{file}{SUFFIX}")
                _expect_name(made)
            except (OSError, SadstreamError) as error:
                failed.append(failure(file, from_system(error, one) or MissingFileError(str(error)), one))
                continue
            before = found.setdefault(made.target, made)
            if before.path != one and not before.path.samefile(one):
                raise UsageError(f"{made.target}: the scores of {before.path} and of {one}; give each an --out")
    return FoundArchive(tuple(found.values()), tuple(failed), others)


def failure(file: str, error: SadstreamError, path: Path) -> FailedRecording:
    """An error of this recording, without the path with which its line begins."""
    return FailedRecording(file, error.exit_code, str(error).removeprefix(f"{path}: "))


def standing(recording: ArchivedRecording, digest: str) -> ScoreHead | None:
    """The first line of its scores where they agree with whoever hears now, and with the recording; else None.

    A recording that was touched after it was scored is read again: only what it holds counts.
    """
    head = read_head(recording.target)
    if head is None or head.run != run_of(digest, head.sha256) or head.bytes != recording.bytes:
        return None
    try:
        found = recording.path.stat()
        if max(found.st_mtime_ns, found.st_ctime_ns) > recording.target.stat().st_mtime_ns:
            if sha256_of(recording.path) != head.sha256:
                return None
            os.utime(recording.target, ns=(found.st_ctime_ns, max(found.st_mtime_ns, found.st_ctime_ns)))
    except OSError:
        return None
    return head


def sha256_of(path: Path) -> str:
    """The SHA-256 of a whole file; OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def expect_ours(recordings: Sequence[ArchivedRecording]) -> None:
    """BusyError for a file in the place of scores that nobody made here."""
    for recording in recordings:
        if os.path.lexists(recording.target) and not _is_ours(recording.target):
            raise BusyError(
                f"--out {recording.target}: there already, made by something else; choose another, or add --force"
            )


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"type":"recording"' in file.read(8192)
    except OSError:
        return False


def _walk(folder: Path, out: Path, failed: list[FailedRecording]) -> Iterator[tuple[Path, str]]:
    """Every file below a folder with its name from there on, sorted; links are followed, each folder is read once."""
    found: list[tuple[Path, str]] = []
    seen: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        place = Path(error.filename)
        line = f"cannot be read: {error.strerror}; look at its permissions"
        failed.append(FailedRecording(place.relative_to(folder).as_posix(), 66, line))

    for name, folders, files in os.walk(folder, followlinks=True, onerror=refused):
        place = Path(name)
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen or (place != folder and out.exists() and place.samefile(out)):
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        found += [(place / one, (place / one).relative_to(folder).as_posix()) for one in files if one[0] != "."]
    yield from sorted(((path, file) for path, file in found if path.is_file()), key=lambda one: one[1].split("/"))


def _is_recording(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return sniffed(file.read(FRAMES_BYTES)) is not None
    except OSError:
        return False


def _expect_name(recording: ArchivedRecording) -> None:
    if len(os.fsencode(recording.path.name)) > LONGEST_NAME:
        raise UsageError(f"{recording.path}: a name of more than {LONGEST_NAME} bytes has no room for {SUFFIX}; rename")
