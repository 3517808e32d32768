"""The text part: what three seconds leave of a line, what is kept out of dev, what words may say."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from sadstream.base.errors import DataError, MissingFileError
from train.shipped.text_part import (
    CORPORA,
    Phrases,
    WrittenLine,
    balanced_lines,
    fit_phrases,
    fragment,
    read_lines,
    text_out_of_fold,
)

COLUMNS = ("split", "text", "emotion", "sad", "speaker", "dialogue", "turn")


def write(folder: Path, corpus: str, rows: list[tuple[str, str, int]]) -> None:
    """A corpus of (split, text, sad)."""
    with gzip.open(folder / f"{corpus}.csv.gz", "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for i, (split, text, sad) in enumerate(rows):
            table.writerow([split, text, "sadness" if sad else "joy", sad, "", i, 0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [("train", f"line {i}", int(i % 5 == 0)) for i in range(50)]
    rows += [("dev", " LINE 3", 0), ("dev", "never seen", 1), ("dev", "nor this", 0)]
    for corpus in ("meld", "goemotions"):
        write(tmp_path, corpus, rows)
    return tmp_path


def planted(n: int = 400) -> Phrases:
    """Embeddings in which the first number is higher for sad lines."""
    rng = np.random.default_rng(0)
    sad = np.arange(n) % 4 == 0
    embedded = rng.normal(0, 1, (2, n, 5)).astype(np.float32)
    embedded[:, sad, 0] += 2.0
    lines = tuple(
        WrittenLine("", "meld" if i % 8 < 4 else "goemotions", "", int(s), f"d{i // 5}", "train")
        for i, s in enumerate(sad)
    )
    return Phrases(lines, embedded[0], embedded[1:])


@pytest.mark.parametrize("seed", range(8))
def test_a_fragment_is_two_to_ten_plain_words_of_the_line_in_a_row(seed: int) -> None:
    line = "Well, I've HAD it; you -- of all people! -- should know how tired I am of this, don't you?"
    words = fragment(line, (2, 10), seed).split()
    spoken = "well i've had it you of all people should know how tired i am of this don't you"
    plain = spoken.split(" ")

    assert 2 <= len(words) <= 10
    assert any(plain[at : at + len(words)] == words for at in range(len(plain)))


def test_a_short_line_stays_whole() -> None:
    assert fragment("Oh!", (2, 10), 0) == "oh"


def test_dev_lines_that_stand_in_train_are_left_out(folder: Path) -> None:
    lines = read_lines(folder, CORPORA, other_lines=1000, seed=0)

    assert [line.text for line in lines if line.corpus == "meld" and line.split == "dev"] == ["never seen", "nor this"]
    assert sum(line.split == "train" for line in lines) == 100


def test_thinning_keeps_every_sad_line(folder: Path) -> None:
    train = [line for line in read_lines(folder, CORPORA, other_lines=8, seed=0) if line.split == "train"]

    assert sum(line.sad for line in train) == 20
    assert sum(not line.sad for line in train) == 16


def test_a_missing_or_foreign_file_is_named(folder: Path) -> None:
    (folder / "meld.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"meld\.csv\.gz"):
        read_lines(folder, CORPORA, 10, 0)
    (folder / "meld.csv.gz").unlink()
    with pytest.raises(MissingFileError, match=r"meld\.csv\.gz"):
        read_lines(folder, CORPORA, 10, 0)


def test_both_corpora_count_the_same_and_half_of_each_is_sad() -> None:
    lines = planted().lines
    weights = balanced_lines(lines)

    assert weights.mean() == pytest.approx(1.0)
    for corpus in ("meld", "goemotions"):
        share = sum(w for w, line in zip(weights, lines, strict=True) if line.corpus == corpus and line.sad)
        assert share == pytest.approx(len(lines) / 4)


def test_what_is_planted_is_found_and_each_line_is_scored_by_weights_that_did_not_see_its_dialogue() -> None:
    phrases = planted()
    rows = phrases.rows("train")
    weights = fit_phrases(phrases, rows, strength=1.0)
    parts = text_out_of_fold(phrases, rows, strength=1.0, folds=4)
    sad = np.array([line.sad for line in phrases.lines]) == 1

    assert np.abs(weights).argmax() == 0
    assert parts.shape == (2, 400)
    assert (parts[:, sad].mean(1) > parts[:, ~sad].mean(1) + 1.0).all()
