"""Which utterances train, validate and test: the manifest's own split, or one session left out at a time."""

from collections.abc import Sequence
from dataclasses import replace

from sadstream.errors import DataError
from train.manifest import Utterance

FIXED = "fixed"
SESSIONS = 5


def fold_names(loso: bool) -> tuple[str, ...]:
    """`fixed`, or `s1` to `s5` by the session that is tested."""
    return tuple(f"s{session}" for session in range(1, SESSIONS + 1)) if loso else (FIXED,)


def assign(rows: Sequence[Utterance], fold: str) -> tuple[Utterance, ...]:
    """The rows with the split of this fold.

    `s3` tests session 3, validates on the session before it (5 before 1) and trains on the other three, so that
    no speaker stands in two splits.
    """
    if fold == FIXED:
        return tuple(rows)
    if fold not in fold_names(loso=True):
        raise DataError(f"fold {fold!r}: expected {FIXED} or one of {', '.join(fold_names(loso=True))}")
    test = int(fold[1:])
    validation = test - 1 or SESSIONS
    if any(row.session == 0 for row in rows):
        raise DataError(f"fold {fold}: expected a corpus with sessions 1 to {SESSIONS}, such as iemocap")
    names = {test: "test", validation: "validation"}
    return tuple(replace(row, split=names.get(row.session, "train")) for row in rows)
