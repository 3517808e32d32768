"""IEMOCAP in its official layout: labels from EmoEvaluation, words from transcriptions, sound from sentences/wav."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sadstream.base.errors import DataError
from train.corpora.manifest import Utterance
from train.corpora.reading import FoundCorpus, is_appledouble, sound_problem

SESSIONS = range(1, 6)
SPLIT_OF_SESSION = {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}
LABEL_LINE = re.compile(
    r"\[([\d.]+) - ([\d.]+)\]\t(\S+)\t(\S+)\t\[(?:([\d.]+), *([\d.]+), *([\d.]+)\])?"  # valence, activation, dominance
)
MIDDLE, REACH = 3.0, 2.0  # of the raters' scale, 1 to 5
WORDS_LINE = re.compile(r"(\S+) \[([\d.]+)-([\d.]+)\]:\s?(.*)")
SOUND, LABELS, WORDS = ("sentences", "wav"), ("dialog", "EmoEvaluation"), ("dialog", "transcriptions")
PARTS = (SOUND, LABELS, WORDS)
DEPTH = 4  # folders that a release may be wrapped in
NAME = re.compile(r"Ses0([1-5])[FM]_(?:impro|script)\d\d\w*_([FM])\d{3}")


@dataclass(frozen=True, slots=True)
class _Label:
    start_s: float
    end_s: float
    label: str
    ratings: tuple[float | None, ...]  # valence, arousal, dominance, -1 to 1


def find_release(root: Path) -> Path:
    """The folder that holds Session1 to Session5: `root` or one of its folders; DataError if there is none."""
    folders = [root] if root.is_dir() else []
    for _ in range(DEPTH):
        for folder in folders:
            if any(inside(folder, f"Session{session}") for session in SESSIONS):
                return folder
        folders = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_dir()]
    raise DataError(f"{root}: not IEMOCAP: expected the release (Session1 to Session5) or the folder above it")


def inside(folder: Path, *names: str) -> Path | None:
    """What `folder` holds under these names one in another, in capitals or not; None if there is nothing.

    A copy by way of another system has `.WAV` and `DIALOG`; a zip may lie in a folder of its own name.
    """
    for name in names:
        found = _entries(folder).get(name.lower())
        if found is None:
            return None
        folder = found
    return folder


@lru_cache(maxsize=1024)
def _entries(folder: Path) -> dict[str, Path]:
    try:
        return {path.name.lower(): path for path in sorted(folder.iterdir()) if not is_appledouble(path)}
    except NotADirectoryError:
        return {}


def read(root: Path) -> FoundCorpus:
    """Every labelled utterance with its recording, and a line for each thing that is not as it should be."""
    release = find_release(root)
    rows: list[Utterance] = []
    problems: list[str] = []
    _entries.cache_clear()
    for session in SESSIONS:
        folder = inside(release, f"Session{session}")
        if folder is None:
            problems.append(f"{release / f'Session{session}'}: no such folder: expected five sessions")
            continue
        folder = inside(folder, folder.name) or folder
        missing = ["/".join(part) for part in PARTS if inside(folder, *part) is None]
        problems += [f"{folder / part}: no such folder: looked for it in capitals too" for part in missing]
        rows += _session(folder, session, problems)
    if not rows:
        parts = " and ".join("/".join(part) for part in PARTS[:2])
        first = f": {problems[0]}" if problems else ""
        raise DataError(f"{release}: no utterance in it: expected {parts} in each session{first}")
    return FoundCorpus(tuple(rows), tuple(problems))


def _session(folder: Path, session: int, problems: list[str]) -> Iterator[Utterance]:
    labels: dict[str, _Label] = {}
    words: dict[str, str] = {}
    for path in _texts(inside(folder, *LABELS)):
        for line in _lines(path, problems):
            if found := LABEL_LINE.match(line):
                labels[found[3]] = _Label(float(found[1]), float(found[2]), found[4], _ratings(found.groups()[4:]))
    for path in _texts(inside(folder, *WORDS)):
        for line in _lines(path, problems):
            if (found := WORDS_LINE.match(line)) and NAME.fullmatch(found[1]):
                words[found[1]] = found[4].strip()
    problems += [f"{name}: a transcript without a label; left out" for name in sorted(words.keys() - labels.keys())]
    for name, label in sorted(labels.items()):
        if row := _utterance(folder, session, name, label, words, problems):
            yield row


def _ratings(written: Sequence[str | None]) -> tuple[float | None, ...]:
    """The means of the raters on -1 to 1; a few are beyond their scale's end."""
    return tuple(None if one is None else max(-1.0, min(1.0, (float(one) - MIDDLE) / REACH)) for one in written)


def _utterance(
    folder: Path, session: int, name: str, label: _Label, words: dict[str, str], problems: list[str]
) -> Utterance | None:
    parts = NAME.fullmatch(name)
    dialogue = name.rpartition("_")[0]
    path = inside(folder, *SOUND, dialogue, f"{name}.wav") or folder.joinpath(*SOUND, dialogue, f"{name}.wav")
    trouble = None if parts else "not the name of an utterance: expected such as Ses01F_impro01_F000"
    if parts and int(parts[1]) != session:
        trouble = f"stands in {folder.name}: expected session {parts[1]}"
    trouble = trouble or sound_problem(path)
    if trouble or not parts:
        problems.append(f"{name}: {trouble}; left out")
        return None
    if name not in words:
        problems.append(f"{name}: a label without a transcript; kept without words")
    valence, arousal, dominance = label.ratings
    return Utterance(
        utterance=name,
        corpus="iemocap",
        session=session,
        speaker=f"Ses0{session}{parts[2]}",  # the letter before the number speaks, not the one after Ses01
        gender=parts[2],
        dialogue=dialogue,
        path=str(path.resolve()),
        start_s=label.start_s,
        end_s=max(label.start_s, label.end_s),
        label=label.label,
        sad=int(label.label == "sad"),
        transcript=words.get(name, ""),
        split=SPLIT_OF_SESSION[session],
        valence=valence,
        arousal=arousal,
        dominance=dominance,
    )


def _texts(folder: Path | None) -> list[Path]:
    """The dialogues' files; sub-folders such as Categorical hold single raters' opinions."""
    return [] if folder is None else [path for name, path in sorted(_entries(folder).items()) if name.endswith(".txt")]


def _lines(path: Path, problems: list[str]) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}; its utterances are left out")
        return []
