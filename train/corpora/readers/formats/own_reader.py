"""A reader that somebody wrote for a corpus of their own: a Python file with `read(folder)`, run as it is."""

import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sadstream.base.errors import DataError, MissingFileError
from train.corpora.readers.formats.own_csv import Cells, UtteranceTable, utterances
from train.corpora.reading import FoundCorpus

SUFFIX = ".py"
FUNCTION, LICENCE = "read", "LICENCE"
KNOWN = (
    "path", "transcript", "speaker", "sad", "label", "utterance", "gender", "dialogue", "split", "duration_s",
    "from_s", "to_s", "valence", "arousal", "dominance",
)  # fmt: skip
EXPECTED = f"`def {FUNCTION}(folder)`, which yields a dict an utterance: {', '.join(KNOWN)}"


def reader_in(file: Path) -> Callable[[Path], FoundCorpus]:
    """The reader that a file holds: what it yields is read as the lines of a CSV file are, paths from the folder on.

    MissingFileError without the file; DataError with its line where it cannot be run, has no such function, raises, or
    yields something else. The file is a program, and does what it says.
    """
    if not file.is_file():
        raise MissingFileError(f"{file}: no such reader: expected a Python file with {EXPECTED}")
    try:
        found = runpy.run_path(str(file))
    except SyntaxError as error:
        raise DataError(f"{file}: line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise _raised(file, error) from None
    function, licence = found.get(FUNCTION), found.get(LICENCE)
    if not callable(function):
        raise DataError(f"{file}: line 1: no function {FUNCTION}: expected {EXPECTED}")

    def read(folder: Path) -> FoundCorpus:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder: expected the corpus that {file} reads")
        lines = tuple(enumerate(_yielded(file, function, folder), start=1))
        columns = frozenset(name for _, cells in lines for name in cells)
        note = f"licence of the data: {licence}" if licence else f"{file}: no {LICENCE}, so nobody says it of the data"
        table = UtteranceTable(file, lines, columns, (note,), "utterance", str(licence or ""))
        return utterances(table, f"own-{file.stem}")

    return read


def _yielded(file: Path, function: Callable[[Path], object], folder: Path) -> Iterator[Cells]:
    """What the function gives, as the cells of a table."""
    line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
    try:
        given = function(folder)
    except Exception as error:
        raise _raised(file, error) from None
    if not hasattr(given, "__iter__") or isinstance(given, str | Mapping):
        raise DataError(f"{file}: line {line}: {FUNCTION} gives {_shown(given)}: expected {EXPECTED}")
    each = iter(given)
    while True:
        try:
            one = next(each)
        except StopIteration:
            return
        except Exception as error:
            raise _raised(file, error) from None
        frame = getattr(each, "gi_frame", None)
        yield _cells(one, f"{file}: line {frame.f_lineno if frame else line}", folder)


def _cells(one: object, where: str, folder: Path) -> Cells:
    if not isinstance(one, Mapping):
        raise DataError(f"{where}: {FUNCTION} yields {_shown(one)}: expected {EXPECTED}")
    unknown = [key for key in one if key not in KNOWN]
    if unknown:
        raise DataError(f"{where}: {FUNCTION} yields {unknown[0]!r}: expected of {', '.join(KNOWN)}")
    cells = {}
    for key, value in one.items():
        if value is not None and not isinstance(value, str | int | float | Path):
            raise DataError(f"{where}: {key} is {_shown(value)}: expected text, a number or a path")
        cells[key] = "" if value is None else str(int(value) if isinstance(value, bool) else value).strip()
    if cells.get("path"):
        part = f"@{cells.get('from_s', '')}-{cells.get('to_s', '')}" if cells.get("from_s") or cells.get("to_s") else ""
        cells = {"utterance": cells["path"] + part} | cells | {"path": str(folder.resolve() / cells["path"])}
    return cells


def _shown(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


def _raised(file: Path, error: Exception) -> DataError:
    """What somebody's program raised, at the line of it that did."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    said = " ".join(str(error).split())
    return DataError(f"{file}: line {lines[-1] if lines else 1}: {type(error).__name__}{said and ': '}{said}")
