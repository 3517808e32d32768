"""A database of audformat: its tables joined, its segments cut, its licence said; or what it lacks, in one line."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sadstream.base.errors import DataError, UsageError
from train.corpora.clips import read_audio
from train.corpora.manifest import CorpusManifest, licence_of
from train.corpora.prepare import prepare

# As audformat 1.3 writes them.
HEADER = """\
name: Tiny Emo
source: made up
usage: unrestricted
languages: [deu]
license: CC-BY-NC-4.0
license_url: https://creativecommons.org/licenses/by-nc/4.0/
raters:
  gold: {type: human}
schemes:
  emotion:
    dtype: str
    labels:
      N: {description: neutral}
      sadness: {description: sad}
  speaker:
    dtype: str
    labels:
      spk0: {gender: male}
      spk1: {gender: female}
      spk2: {gender: male}
  transcription: {dtype: str}
splits:
  one: {type: train}
  two: {type: dev}
  three: {type: test}
tables:
  files:
    type: filewise
    columns:
      speaker: {scheme_id: speaker}
"""
TABLE = """\
  emotion.{split}:
    type: segmented
    split_id: {split}
    columns:
      emotion: {{scheme_id: emotion, rater_id: gold}}
      words: {{scheme_id: transcription}}
"""
LINES = """\
file,start,end,emotion,words
audio/{n}.wav,0 days 00:00:00.000000,0 days 00:00:00.500000,sadness,"a, b"
audio/{n}.wav,0 days 00:00:00.500000,,N,"c ""d\"\"\"
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Three speakers in three splits: half a second of sadness in each recording, then a whole one of nothing."""
    root = tmp_path / "db"
    (root / "audio").mkdir(parents=True)
    header, files = HEADER, "file,speaker\n"
    for n, split in enumerate(("one", "two", "three")):
        header += TABLE.format(split=split)
        files += f"audio/{n}.wav,spk{n}\n"
        (root / f"db.emotion.{split}.csv").write_text(LINES.format(n=n))
        noise = 0.1 * np.random.default_rng(n).standard_normal(24_000)
        soundfile.write(root / f"audio/{n}.wav", noise.astype(np.float32), 16_000)
    (root / "db.yaml").write_text(header)
    (root / "db.files.csv").write_text(files)
    return root


def prepared(root: Path, said: list[str] | None = None, label: str | None = None) -> CorpusManifest:
    heard = [] if said is None else said
    return prepare("audformat", root, root.parent / "out", False, heard.append, label).manifest


def edited(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_tables_are_joined_and_codes_are_read(database: Path) -> None:
    said: list[str] = []
    found = prepared(database, said)
    told = {(row.speaker, row.gender, row.split, row.label, row.sad, row.transcript) for row in found.rows}

    assert found.corpus == "audformat-tiny-emo"
    assert told == {
        (f"spk{n}", gender, split, label, sad, words)
        for n, (gender, split) in enumerate((("M", "train"), ("F", "validation"), ("M", "test")))
        for label, sad, words in (("sadness", 1, "a, b"), ("neutral", 0, 'c "d"'))
    }
    assert any(line.startswith("licence of the data: CC-BY-NC-4.0 https:") for line in said)


def test_the_licence_stays_with_the_manifest_and_goes_with_it(database: Path) -> None:
    found = prepared(database)
    manifest = database.parent / "out/manifest.csv"
    assert licence_of(manifest, found.sha256) == "CC-BY-NC-4.0"
    assert licence_of(manifest, "0" * 64) is None

    edited(database / "db.yaml", "license: CC-BY-NC-4.0\n", "")
    assert licence_of(manifest, prepared(database).sha256) is None


def test_each_segment_is_a_recording_of_its_own(database: Path) -> None:
    row = next(row for row in prepared(database).rows if row.utterance == "audio/1.wav@0.5-")
    whole, part = read_audio(database / "audio/1.wav"), read_audio(Path(row.path))

    assert (row.dialogue, row.start_s, row.end_s) == ("audio/1.wav", 0.5, 1.5)
    assert Path(row.path).parent == database.parent / "out/segments"
    assert np.abs(part - whole[8_000:]).max() < 1e-6


def test_a_speaker_in_two_splits_is_refused(database: Path) -> None:
    edited(database / "db.files.csv", "spk1", "spk0")
    with pytest.raises(DataError, match="speaker spk0 stands in train and in validation"):
        prepared(database)


def test_ratings_go_from_minus_one_to_one_as_their_scheme_does(database: Path) -> None:
    edited(
        database / "db.yaml", "  transcription: {dtype: str}", "  activation: {dtype: float, minimum: 1, maximum: 5}"
    )
    edited(database / "db.yaml", "words: {scheme_id: transcription}", "words: {scheme_id: activation}")
    for path in database.glob("db.emotion.*.csv"):
        edited(path, '"a, b"', "2.0")
        edited(path, '"c ""d"""', "")

    assert [(row.arousal, row.valence) for row in prepared(database).rows] == [(-0.5, None), (None, None)] * 3


