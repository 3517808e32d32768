"""Do the words before a fragment help to tell whether it is sad? MELD's dialogues, the shipped text part's regression.

    python bench/context.py --data DIR     # DIR/text/meld.csv.gz, DIR/english/manifest.csv

A line's fragment is what the daemon hears in three seconds. Nobody wrote down when a word was said: seconds are words
at the rate of English read aloud, measured on the transcripts. A line of dev that stands verbatim in train is not
tested, but still stands before the next.
"""

import argparse
import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sadstream.scoring.fusion.header import TextEncoderConfig
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.locate import locate
from train.features.cache import Cache, default_folder, key_of
from train.shipped.text_part import SEEDS, PhraseConfig, Phrases, WrittenLine, fit_phrases, run_of_words, spoken

READ_ALOUD = ("librispeech_test_other", "ljspeech", "vctk")
BATCH = 64
DRAWS = 2  # fragments of a line of train
BOOTSTRAP = 2000


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a dialogue, as words."""

    line: WrittenLine
    speaker: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """Which words stand before a fragment."""

    name: str
    seconds: float
    same_speaker: bool = False


NONE = Variant("none", 0.0)
VARIANTS = (
    Variant("3 s, anybody's", 3.0),
    Variant("6 s, anybody's", 6.0),
    Variant("12 s, anybody's", 12.0),
    Variant("12 s, the speaker's own", 12.0, same_speaker=True),
)


def words_a_second(folder: Path) -> float:
    """Of English read aloud."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] in READ_ALOUD and row["transcript"]]
    return sum(len(row["transcript"].split()) for row in rows) / sum(float(row["duration_s"]) for row in rows)


def read(path: Path) -> list[Said]:
    """Every line, dialogue by dialogue in the order in which it was said."""
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["dialogue"], int(row["turn"])))
    return [
        Said(
            WrittenLine(row["text"], "meld", row["emotion"], int(row["sad"]), row["dialogue"], row["split"]),
            row["speaker"],
            tuple(spoken(row["text"])),
        )
        for row in rows
    ]


def before(lines: Sequence[Said], at: int, start: int, variant: Variant, rate: float) -> list[str]:
    """The words of the seconds before the word `start` of a line: of the line itself, and of those before it."""
    left = round(variant.seconds * rate)
    found: list[str] = []
    own, words = lines[at], lines[at].words[:start]
    while left > 0:
        taken = words[-left:] if words else ()
        left -= len(taken)
        if not variant.same_speaker or lines[at].speaker == own.speaker:
            found = [*taken, *found]
        at -= 1
        if at < 0 or lines[at].line.dialogue != own.line.dialogue:
            break
        words = lines[at].words
    return found


def texts(
    lines: Sequence[Said], rows: Sequence[int], draw: int, variant: Variant, rate: float
) -> list[tuple[str, str]]:
    """(words before, fragment) of these lines."""
    found = []
    for row in rows:
        words = lines[row].words
        run = run_of_words(len(words), PhraseConfig().fragment_words, draw * SEEDS + row)
        found.append((" ".join(before(lines, row, run.start, variant, rate)), " ".join(words[run])))
    return found


def _same(text: str) -> str:
    return text.strip().lower()


class Embedder:
    """(n, dim) embeddings of texts, kept in a cache."""

    def __init__(self, folder: Path) -> None:
        asked = TextEncoderConfig(name="minilm", identity="", pooling="mean", dim=0)
        self._encoder = TextEncoder(locate("minilm", "text"), asked, "cpu")
        self._cache = Cache(folder)

    def __call__(self, some: Sequence[str]) -> NDArray[np.float32]:
        key = key_of("\n".join(some).encode(), f"context {self._encoder.identity} mean")
        return self._cache.array(key, lambda: self._embedded(some))

    def _embedded(self, some: Sequence[str]) -> NDArray[np.float32]:
        order = np.argsort([len(text) for text in some], kind="stable")  # a batch is as slow as its longest text
        found = np.zeros((len(some), self._encoder.dim), np.float32)
        with torch.inference_mode():
            for at in range(0, len(some), BATCH):
                found[order[at : at + BATCH]] = self._encoder([some[i] for i in order[at : at + BATCH]]).numpy()
        return found


