"""nEMO in its official layout: samples/ and data.tsv (file_id, emotion, raw_text, speaker_id, gender)."""

import csv
from pathlib import Path

from sadstream.base.errors import DataError
from sadstream.base.files import table_text
from train.corpora.manifest import Utterance
from train.corpora.reading import FoundCorpus, expect_files, length_s, sound_problem

LABELS = frozenset({"neutral", "sadness", "anger", "happiness", "fear", "surprised"})


def read(root: Path) -> FoundCorpus:
    """Every clip that data.tsv lists; the last speaker is for test, the two before for validation."""
    expect_files(root, "nEMO (samples/ and data.tsv)", ("data.tsv",))
    lines = list(csv.DictReader(table_text(root / "data.tsv"), delimiter="\t"))
    speakers = sorted({line.get("speaker_id") or "" for line in lines})
    rows, problems = [], []
    for number, line in enumerate(lines, start=2):
        try:
            name, label, speaker = line["file_id"], line["emotion"], line["speaker_id"]
            gender = (line.get("gender") or line.get("sex") or " ")[0].upper()
        except KeyError as error:
            raise DataError(f"{root / 'data.tsv'}: line {number}: no column {error}") from None
        if None in (name, label, speaker, gender):
            problems.append(f"line {number}: fewer columns than the first line names; left out")
            continue
        path = root / "samples" / name
        path = path if path.suffix else path.with_suffix(".wav")
        trouble = sound_problem(path) if label in LABELS else f"emotion {label!r}: expected {', '.join(sorted(LABELS))}"
        if trouble:
            problems.append(f"{name}: {trouble}; left out")
            continue
        rows.append(
            Utterance(
                utterance=Path(name).stem,
                corpus="nemo",
                session=0,
                speaker=f"nemo_{speaker}",
                gender=gender if gender in "FM" else "",
                dialogue="",
                path=str(path.resolve()),
                start_s=0.0,
                end_s=length_s(path),
                label=label,
                sad=int(label == "sadness"),
                transcript=line.get("raw_text") or "",
                split=_split(speakers.index(speaker), len(speakers)),
            )
        )
    return FoundCorpus(tuple(rows), tuple(problems))


def _split(index: int, speakers: int) -> str:
    return "test" if index == speakers - 1 else "validation" if index >= speakers - 3 else "train"
