"""RAVDESS in its official layout: Actor_NN/MM-CC-EE-II-SS-RR-AA.wav, speech only."""

from pathlib import Path

from train.corpora.manifest import Utterance
from train.corpora.reading import FoundCorpus, expect_files, is_appledouble, length_s, sound_problem

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SENTENCES = ("Kids are talking by the door.", "Dogs are sitting by the door.")
VALIDATION, TEST = range(16, 19), range(19, 25)  # actors


def read(root: Path) -> FoundCorpus:
    """The spoken clips (audio only) of all actors; the split is by actor."""
    expect_files(root, "RAVDESS (Actor_01 to Actor_24)", ("Actor_*",))
    rows, problems = [], []
    for path in sorted(p for p in root.glob("Actor_*/*") if p.suffix in (".wav", ".flac") and not is_appledouble(p)):
        fields = path.stem.split("-")
        if len(fields) != 7 or not all(field.isdigit() for field in fields):
            problems.append(f"{path}: not a RAVDESS name: expected such as 03-01-04-01-01-01-01; left out")
            continue
        modality, channel, emotion, _, sentence, _, actor = map(int, fields)
        if (modality, channel) != (3, 1):
            continue  # song, or video
        if not (1 <= emotion <= len(LABELS) and 1 <= sentence <= len(SENTENCES) and actor):
            problems.append(f"{path}: emotion {emotion}, sentence {sentence}: expected 1 to 8, 1 or 2; left out")
        elif trouble := sound_problem(path):
            problems.append(f"{path.stem}: {trouble}; left out")
        else:
            rows.append(_utterance(path, LABELS[emotion - 1], SENTENCES[sentence - 1], actor))
    return FoundCorpus(tuple(rows), tuple(problems))


def _utterance(path: Path, label: str, sentence: str, actor: int) -> Utterance:
    return Utterance(
        utterance=path.stem,
        corpus="ravdess",
        session=0,
        speaker=f"ravdess_{actor:02d}",
        gender="MF"[actor % 2 == 0],
        dialogue="",
        path=str(path.resolve()),
        start_s=0.0,
        end_s=length_s(path),
        label=label,
        sad=int(label == "sad"),
        transcript=sentence,
        split="validation" if actor in VALIDATION else "test" if actor in TEST else "train",
    )
