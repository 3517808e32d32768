"""A reader of somebody's own: the example of the manual reads its corpus, and a wrong one is told where it is wrong."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sadstream.base.errors import DataError, MissingFileError
from train.corpora.prepare import prepare, read_corpus

EXAMPLE = Path("examples/corpus_reader.py")


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    """Three speakers with a sad and a neutral recording each, called as Emo-DB's are."""
    (tmp_path / "emodb/wav").mkdir(parents=True)
    for n, name in enumerate(f"{who}a01{letter}a" for who in ("03", "08", "16") for letter in "TN"):
        noise = 0.1 * np.random.default_rng(n).standard_normal(8_000)
        soundfile.write(tmp_path / f"emodb/wav/{name}.wav", noise, 16_000)
    return tmp_path / "emodb"


def test_the_example_of_the_manual_reads_its_corpus(emodb: Path, tmp_path: Path) -> None:
    said: list[str] = []
    rows = prepare(str(EXAMPLE), emodb, tmp_path / "out", False, said.append).manifest.rows

    assert {(row.utterance, row.speaker, row.gender, row.sad) for row in rows} >= {
        ("wav/03a01Ta.wav", "emodb_03", "M", 1),
        ("wav/16a01Na.wav", "emodb_16", "F", 0),
    }
    assert {row.corpus for row in rows} == {"own-corpus_reader"}
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert said[0] == "licence of the data: ask its makers"
    assert len(EXAMPLE.read_text().splitlines()) <= 32


@pytest.mark.parametrize(
    ("program", "line", "says"),
    [
        ("def read(folder:\n", 1, "'(' was never closed"),
        ("\nimport nothing_of_that_name\n", 2, "ModuleNotFoundError: No module named"),
        ("def reed(folder):\n    yield {}\n", 1, "no function read: expected `def read(folder)`, which yields a dict"),
        ("def read(folder):\n    yield {}\n    raise KeyError('x')\n", 3, "KeyError: 'x'"),
        ("def read(folder):\n    return 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("\ndef read(folder):\n    return 3\n", 2, "read gives int '3': expected"),
        ("def read(folder):\n\n    yield 'a.wav'\n", 3, "read yields str 'a.wav': expected"),
        ("def read(folder):\n    yield {'file': 'a'}\n", 2, "read yields 'file': expected of path, transcript"),
        ("def read(folder):\n    yield {'path': ['a']}\n", 2, "path is list \"['a']\": expected text"),
    ],
)
def test_a_wrong_reader_is_one_line_with_its_place(tmp_path: Path, program: str, line: int, says: str) -> None:
    reader = tmp_path / "mine.py"
    reader.write_text(program)
    with pytest.raises(DataError, match=rf"^{re.escape(str(reader))}: line {line}: {re.escape(says)}") as raised:
        read_corpus(str(reader), tmp_path)

    assert "\n" not in str(raised.value)


def test_what_it_yields_is_checked_as_a_table_is(emodb: Path, tmp_path: Path) -> None:
    reader = tmp_path / "mine.py"
    reader.write_text(
        "def read(folder):\n"
        "    for n, path in enumerate(sorted(folder.rglob('*.wav'))):\n"
        "        yield {'path': path, 'speaker': n // 2, 'sad': n % 2 == 0}\n"
        "    yield {'path': 'none.wav', 'speaker': 1, 'sad': False}\n"
        "    yield {'path': path, 'speaker': 2, 'sad': 0, 'to_s': 0.2, 'transcript': None}\n"
    )
    found = read_corpus(str(reader), emodb)

    assert [row.sad for row in found.rows] == [1, 0, 1, 0, 1, 0, 0]
    assert found.problems == (f"{reader}: utterance 7: no recording at {emodb / 'none.wav'}; left out",)


def test_a_reader_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.py: no such reader: expected a Python file with `def read"):
        read_corpus(str(tmp_path / "none.py"), tmp_path)
