"""Written lines, the fragments of them that three seconds would leave, and the embeddings of both."""

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from sadstream.errors import DataError, MissingFileError
from sadstream.header import Record
from sadstream.text import TextEncoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from train.progress import Advance

CORPORA = ("meld", "goemotions")
BATCH = 64


class PhraseConfig(Record):
    """What the text part reads, and how much it may say: fixed beforehand."""

    encoder: str = "minilm"  # states averaged over the tokens: [CLS] was worse by .03 to .06
    other_lines: int = Field(default=50_000, ge=100)  # of a corpus's train lines that are not sad, at most
    fragment_words: tuple[int, int] = (2, 10)
    held_out: int = Field(default=5, ge=2)  # every fifth dialogue of train calibrates and fits nothing else
    weight: float = Field(default=0.5, gt=0.0, le=1.0)
    cap: float = Field(default=1.5, gt=0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One written line."""

    text: str
    corpus: str
    emotion: str
    sad: int
    dialogue: str
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """Lines with two embeddings each: as written, and of a fragment as Whisper would hear it in three seconds."""

    lines: tuple[Line, ...]
    written: "NDArray[np.float32]"  # (n, dim)
    fragments: "NDArray[np.float32]"  # (n, dim)

    def rows(self, split: str) -> "NDArray[np.int64]":
        """The rows of a split."""
        import numpy as np

        return np.flatnonzero([line.split == split for line in self.lines])


def read_lines(folder: Path, other_lines: int, seed: int) -> list[Line]:
    """The lines of both corpora; what stands in a train part is left out of dev, other train lines are thinned out."""
    import numpy as np

    rng = np.random.default_rng(seed)
    kept: list[Line] = []
    for corpus in CORPORA:
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


def _read(path: Path, corpus: str) -> list[Line]:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file: expected lines of text with columns split, text, emotion, sad")
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            lines = [
                Line(row["text"], corpus, row["emotion"], int(row["sad"]), row["dialogue"], row["split"])
                for row in csv.DictReader(file)
            ]
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: {error}: expected gzip CSV with split, text, emotion, sad, dialogue") from None
    if not any(line.sad for line in lines) or all(line.sad for line in lines):
        raise DataError(f"{path}: expected sad and other lines, found one of the two")
    return lines


def fragment(text: str, words: tuple[int, int], seed: int) -> str:
    """A run of a few words, in lower case and without punctuation."""
    import numpy as np

    rng = np.random.default_rng(seed)
    heard = re.sub(r"[^\w' ]+", " ", text.lower()).split()
    length = int(rng.integers(words[0], words[1] + 1))
    start = int(rng.integers(max(1, len(heard) - length + 1)))
    return " ".join(heard[start : start + length])


def apart(lines: Sequence[Line], held_out: int) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """The train rows that are fitted to, and those of every `held_out`th dialogue, which calibrate."""
    import numpy as np

    _, dialogue = np.unique([line.dialogue for line in lines], return_inverse=True)
    train = np.array([line.split == "train" for line in lines])
    last = dialogue % held_out == held_out - 1
    return np.flatnonzero(train & ~last), np.flatnonzero(train & last)


def embed(
    lines: Sequence[Line], encoder: TextEncoder, config: PhraseConfig, advance: "Advance | None" = None
) -> Phrases:
    """Both embeddings of every line, as the daemon computes them; `advance` hears of every batch."""
    written = [line.text for line in lines]
    cut = [fragment(line.text, config.fragment_words, i) for i, line in enumerate(lines)]
    return Phrases(tuple(lines), _embedded(written, encoder, advance), _embedded(cut, encoder, advance))


def _embedded(texts: Sequence[str], encoder: TextEncoder, advance: "Advance | None") -> "NDArray[np.float32]":
    import numpy as np
    import torch

    order = np.argsort([len(text) for text in texts], kind="stable")  # a batch is as slow as its longest line
    embedded = np.zeros((len(texts), encoder.dim), np.float32)
    with torch.inference_mode():
        for at in range(0, len(texts), BATCH):
            rows = order[at : at + BATCH]
            embedded[rows] = encoder([texts[i] for i in rows]).cpu().numpy()
            if advance:
                advance()
    return embedded


def balanced_lines(lines: Sequence[Line]) -> "NDArray[np.float64]":
    """(n,) weights, mean 1: both corpora the same, half of each sad."""
    import numpy as np

    cells: dict[tuple[str, int], list[int]] = {}
    for i, line in enumerate(lines):
        cells.setdefault((line.corpus, line.sad), []).append(i)
    weights = np.zeros(len(lines))
    for rows in cells.values():
        weights[rows] = len(lines) / (len(cells) * len(rows))
    return weights
