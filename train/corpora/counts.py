"""What each known corpus must count; a loader that loses or relabels utterances shows here."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sadstream.base.errors import DataError
from train.corpora.manifest import Utterance


@dataclass(frozen=True, slots=True)
class CountDifference:
    """A count that is not the corpus's."""

    what: str
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected:,}, found {self.found:,}"


def _labels(text: str) -> dict[str, int]:
    pairs = (item.rsplit(" ", 1) for item in text.split(", "))
    return {f"label {name}": int(number) for name, number in pairs}


def _per(prefix: str, numbers: Iterable[int], start: int = 1) -> dict[str, int]:
    return {f"{prefix} {name}": number for name, number in enumerate(numbers, start)}


EXPECTED: dict[str, dict[str, int]] = {
    "iemocap": {
        "utterances": 10_039,
        **_labels("xxx 2507, fru 1849, neu 1708, ang 1103, sad 1084, exc 1041, hap 595, sur 107, fea 40, oth 3, dis 2"),
        **_per("session", (1819, 1811, 2136, 2103, 2170)),
        **_per("sad in session", (194, 197, 305, 143, 245)),
        "improvised": 4784,
        "scripted": 5255,
        "spoken by M": 5098,
        "spoken by F": 4941,
        "sad": 1084,
        "speakers": 10,
    },
    "ravdess": {
        "utterances": 1440,
        **_labels("neutral 96, calm 192, happy 192, sad 192, angry 192, fearful 192, disgust 192, surprised 192"),
        "spoken by M": 720,
        "spoken by F": 720,
        "sad": 192,
        "speakers": 24,
    },
    "nemo": {
        "utterances": 4481,
        **_labels("neutral 809, sadness 769, anger 749, happiness 749, fear 736, surprised 669"),
        "spoken by M": 2412,
        "spoken by F": 2069,
        "sad": 769,
        "speakers": 9,
    },
    "cremad": {
        "utterances": 7442,
        **_labels("ANG 1271, DIS 1271, FEA 1271, HAP 1271, NEU 1087, SAD 1271"),
        "sad": 1271,
        "speakers": 91,
    },
    "meld-text": {
        "utterances": 13_708,
        "split train": 9989,
        "split validation": 1109,
        "split test": 2610,
        "sad in train": 683,
        "sad in validation": 111,
    },
    "goemotions": {
        "utterances": 54_263,
        "split train": 43_410,
        "split validation": 5426,
        "split test": 5427,
        "sad in train": 1381,
        "sad in validation": 153,
    },
}


def tally(rows: Sequence[Utterance]) -> Counter[str]:
    """Every count that EXPECTED can name."""
    counted = Counter[str](utterances=len(rows), speakers=len({row.speaker for row in rows}))
    for row in rows:
        counted[f"label {row.label}"] += 1
        counted[f"split {row.split}"] += 1
        counted[f"spoken by {row.gender}"] += 1
        counted["sad"] += row.sad
        counted[f"sad in {row.split}"] += row.sad
        if row.session:
            counted[f"session {row.session}"] += 1
            counted[f"sad in session {row.session}"] += row.sad
            counted["improvised" if "impro" in row.dialogue else "scripted"] += 1
    return counted


def differences(corpus: str, rows: Sequence[Utterance]) -> tuple[CountDifference, ...]:
    """What does not count as the corpus must; labels that the corpus does not have are named as expected 0."""
    expected = EXPECTED.get(corpus)
    if expected is None:
        return ()
    found = tally(rows)
    wrong = [CountDifference(what, count, found[what]) for what, count in expected.items() if found[what] != count]
    if any(what.startswith("label ") for what in expected):
        unknown = sorted(what for what in found if what.startswith("label ") and what not in expected)
        wrong += [CountDifference(f"{what} (unknown)", 0, found[what]) for what in unknown]
    return tuple(wrong)


def table(wrong: Sequence[CountDifference]) -> str:
    """The differences as lines of equal columns."""
    rows = [("count", "expected", "found"), *((d.what, f"{d.expected:,}", f"{d.found:,}") for d in wrong)]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{what:<{width}}  {expected:>8}  {found:>8}" for what, expected, found in rows)


def partial_note(corpus: str, rows: Sequence[Utterance]) -> str:
    """The sentence that every table of a partial corpus repeats; nothing for a whole one."""
    wrong = differences(corpus, rows)
    if not wrong:
        return ""
    total = EXPECTED[corpus]["utterances"]
    return f"PARTIAL CORPUS: {len(rows):,} of {total:,} utterances of {corpus}, {len(wrong)} counts differ."


def require_whole(corpus: str, rows: Sequence[Utterance], allow_partial: bool) -> None:
    """DataError with the table of differences unless the counts are the corpus's or it may be partial."""
    wrong = differences(corpus, rows)
    if wrong and not allow_partial:
        raise DataError(
            f"{corpus}: {len(wrong)} counts are not the corpus's; complete it, or use --allow-partial\n{table(wrong)}"
        )