class Dialogues:
    """MELD's lines that count, and what a variant makes of each fragment of dev."""

    def __init__(self, lines: Sequence[Said], rate: float, embedder: Embedder) -> None:
        self._lines, self._rate, self._embedder = lines, rate, embedder
        seen = {_same(said.line.text) for said in lines if said.line.split == "train"}
        self.train = [i for i, said in enumerate(lines) if said.line.split == "train" and said.words]
        dev = [i for i, said in enumerate(lines) if said.line.split == "dev" and said.words]
        self.dev = [i for i in dev if _same(lines[i].line.text) not in seen]
        self.left_out = len(dev) - len(self.dev)
        self.sad = np.array([lines[i].line.sad for i in self.dev])
        _, self.dialogue = np.unique([lines[i].line.dialogue for i in self.dev], return_inverse=True)

    def words_before(self, variant: Variant) -> float:
        """How many stand before a fragment of dev, on average."""
        return float(np.mean([len(context.split()) for context, _ in self._texts(self.dev, 0, variant)]))

    def parts(self, variant: Variant) -> NDArray[np.float64]:
        """(n,) raw text part of dev's fragments with the words before them, by weights fitted to train's alike."""
        joined = [self._joined(self.train, draw, variant) for draw in range(DRAWS)]
        lines = tuple(self._lines[i].line for i in self.train)
        phrases = Phrases(lines, joined[0], np.stack(joined[1:]))
        weights = fit_phrases(phrases, np.arange(len(lines)), PhraseConfig().strength)
        return self._joined(self.dev, 0, variant) @ weights

    def summed(self, variant: Variant) -> NDArray[np.float64]:
        """(n,) what no words before make of the fragment, and of the words before by themselves: no other input."""
        joined = [self._joined(self.train, draw, NONE) for draw in range(DRAWS)]
        lines = tuple(self._lines[i].line for i in self.train)
        phrases = Phrases(lines, joined[0], np.stack(joined[1:]))
        weights = fit_phrases(phrases, np.arange(len(lines)), PhraseConfig().strength)
        context = self._embedder([before for before, _ in self._texts(self.dev, 0, variant)])
        return (self._joined(self.dev, 0, NONE) + context) @ weights

    def _texts(self, rows: Sequence[int], draw: int, variant: Variant) -> list[tuple[str, str]]:
        return texts(self._lines, rows, draw, variant, self._rate)

    def _joined(self, rows: Sequence[int], draw: int, variant: Variant) -> NDArray[np.float32]:
        return self._embedder([" ".join(pair).strip() for pair in self._texts(rows, draw, variant)])


def differences(dialogues: Dialogues, one: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, BOOTSTRAP) area of one, and minus that of the base, over dialogues drawn again."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(dialogues.dialogue == number) for number in range(dialogues.dialogue.max() + 1)]
    found = []
    while len(found) < BOOTSTRAP:
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if 0 < dialogues.sad[drawn].sum() < drawn.size:
            area = roc_auc_score(dialogues.sad[drawn], one[drawn])
            found.append((area, area - roc_auc_score(dialogues.sad[drawn], base[drawn])))
    return np.array(found).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="words a second; without it measured")
    parser.add_argument("--cache", type=Path, default=default_folder())
    options = parser.parse_args()
    torch.set_num_threads(1)
    rate = options.rate or words_a_second(options.data / "english")
    dialogues = Dialogues(read(options.data / "text" / "meld.csv.gz"), rate, Embedder(options.cache))
    print(
        f"{rate:.2f} words a second; trained on {len(dialogues.train):,} lines, {DRAWS} fragments each; tested on "
        f"{len(dialogues.dev):,} fragments ({dialogues.sad.sum()} sad) of {dialogues.dialogue.max() + 1} dialogues, "
        f"{dialogues.left_out} left out\n"
    )
    print("| words before | on average | AUC [95 %] | minus none [95 %] |\n|---|---:|---|---|")
    base = dialogues.parts(NONE)
    rows = [(variant, variant.name, dialogues.parts(variant)) for variant in (NONE, *VARIANTS)]
    twelve = VARIANTS[2]
    rows.append((twelve, f"{twelve.name}, a part of their own by the same weights", dialogues.summed(twelve)))
    for variant, name, parts in rows:
        area = roc_auc_score(dialogues.sad, parts)
        drawn = differences(dialogues, parts, base)
        (low, high), (least, most) = np.percentile(drawn, [2.5, 97.5], axis=1).T
        gain = area - roc_auc_score(dialogues.sad, base)
        beside = "" if variant is NONE else f"{gain:+.3f} [{least:+.3f}, {most:+.3f}]"
        print(f"| {name} | {dialogues.words_before(variant):.1f} | {area:.3f} [{low:.3f}, {high:.3f}] | {beside} |")


if __name__ == "__main__":
    main()
