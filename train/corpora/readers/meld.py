"""MELD's text in its official layout: train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv."""

import csv
from pathlib import Path

from sadstream.base.errors import DataError
from train.corpora.manifest import Utterance
from train.corpora.reading import FoundCorpus, expect_files

FILES = {"train": "train_sent_emo.csv", "validation": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}


def read(root: Path) -> FoundCorpus:
    """Every line of dialogue; the speakers are the same in all parts, so each dialogue counts as a speaker."""
    expect_files(root, "MELD (train_sent_emo.csv and so on)", tuple(FILES.values()))
    rows, problems = [], []
    for split, name in FILES.items():
        path = root / name
        if not path.is_file():
            problems.append(f"{path}: not there; its part is left out")
            continue
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for number, line in enumerate(csv.DictReader(file), start=2):
                rows.append(_utterance(line, split, f"{path}: line {number}"))
    return FoundCorpus(tuple(rows), tuple(problems))


def _utterance(line: dict[str, str], split: str, where: str) -> Utterance:
    try:
        dialogue, turn, label, words = (line[k] for k in ("Dialogue_ID", "Utterance_ID", "Emotion", "Utterance"))
    except KeyError as error:
        raise DataError(f"{where}: no column {error}: expected MELD's") from None
    if None in (dialogue, turn, label, words):
        raise DataError(f"{where}: fewer columns than the first line names: expected MELD's")
    return Utterance(
        utterance=f"meld_{split}_{dialogue}_{turn}",
        corpus="meld-text",
        session=0,
        speaker=f"meld_{split}_{dialogue}",
        gender="",
        dialogue=f"meld_{split}_{dialogue}",
        path="",
        start_s=0.0,
        end_s=0.0,
        label=label,
        sad=int(label == "sadness"),
        transcript=words.replace("\x92", "'").strip(),
        split=split,
    )
