"""GoEmotions in its official layout: train.tsv, dev.tsv, test.tsv (text, numbers of emotions, comment)."""

import csv
from pathlib import Path

from sadstream.base.errors import DataError
from train.corpora.manifest import Utterance
from train.corpora.reading import FoundCorpus, expect_files

FILES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
EMOTIONS = [
    "admiration",
    "amusement",
    "anger",
    "annoyance",
    "approval",
    "caring",
    "confusion",
    "curiosity",
    "desire",
    "disappointment",
    "disapproval",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "gratitude",
    "grief",
    "joy",
    "love",
    "nervousness",
    "optimism",
    "pride",
    "realization",
    "relief",
    "remorse",
    "sadness",
    "surprise",
    "neutral",
]
SAD = frozenset({"sadness", "grief"})


def read(root: Path) -> FoundCorpus:
    """Every comment; sad is sadness or grief, alone or among others. Authors are unknown: each comment is its own."""
    folder = root / "data" if (root / "data").is_dir() else root
    expect_files(folder, "GoEmotions (train.tsv, dev.tsv, test.tsv)", tuple(FILES.values()))
    rows, problems = [], []
    for split, name in FILES.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: not there; its part is left out")
            continue
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
                rows.append(_utterance(line, split, f"{path}: line {number}"))
    return FoundCorpus(tuple(rows), tuple(problems))


def _utterance(line: list[str], split: str, where: str) -> Utterance:
    try:
        words, numbers, comment = line
        labels = [EMOTIONS[int(number)] for number in numbers.split(",")]
    except (ValueError, IndexError):
        raise DataError(f"{where}: expected a text, numbers from 0 to 27, and a comment's name") from None
    return Utterance(
        utterance=f"goemotions_{comment}",
        corpus="goemotions",
        session=0,
        speaker=f"goemotions_{comment}",
        gender="",
        dialogue="",
        path="",
        start_s=0.0,
        end_s=0.0,
        label="|".join(labels),
        sad=int(not SAD.isdisjoint(labels)),
        transcript=words,
        split=split,
    )
