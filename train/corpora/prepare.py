"""The readers of corpora of recordings by name, and `prepare`."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sadstream.base.boundary import one_line
from sadstream.base.errors import DataError, UsageError
from train.corpora.counts import EXPECTED, differences
from train.corpora.counts import table as differences_table
from train.corpora.manifest import NAME, CorpusManifest, write, write_licence
from train.corpora.readers import cremad, goemotions, iemocap, meld, nemo, ravdess
from train.corpora.readers.formats import audformat, audio_folder, emobox
from train.corpora.readers.formats import own_csv as table
from train.corpora.readers.formats.own_reader import SUFFIX, reader_in
from train.corpora.reading import FoundCorpus, cut, reason_of

READERS: dict[str, Callable[[Path], FoundCorpus]] = {
    "iemocap": iemocap.read,
    "ravdess": ravdess.read,
    "nemo": nemo.read,
    "cremad": cremad.read,
    "meld-text": meld.read,
    "goemotions": goemotions.read,
    "csv": table.read,
    "audiofolder": audio_folder.read,
    "emobox": emobox.read,
    "audformat": audformat.read,
}

SEGMENTS = "segments"  # beside the manifest
SHOWN = 20  # lines about recordings and labels that cannot be used; a wrong folder would print thousands


@dataclass(frozen=True, slots=True)
class PreparedCorpus:
    """A manifest as written, and how many utterances of a user's own table are not in it."""

    manifest: CorpusManifest
    left_out: int


def read_corpus(corpus: str, folder: Path, label: str | None = None) -> FoundCorpus:
    """What stands in a corpus's folder; `label`: the column of a database's emotions."""
    reader = reader_in(Path(corpus)) if corpus.endswith(SUFFIX) else READERS.get(corpus)
    if reader is None:
        raise UsageError(f"corpus {corpus!r}: expected one of {', '.join(READERS)}, or a reader of your own, *{SUFFIX}")
    if label is not None and reader is not audformat.read:
        raise UsageError(f"--label {label}: {corpus} has one label an utterance: it is for audformat")
    try:
        reading = audformat.read(folder, label) if reader is audformat.read else reader(folder)
    except (OSError, UnicodeError, csv.Error) as error:
        where = getattr(error, "filename", None) or folder
        raise DataError(f"{where}: cannot be read: {reason_of(error)}") from None
    if not reading.rows:
        raise DataError(f"{folder}: no usable utterance of {corpus}{_some(reading.problems)}")
    return reading


def prepare(
    corpus: str,
    folder: Path,
    out: Path,
    allow_partial: bool,
    say: Callable[[str], None],
    label: str | None = None,
) -> PreparedCorpus:
    """Write OUT/manifest.csv; where counts are wrong no manifest but the table of differences, and DataError.

    What is a part of a longer recording is cut out, into OUT/segments.
    """
    reading = read_corpus(corpus, folder, label)
    for line in (*reading.notes, *reading.problems[:SHOWN]):
        say(one_line(line))
    if len(reading.problems) > SHOWN:
        say(f"{folder}: and {len(reading.problems) - SHOWN:,} more such lines")
    wrong = differences(corpus, reading.rows)
    if wrong:
        explained = f"{folder}: {len(wrong)} counts are not those of {corpus}"
        if not allow_partial:
            say(f"what differs\n{differences_table(wrong)}")
            raise DataError(f"{explained}; complete it, or use --allow-partial")
        say(f"{explained}\n{differences_table(wrong)}")
    manifest = write(out / NAME, cut(reading.rows, out / SEGMENTS) if reading.segments else reading.rows)
    write_licence(out / NAME, manifest.sha256, reading.licence)
    left_out = len(reading.problems) if corpus not in EXPECTED and not allow_partial else 0
    return PreparedCorpus(manifest, left_out)


def _some(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    more = f" (and {len(problems) - 1:,} more such lines)" if len(problems) > 1 else ""
    return f": {problems[0]}{more}"
