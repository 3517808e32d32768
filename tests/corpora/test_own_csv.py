"""A table of somebody's own recordings, as spreadsheets and scripts write it: understood, or refused in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sadstream.base.errors import DataError, MissingFileError
from train.cli import main
from train.corpora.folds import assign
from train.corpora.guards import by_split, check_splits
from train.corpora.manifest import Utterance, read
from train.corpora.prepare import prepare, read_corpus
from train.corpora.readers.formats.own_csv import read_table

SPEAKERS = ("Ann", "Bob", "Cleo", "Dan")


def sound(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(8_000), 16_000)
    return path


def lines(separator: str = ",", **changes: str) -> list[str]:
    """Four speakers with a sad and another recording each; `changes` replaces cells of the first."""
    rows = []
    for number, speaker in enumerate(SPEAKERS):
        for sad in (0, 1):
            cells = {"path": f"{speaker}{sad}.wav", "speaker": speaker, "sad": str(sad)}
            rows.append(cells | (changes if not number and not sad else {}))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [separator.join(columns), *(separator.join(row.get(name, "") for name in columns) for row in rows)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, speaker in enumerate(SPEAKERS):
        for sad in (0, 1):
            sound(tmp_path / f"{speaker}{sad}.wav", 2 * number + sad)
    return tmp_path


def table(folder: Path, text: str | list[str], encoding: str = "utf-8") -> Path:
    path = folder / "own.csv"
    path.write_bytes((text if isinstance(text, str) else "\n".join(text)).encode(encoding))
    return path


def test_without_a_split_speakers_are_dealt_so_that_none_is_empty_and_it_is_said(folder: Path) -> None:
    said: list[str] = []
    prepared = prepare("csv", table(folder, lines()), folder / "out", allow_partial=False, say=said.append)

    assert read(folder / "out") == prepared.manifest
    check_splits(prepared.manifest.rows)
    assert prepared.left_out == 0
    (line,) = said
    assert "4 speakers dealt by a hash of their names: train" in line
    assert all(speaker in line for speaker in SPEAKERS)


@pytest.mark.parametrize("count", [3, 4, 6, 12, 100])
@pytest.mark.parametrize("classes", ["both", "one each"])
def test_however_many_speakers_each_split_holds_both_classes(tmp_path: Path, count: int, classes: str) -> None:
    """Also where every speaker is sad throughout or not at all; by chance one of 6 is empty two times in three."""
    people = count if classes == "both" else 2 * count
    rows = [f"s{i},{sad},word {i} {sad}" for i in range(people) for sad in ((0, 1) if classes == "both" else (i % 2,))]
    found = read_corpus("csv", table(tmp_path, ["speaker,sad,transcript", *rows])).rows
    splits = {row.speaker: {r.split for r in found if r.speaker == row.speaker} for row in found}

    check_splits(found)
    assert all(len(one) == 1 for one in splits.values())
    assert found == read_corpus("csv", tmp_path / "own.csv").rows


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a,0,x", "a,1,y", "b,0,z", "b,1,w"], "2 speakers, 2 of them with both: expected at least 3 speakers"),
        (["a,0,x", "b,0,y", "c,0,z", "d,1,w"], "4 speakers, 0 of them with both"),
        (["a,0,x", "b,0,y", "c,0,z"], "3 speakers, 0 of them with both"),
    ],
)
def test_too_few_speakers_are_refused_with_their_number(tmp_path: Path, rows: list[str], says: str) -> None:
    with pytest.raises(DataError, match="no column split") as refused:
        read_corpus("csv", table(tmp_path, ["speaker,sad,transcript", *rows]))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        (("train", "train", "test", "test"), "split validation: no utterance .train 4, validation 0, test 4"),
        (("train", "dev", "train", ""), "line 8: no split, where others have one: give it for all or for none"),
        (("train", "Validation", "TEST", "exam"), "split = 'exam': expected train, validation, test"),
    ],
)
def test_a_split_that_is_none_is_refused_before_training(folder: Path, splits: tuple[str, ...], says: str) -> None:
    head, *rows = lines()
    written = [f"{head},split", *(f"{row},{splits[i // 2]}" for i, row in enumerate(rows))]
    path = table(folder, written)
    if "exam" in splits:
        assert says in read_corpus("csv", path).problems[0]
    else:
        with pytest.raises(DataError, match=says):
            read_corpus("csv", path)


def as_latin_1(folder: Path) -> Path:
    return table(folder, [*lines()[:1], *(line.replace("Ann,", "Zoë,") for line in lines()[1:])], "cp1252")


SPELLINGS: dict[str, Callable[[Path], Path]] = {
    "as it should be": lambda f: table(f, lines()),
    "a byte-order mark": lambda f: table(f, lines(), "utf-8-sig"),
    "UTF-16": lambda f: table(f, lines(), "utf-16"),
    "Latin-1": as_latin_1,
    "semicolons": lambda f: table(f, lines(";")),
    "tabs": lambda f: table(f, lines("\t")),
    "CRLF and blank lines": lambda f: table(f, "\r\n".join([*lines(), "", ",,"])),
    "columns with spaces and capitals": lambda f: table(f, [" Path , Speaker,SAD ", *lines()[1:]]),
    "spaces around cells": lambda f: table(f, [line.replace(",", " , ") for line in lines()]),
    "an absolute path": lambda f: table(f, lines(path=str(f / "Ann0.wav"))),
    "a path from home": lambda f: table(f, lines(path="~/Ann0.wav")),
    "backslashes": lambda f: table(f, lines(path=f"..\\{f.name}\\Ann0.wav")),
    "true and false": lambda f: table(f, [x[:-1] + {"1": "True", "0": "FALSE"}.get(x[-1], x[-1]) for x in lines()]),
    "numbers as floats": lambda f: table(f, [x + (".0" if x[-1] in "01" else "") for x in lines()]),
    "labels in capitals": lambda f: table(
        f, ["path,speaker,label", *(x[:-1] + {"1": " SAD ", "0": "Neutral"}[x[-1]] for x in lines()[1:])]
    ),
    "emotions": lambda f: table(
        f, ["path,speaker,emotion", *(x[:-1] + {"1": "sadness", "0": "anger"}[x[-1]] for x in lines()[1:])]
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_table_is_read_however_it_was_written(folder: Path, spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    reading = read_corpus("csv", SPELLINGS[spelling](folder))

    assert reading.problems == ()
    assert {(Path(row.path).name, row.sad) for row in reading.rows} == {
        (f"{speaker}{sad}.wav", sad) for speaker in SPEAKERS for sad in (0, 1)
    }


def test_what_was_guessed_is_said(folder: Path) -> None:
    assert any("read as Latin-1" in note for note in read_corpus("csv", as_latin_1(folder)).notes)
    labelled = SPELLINGS["emotions"](folder)
    assert "labels counted as sad: sadness 4; as not sad: anger 4" in read_corpus("csv", labelled).notes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"path": "none.wav"}, "line 2: no recording at"),
        ({"path": "x" * 300 + ".wav"}, "cannot be read: File name too long"),
        ({"path": "."}, "is not a file"),
        ({"sad": "2"}, "sad = '2': expected 0 or 1"),
        ({"sad": ""}, "neither sad (0 or 1) nor a label"),
        ({"speaker": ""}, "no speaker"),
        ({"duration_s": "long"}, "duration_s = 'long': expected seconds, or nothing"),
        ({"duration_s": "-1"}, "duration_s = '-1': expected seconds, or nothing"),
        ({"path": ""}, "neither a recording nor a transcript"),
        ({"path": "Ann1.wav"}, "Ann1.wav stands in line 2 already"),
        ({"duration_s": "4.0"}, "holds 0.50 s of the 4.00 s that are written down for it"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_rest_is_kept(
    folder: Path, changes: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(folder, lines(**changes))
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "csv", str(path), "--out", str(folder / "out")])
    err = capsys.readouterr().err

    assert stop.value.code == 65
    assert says in err
    assert "1 of 8 utterances are named above and left out" in err
    assert len(read(folder / "out").rows) == 7
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "csv", str(path), "--out", str(folder / "out"), "--allow-partial"])
    assert stop.value.code == 0


def test_of_very_many_bad_lines_some_are_shown_and_all_are_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(folder, [*lines(), *(f"lost{i}.wav,Ann,0" for i in range(500))])
    with pytest.raises(SystemExit):
        main(["prepare", "csv", str(path), "--out", str(folder / "out")])
    err = capsys.readouterr().err

    assert err.count("\n") < 30
    assert "and 480 more such lines" in err
    assert "500 of 508 utterances" in err


def test_speakers_that_differ_in_spelling_are_one(tmp_path: Path) -> None:
    """1, 01 and 1.0 of a spreadsheet: apart, one voice would stand in train and in test."""
    names = ("1", "01", "1.0", "ann", "Ann", "2", "3")
    rows = [f"{name},{sad},words {name} {sad}" for name in names for sad in (0, 1)]
    reading = read_corpus("csv", table(tmp_path, ["speaker,sad,transcript", *rows]))

    assert len({row.speaker for row in reading.rows}) == 4
    assert sum("are taken for one" in note for note in reading.notes) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "columns none: expected columns path or transcript"),
        ("path,speaker,sad\n", "no utterances: expected one a line"),
        ("path,speaker\na.wav,x\n", "columns path, speaker: expected"),
        ("speaker,sad,sad,transcript\na,1,1,x\n", "column sad stands there twice"),
        ("speaker,sad,transcript\na,1,well, then\n", "line 2: 4 cells: expected 3; put quotes around"),
        ("RIFF\0\0\0WAVE", "not text: expected a CSV file"),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match="expected") as refused:
        read_corpus("csv", table(tmp_path, text))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.csv: no such file"):
        read_corpus("csv", tmp_path / "none.csv")


def people(count: int) -> list[Utterance]:
    """So many speakers with two sad and two other utterances each."""
    return [
        Utterance(f"s{i:02d}_{n}", "csv", 0, f"s{i:02d}", "", "", "", 0.0, 0.0, "x", n % 2, f"w {i} {n}", "train")
        for i in range(count)
        for n in range(4)
    ]


def test_folds_by_speaker_test_everybody_once() -> None:
    rows = people(12)
    tested = []
    for number in range(1, 6):
        parts = by_split(found := assign(rows, f"{number}of5"))
        check_splits(found)
        tested += [row.utterance for row in parts["test"]]

    assert sorted(tested) == sorted(row.utterance for row in rows)


@pytest.mark.parametrize("fold", ["6of5", "0of5", "1of2", "1of13", "s1", "all", "5"])
def test_a_fold_that_cannot_be_says_what_can(fold: str) -> None:
    with pytest.raises(DataError, match=r"of5|at most 12 folds|at least 3|KofN"):
        assign(people(12), fold)


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    """A transcript over two lines, and empty ones, do not move what is said of those after them."""
    table = tmp_path / "own.csv"
    table.write_text('transcript,speaker,sad\n"one\ntwo",Ann,0\n\n\nthree,,1\n')
    found = read_table(table)

    assert [number for number, _ in found.lines] == [2, 6]
    assert found.lines[0][1]["transcript"] == "one two"


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text('transcript,speaker,sad\none,Ann,0\n"two,Ben,1\nthree,Cid,0\n')

    with pytest.raises(DataError, match="line 3: a quote is opened and never closed"):
        read_table(table)
