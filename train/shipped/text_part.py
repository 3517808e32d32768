"""The text part: written lines and their fragments, embedded by a frozen encoder, and one weight a dimension."""

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.progress import Advance
from sadstream.scoring.fusion.header import Record
from sadstream.scoring.text.encoder import TextEncoder
from train.features.cache import Cache, key_of

CORPORA = ("meld", "goemotions")
BATCH = 64
SEEDS = 10_000_019  # between the draws of fragments
CHUNK = 4096  # lines of one entry of the cache


class PhraseConfig(Record):
    """How the text part is fitted, and how much it may say: fixed beforehand."""

    corpora: tuple[str, ...] = CORPORA
    encoder: str = "minilm"  # states averaged over the tokens: [CLS] was worse by .03 to .06
    other_lines: int = Field(default=12_000, ge=100)  # of GoEmotions' 42,029 that are not sad: more changed nothing
    fragment_words: tuple[int, int] = (2, 10)
    fragments: int = Field(default=3, ge=1)  # of each line; a second and a third gained .01 on those of MELD
    strength: float = Field(default=0.01, gt=0.0)  # inverse regularisation of the logistic regression
    weight: float = Field(default=0.5, gt=0.0, le=1.0)
    cap: float = Field(default=1.5, gt=0.0)


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """One written line."""

    text: str
    corpus: str
    emotion: str
    sad: int
    dialogue: str
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """Lines with several embeddings each: as written, and of fragments as Whisper would hear them in three seconds."""

    lines: tuple[WrittenLine, ...]
    written: NDArray[np.float32]  # (n, dim)
    fragments: NDArray[np.float32]  # (draws, n, dim); what is measured is the first draw

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split."""
        return np.flatnonzero([line.split == split for line in self.lines])


def read_lines(folder: Path, corpora: Sequence[str], other_lines: int, seed: int) -> list[WrittenLine]:
    """The lines of these corpora; what stands in a train part is left out of dev, other train lines are thinned out."""
    rng = np.random.default_rng(seed)
    kept: list[WrittenLine] = []
    for corpus in corpora:
        lines = _read(folder / f"{corpus}.csv.gz", corpus)
        seen = {_same(line.text) for line in lines if line.split == "train"}
        other = [i for i, line in enumerate(lines) if line.split == "train" and not line.sad]
        thinned = set(rng.permutation(other)[other_lines:].tolist()) if len(other) > other_lines else set()
        kept += [
            line
            for i, line in enumerate(lines)
            if i not in thinned and (line.split == "train" or _same(line.text) not in seen)
        ]
    return kept


def _same(text: str) -> str:
    return text.strip().lower()


def _read(path: Path, corpus: str) -> list[WrittenLine]:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file: expected lines of text with columns split, text, emotion, sad")
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            lines = [
                WrittenLine(row["text"], corpus, row["emotion"], int(row["sad"]), row["dialogue"], row["split"])
                for row in csv.DictReader(file)
            ]
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: {error}: expected gzip CSV with split, text, emotion, sad, dialogue") from None
    if not any(line.sad for line in lines) or all(line.sad for line in lines):
        raise DataError(f"{path}: expected sad and other lines, found one of the two")
    return lines


def fragment(text: str, words: tuple[int, int], seed: int) -> str:
    """A run of a few words, in lower case and without punctuation."""
    heard = spoken(text)
    return " ".join(heard[run_of_words(len(heard), words, seed)])


def spoken(text: str) -> list[str]:
    """The words of a line, in lower case and without punctuation."""
    return re.sub(r"[^\w' ]+", " ", text.lower()).split()


def run_of_words(count: int, words: tuple[int, int], seed: int) -> slice:
    """Which of a line's words a fragment takes."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(words[0], words[1] + 1))
    start = int(rng.integers(max(1, count - length + 1)))
    return slice(start, start + length)


def embed(
    lines: Sequence[WrittenLine],
    encoder: TextEncoder,
    config: PhraseConfig,
    cache: Cache,
    advance: Advance | None = None,
) -> Phrases:
    """All embeddings of every line; a cache keeps what is done, numbers only."""
    written = [line.text for line in lines]
    cut = [
        [fragment(text, config.fragment_words, draw * SEEDS + i) for i, text in enumerate(written)]
        for draw in range(config.fragments)
    ]
    done = []
    for texts in (written, *cut):
        parts = []
        for at in range(0, len(texts), CHUNK):
            some = texts[at : at + CHUNK]
            key = key_of("\n".join(some).encode(), f"text {encoder.identity} mean")
            parts.append(cache.array(key, lambda some=some: _embedded(some, encoder)))  # type: ignore[misc]
            if advance:
                advance()
        done.append(np.concatenate(parts))
    return Phrases(tuple(lines), done[0], np.stack(done[1:]))


def _embedded(texts: Sequence[str], encoder: TextEncoder) -> NDArray[np.float32]:
    order = np.argsort([len(text) for text in texts], kind="stable")  # a batch is as slow as its longest line
    embedded = np.zeros((len(texts), encoder.dim), np.float32)
    with torch.inference_mode():
        for at in range(0, len(texts), BATCH):
            rows = order[at : at + BATCH]
            embedded[rows] = encoder([texts[i] for i in rows]).cpu().numpy()
    return embedded


def balanced_lines(lines: Sequence[WrittenLine]) -> NDArray[np.float64]:
    """(n,) weights, mean 1: each corpus the same, half of each sad."""
    cells: dict[tuple[str, int], list[int]] = {}
    for i, line in enumerate(lines):
        cells.setdefault((line.corpus, line.sad), []).append(i)
    weights = np.zeros(len(lines))
    for rows in cells.values():
        weights[rows] = len(lines) / (len(cells) * len(rows))
    return weights


def fit_phrases(phrases: Phrases, rows: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
    """(dim,) weights on an embedding, from these lines as written and as fragments."""
    lines = [phrases.lines[i] for i in rows]
    weights = balanced_lines(lines)
    labels = np.array([line.sad for line in lines])
    model = LogisticRegression(C=strength, max_iter=500)
    views = [phrases.written[rows], *phrases.fragments[:, rows]]
    model.fit(np.concatenate(views), np.tile(labels, len(views)), sample_weight=np.tile(weights, len(views)))
    coefficients: NDArray[np.float64] = model.coef_[0].astype(np.float64)
    return coefficients


def text_out_of_fold(phrases: Phrases, rows: NDArray[np.int64], strength: float, folds: int) -> NDArray[np.float64]:
    """(2, len(rows)) raw text parts, as written and as fragments, each by weights that did not see its dialogue."""
    _, group = np.unique([phrases.lines[i].dialogue for i in rows], return_inverse=True)
    parts = np.zeros((2, rows.size))
    for fold in range(folds):
        test = group % folds == fold
        weights = fit_phrases(phrases, rows[~test], strength)
        parts[0, test] = phrases.written[rows[test]] @ weights
        parts[1, test] = phrases.fragments[0, rows[test]] @ weights
    return parts
