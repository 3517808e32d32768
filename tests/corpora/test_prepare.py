"""Corpora in their official layouts: who spoke, what is sad, which split; counts that are not theirs are refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sadstream.base.errors import DataError, MissingFileError, UsageError
from train.corpora.prepare import prepare, read_corpus


def sound(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(8_000)
    soundfile.write(path, noise, 16_000)
    return path


def test_ravdess(tmp_path: Path) -> None:
    for actor in (1, 2, 16, 20):
        for emotion in (1, 2, 4):
            sound(tmp_path / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-02-01-{actor:02d}.wav")
    sound(tmp_path / "Actor_01" / "03-02-04-01-01-01-01.wav")  # song
    sound(tmp_path / "Actor_01" / "._03-01-04-01-01-01-01.wav")
    sound(tmp_path / "Actor_01" / "hello.wav")
    reading = read_corpus("ravdess", tmp_path)
    rows = {row.utterance: row for row in reading.rows}

    assert len(rows) == 12
    assert rows["03-01-04-01-02-01-01"].sad == 1
    assert rows["03-01-02-01-02-01-02"].label == "calm"
    assert rows["03-01-04-01-02-01-02"].gender == "F"
    assert rows["03-01-04-01-02-01-01"].transcript == "Dogs are sitting by the door."
    assert {r.speaker: r.split for r in reading.rows} == {
        "ravdess_01": "train", "ravdess_02": "train", "ravdess_16": "validation", "ravdess_20": "test",
    }  # fmt: skip
    assert "not a RAVDESS name" in reading.problems[0]


def test_nemo(tmp_path: Path) -> None:
    lines = ["file_id\temotion\traw_text\tspeaker_id\tgender"]
    for speaker in ("AAA", "BBB", "CCC", "DDD"):
        for emotion in ("sadness", "neutral"):
            sound(tmp_path / "samples" / f"{speaker}_{emotion}_1.wav")
            lines.append(f"{speaker}_{emotion}_1.wav\t{emotion}\tTak.\t{speaker}\tfemale")
    lines.append("ZZZ_sadness_1.wav\tsadness\tTak.\tDDD\tfemale")
    (tmp_path / "data.tsv").write_text("\n".join(lines))
    reading = read_corpus("nemo", tmp_path)

    assert len(reading.rows) == 8
    assert sum(row.sad for row in reading.rows) == 4
    assert [row.split for row in reading.rows if row.sad] == ["train", "validation", "validation", "test"]
    assert "ZZZ_sadness_1.wav: no recording at" in reading.problems[0]


def test_cremad(tmp_path: Path) -> None:
    (tmp_path / "VideoDemographics.csv").write_text("ActorID,Age,Sex\n1001,51,Male\n1007,21,Female\n")
    for name in ("1001_DFA_SAD_XX", "1001_IEO_ANG_HI", "1007_DFA_SAD_XX", "1009_DFA_NEU_XX", "1001_XXX_SAD_XX"):
        sound(tmp_path / "AudioWAV" / f"{name}.wav")
    reading = read_corpus("cremad", tmp_path)

    assert [(r.speaker, r.gender, r.sad, r.split) for r in reading.rows] == [
        ("cremad_1001", "M", 1, "train"),
        ("cremad_1001", "M", 0, "train"),
        ("cremad_1007", "F", 1, "validation"),
        ("cremad_1009", "", 0, "test"),
    ]
    assert len(reading.problems) == 1


def test_meld_text(tmp_path: Path) -> None:
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    (tmp_path / "train_sent_emo.csv").write_text(head + "1,I miss him.,Ross,sadness,negative,0,0\n")
    (tmp_path / "dev_sent_emo.csv").write_text(head + "1,Hi.,Joey,neutral,neutral,0,0\n")
    reading = read_corpus("meld-text", tmp_path)

    assert [(r.dialogue, r.sad, r.split, r.path) for r in reading.rows] == [
        ("meld_train_0", 1, "train", ""), ("meld_validation_0", 0, "validation", ""),
    ]  # fmt: skip
    assert "test_sent_emo.csv: not there" in reading.problems[0]


def test_goemotions(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('He said "no".\t25\tabc\nFine\t27\tdef\nGone\t9,16\tghi\n')
    reading = read_corpus("goemotions", tmp_path)

    assert [(r.label, r.sad) for r in reading.rows] == [("sadness", 1), ("neutral", 0), ("disappointment|grief", 1)]
    assert reading.rows[0].transcript == 'He said "no".'


def test_wrong_counts_leave_no_manifest(tmp_path: Path) -> None:
    sound(tmp_path / "AudioWAV" / "1001_DFA_SAD_XX.wav")
    said: list[str] = []

    with pytest.raises(DataError, match="9 counts are not those of cremad"):
        prepare("cremad", tmp_path, tmp_path / "out", allow_partial=False, say=said.append)
    assert re.search(r"utterances +7,442 +1\n", said[-1])
    assert not (tmp_path / "out").exists()

    prepare("cremad", tmp_path, tmp_path / "out", allow_partial=True, say=print)
    assert (tmp_path / "out" / "manifest.csv").is_file()


@pytest.mark.parametrize("corpus", ["iemocap", "ravdess", "nemo", "cremad", "meld-text", "goemotions", "csv"])
def test_a_folder_that_is_not_the_corpus_is_refused(tmp_path: Path, corpus: str) -> None:
    with pytest.raises((DataError, MissingFileError), match="expected"):
        read_corpus(corpus, tmp_path)


def test_an_unknown_corpus_is_a_mistake_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'tess': expected one of iemocap, ravdess"):
        read_corpus("tess", tmp_path)