def test_a_segment_beyond_its_recording_is_named_and_left_out(database: Path) -> None:
    with (database / "db.emotion.one.csv").open("a") as file:
        file.write("audio/0.wav,0 days 00:00:01.000000,0 days 00:01:00.000000,N,x\n")
    said: list[str] = []

    assert len(prepared(database, said).rows) == 6
    assert any("line 4: 1 to 60 s: expected a part of the 1.50 s of" in line for line in said)


def test_of_several_columns_of_emotions_one_is_chosen(database: Path) -> None:
    edited(database / "db.yaml", "emotion: {scheme_id", "first: {scheme_id")
    edited(database / "db.yaml", "words: {scheme_id: transcription}", "second: {scheme_id: emotion}")
    for path in database.glob("db.emotion.*.csv"):
        path.write_text(path.read_text().replace("emotion,words", "first,second").replace('"a, b"', "N"))
        edited(path, '"c ""d"""', "sadness")
    with pytest.raises(UsageError, match=r"several columns of emotions: emotion\.one\.first, .* one with --label"):
        prepared(database)

    found = prepared(database, label="second").rows
    assert [(row.sad, row.start_s) for row in found] == [(0, 0.0), (1, 0.5)] * 3


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("db.yaml", "tables:", "things:", "no tables: expected the header of a database of audformat"),
        ("db.yaml", "name:", "name: [", "cannot be read: while parsing"),
        ("db.yaml", "speaker: {scheme_id: speaker}", "who: {scheme_id: transcription}", "nobody's speaker: expected"),
        ("db.yaml", "scheme_id: emotion", "scheme_id: transcription", "nobody's emotion: expected a scheme called"),
        ("db.emotion.one.csv", "0 days 00:00:00.500000", "soon", "'soon': expected a time such as"),
    ],
)
def test_what_is_missing_is_one_line(database: Path, file: str, old: str, new: str, says: str) -> None:
    edited(database / file, old, new)
    if "transcription" in new and "emotion" in old:
        edited(database / "db.yaml", "emotion: {scheme_id", "said: {scheme_id")
    with pytest.raises(DataError, match=says) as raised:
        prepared(database)
    assert "\n" not in str(raised.value)


def test_a_table_in_parquet_is_named(database: Path) -> None:
    (database / "db.emotion.two.csv").rename(database / "db.emotion.two.parquet")
    with pytest.raises(DataError, match=r"there is db\.emotion\.two\.parquet, which is not read: expected CSV"):
        prepared(database)


def test_parts_of_recordings_in_a_table_of_ones_own(database: Path) -> None:
    lines = [f"audio/{n}.wav,s{n},{sad},{0.7 * sad},{0.7 + 0.7 * sad}" for n in range(3) for sad in (0, 1)]
    (database / "own.csv").write_text("\n".join(["path,speaker,sad,from_s,to_s", *lines]))
    rows = prepare("csv", database / "own.csv", database.parent / "out", False, print).manifest.rows

    assert [row.duration_s for row in rows] == pytest.approx([0.7] * 6)
    assert len({row.path for row in rows}) == 6
