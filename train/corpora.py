"""The readers of corpora of recordings by name, and `prepare`."""

from collections.abc import Callable
from pathlib import Path

from sadstream.errors import DataError, UsageError
from train import cremad, goemotions, iemocap, meld, nemo, ravdess, table
from train.counts import differences
from train.counts import table as differences_table
from train.manifest import NAME, Manifest, write
from train.reading import Reading

READERS: dict[str, Callable[[Path], Reading]] = {
    "iemocap": iemocap.read,
    "ravdess": ravdess.read,
    "nemo": nemo.read,
    "cremad": cremad.read,
    "meld-text": meld.read,
    "goemotions": goemotions.read,
    "csv": table.read,
}


def read_corpus(corpus: str, folder: Path) -> Reading:
    """What stands in a corpus's folder."""
    if corpus not in READERS:
        raise UsageError(f"corpus {corpus!r}: expected one of {', '.join(READERS)}")
    reading = READERS[corpus](folder)
    if not reading.rows:
        first = f": {reading.problems[0]}" if reading.problems else ""
        raise DataError(f"{folder}: no usable utterance of {corpus}{first}")
    return reading


def prepare(corpus: str, folder: Path, out: Path, allow_partial: bool, say: Callable[[str], None]) -> Manifest:
    """Write OUT/manifest.csv; DataError with the table of differences, and no manifest, when counts are wrong."""
    reading = read_corpus(corpus, folder)
    for problem in reading.problems:
        say(problem)
    wrong = differences(corpus, reading.rows)
    if wrong:
        explained = f"{folder}: {len(wrong)} counts are not those of {corpus}"
        if not allow_partial:
            raise DataError(f"{explained}; complete it, or use --allow-partial\n{differences_table(wrong)}")
        say(f"{explained}\n{differences_table(wrong)}")
    return write(out / NAME, reading.rows)
