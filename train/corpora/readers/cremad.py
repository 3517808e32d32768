"""CREMA-D in its official layout: AudioWAV/1001_DFA_SAD_XX.wav and VideoDemographics.csv."""

import csv
from pathlib import Path

from train.corpora.manifest import Utterance
from train.corpora.reading import FoundCorpus, expect_files, is_appledouble, length_s, sound_problem

LABELS = frozenset({"ANG", "DIS", "FEA", "HAP", "NEU", "SAD"})
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}


def read(root: Path) -> FoundCorpus:
    """Every clip; of ten actors by number seven train, one validates, two test."""
    expect_files(root, "CREMA-D (AudioWAV/ and VideoDemographics.csv)", ("AudioWAV",))
    genders = _genders(root / "VideoDemographics.csv")
    rows, problems = [], []
    for path in sorted(p for p in (root / "AudioWAV").glob("*.wav") if not is_appledouble(p)):
        fields = path.stem.split("_")
        if len(fields) != 4 or fields[1] not in SENTENCES or fields[2] not in LABELS or not fields[0].isdigit():
            problems.append(f"{path}: not a CREMA-D name: expected such as 1001_DFA_SAD_XX; left out")
        elif trouble := sound_problem(path):
            problems.append(f"{path.stem}: {trouble}; left out")
        else:
            rows.append(_utterance(path, fields, genders))
    return FoundCorpus(tuple(rows), tuple(problems))


def _utterance(path: Path, fields: list[str], genders: dict[str, str]) -> Utterance:
    actor, sentence, label, _ = fields
    last = int(actor) % 10
    return Utterance(
        utterance=path.stem,
        corpus="cremad",
        session=0,
        speaker=f"cremad_{actor}",
        gender=genders.get(actor, ""),
        dialogue="",
        path=str(path.resolve()),
        start_s=0.0,
        end_s=length_s(path),
        label=label,
        sad=int(label == "SAD"),
        transcript=SENTENCES[sentence],
        split="train" if last < 7 else "validation" if last == 7 else "test",
    )


def _genders(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {line.get("ActorID") or "": (line.get("Sex") or "")[:1].upper() for line in csv.DictReader(file)}
