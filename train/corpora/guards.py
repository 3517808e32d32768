"""What must hold before a number may be believed: disjoint splits, nothing fitted on test, predictions that fit."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

from sadstream.base.errors import DataError
from sadstream.scoring.fusion.header import Record
from train.corpora.manifest import SPLITS, Utterance

Protocol = Literal["strict", "thesis"]
SPLIT_CURE = (
    f"expected some in each of {', '.join(SPLITS)}; correct the column split, or leave it out and `prepare csv` deals "
    "the speakers out"
)


class LeakError(DataError):
    """Something of the test set, or of its speakers, reached what it must not reach."""


class FitRecord(Record):
    """Something that was learned or chosen, and the hash of the utterances that it saw."""

    what: str
    split: Literal["train", "validation", "test"]
    utterances_sha256: str


def names_hash(names: Iterable[str]) -> str:
    """SHA-256 over sorted names of utterances."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def fitted(what: str, split: Literal["train", "validation", "test"], rows: Iterable[Utterance]) -> FitRecord:
    """The record that `what` saw these rows and no others."""
    return FitRecord(what=what, split=split, utterances_sha256=names_hash(row.utterance for row in rows))


def by_split(rows: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """The rows of each split."""
    parts: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for row in rows:
        parts[row.split].append(row)
    return parts


def check_splits(rows: Sequence[Utterance], where: str = "manifest") -> None:
    """Raise unless the splits share no utterance, speaker, dialogue or recording, and each has both classes."""
    parts = by_split(rows)
    there = ", ".join(f"{split} {len(part):,}" for split, part in parts.items())
    for split, part in parts.items():
        if not part:
            raise DataError(f"{where}: split {split}: no utterance ({there}): {SPLIT_CURE}")
        positives = sum(row.sad for row in part)
        if positives in (0, len(part)):
            raise DataError(
                f"{where}: split {split}: {positives} of {len(part)} utterances are sad: expected both classes in each "
                f"of {', '.join(SPLITS)}"
            )
    for row in rows:
        _check_names(row)
    for column in ("utterance", "speaker", "dialogue", "path"):
        _check_disjoint(parts, column)


def _check_names(row: Utterance) -> None:
    """IEMOCAP's names say session and speaker: a loader that takes Ses01F for the speaker halves the speakers."""
    if row.corpus != "iemocap":
        return
    letter = row.utterance.rpartition("_")[2][:1]
    speaker = f"{row.utterance[:5]}{letter}"
    found = (row.speaker, row.gender, row.session, row.sad)
    expected = (speaker, letter, int(row.utterance[4]), int(row.label == "sad"))
    if found != expected:
        raise LeakError(f"{row.utterance}: speaker, gender, session, sad = {found}: expected {expected}")


def _check_disjoint(parts: dict[str, list[Utterance]], column: str) -> None:
    seen: dict[str, str] = {}
    for split, part in parts.items():
        for value in {getattr(row, column) for row in part} - {""}:
            if value in seen:
                raise LeakError(f"{column} {value} stands in {seen[value]} and in {split}: expected no common {column}")
            seen[value] = split


def check_contents(rows: Sequence[Utterance], digests: Sequence[str]) -> None:
    """Raise when the same sound stands in two splits under two names; `digests` has one a row, empty for text."""
    seen: dict[str, Utterance] = {}
    for row, digest in zip(rows, digests, strict=True):
        other = seen.setdefault(digest, row) if digest else row
        if other.split != row.split:
            raise LeakError(
                f"{row.utterance} ({row.split}) is the same recording as {other.utterance} ({other.split}): "
                "expected no recording in two splits"
            )


def check_drawn(rows: Sequence[Utterance], drawn: Iterable[int]) -> None:
    """Raise unless every row drawn for training, oversampled ones too, is a training row."""
    for index in set(drawn):
        if rows[index].split != "train":
            raise LeakError(f"{rows[index].utterance} is drawn for training but stands in {rows[index].split}")


def check_fitted(protocol: Protocol, records: Sequence[FitRecord], rows: Sequence[Utterance]) -> None:
    """Raise unless all that was fitted saw exactly the split that its protocol allows.

    `strict` allows train and validation; `thesis`, which is labelled optimistic, chooses epoch and threshold on test.
    """
    parts = by_split(rows)
    for record in records:
        if record.utterances_sha256 != names_hash(row.utterance for row in parts[record.split]):
            raise LeakError(f"{record.what}: says that it saw {record.split}, but saw other utterances")
        if record.split == "test" and (protocol == "strict" or record.what not in ("epoch", "threshold")):
            raise LeakError(f"{record.what}: fitted on test: expected train or validation under {protocol}")
    missing = {"weights", "epoch", "threshold"} - {record.what for record in records}
    if missing:
        raise LeakError(f"{', '.join(sorted(missing))}: nothing says on what it was fitted")


def check_manifest(expected_sha256: str, found_sha256: str, where: str) -> None:
    """Raise when a run is read against another manifest than it was trained on."""
    if expected_sha256 != found_sha256:
        raise LeakError(
            f"{where}: made from manifest {expected_sha256[:12]}, found {found_sha256[:12]}; delete that folder, or "
            "choose another --out, and fit again"
        )


def check_predictions(rows: Sequence[Utterance], names: Sequence[str], labels: Sequence[int], where: str) -> None:
    """Raise unless the predictions are exactly one for each of these rows, with its label."""
    if len(set(names)) < len(names):
        raise LeakError(f"{where}: an utterance is predicted twice")
    expected = {row.utterance: row.sad for row in rows}
    if set(names) != set(expected):
        wrong = sorted(set(names) ^ set(expected))
        raise LeakError(f"{where}: {len(wrong)} utterances missing or foreign, such as {wrong[0]}")
    for name, label in zip(names, labels, strict=True):
        if expected[name] != label:
            raise LeakError(f"{where}: {name} is labelled {label}: expected {expected[name]}")
