"""Corpora as other toolkits lay them out: a `datasets` folder, a fold of EmoBox."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sadstream.base.errors import DataError
from train.corpora.manifest import read
from train.corpora.prepare import prepare
from train.training.export import terms_of


def recording(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(16_000)
    soundfile.write(path, noise.astype(np.float32), 16_000)
    return path


def audio_folder(root: Path, label: str = "emotion", speaker: str = "speaker_id") -> Path:
    """Three splits, in each two speakers with a sad and another utterance each."""
    for part, split in enumerate(("train", "validation", "test")):
        lines = [f"file_name,{label},{speaker},transcription"]
        for who in range(2):
            for said, name in enumerate(("sad", "happy")):
                file = f"{who}-{name}.wav"
                recording(root / split / file, 10 * part + 2 * who + said)
                lines.append(f"{file},{name},spk{part}{who},words of {file}")
        (root / split / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Data\n")
    return root


def test_a_datasets_folder_is_read_with_its_splits_and_its_licence(tmp_path: Path) -> None:
    said: list[str] = []
    prepared = prepare("audiofolder", audio_folder(tmp_path / "data"), tmp_path / "out", False, said.append)
    rows = prepared.manifest.rows

    assert len(rows) == 12
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert sum(row.sad for row in rows) == 6
    assert {row.speaker for row in rows if row.split == "test"} == {"spk20", "spk21"}
    assert all(row.transcript.startswith("words of") for row in rows)
    assert "licence of the data: cc-by-4.0" in said


def test_one_metadata_file_of_json_lines_is_dealt_by_speaker(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = []
    for who in range(4):
        for said, name in enumerate(("sadness", "anger")):
            file = recording(root / f"audio/{who}-{name}.flac", 2 * who + said)
            lines.append({"file_name": str(file.relative_to(root)), "label": name, "speaker": f"s{who}"})
    (root / "metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    heard: list[str] = []
    rows = prepare("audiofolder", root, tmp_path / "out", False, heard.append).manifest.rows

    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert any("nobody says here what the data may be used for" in line for line in heard)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"speaker": "who"}, "nobody's speaker"), ({"label": "mood"}, "nobody's label")],
)
def test_what_a_folder_lacks_is_named(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        prepare("audiofolder", audio_folder(tmp_path / "data", **changes), tmp_path / "out", False, print)
    assert not (tmp_path / "out/manifest.csv").exists()


def test_labels_that_are_numbers_need_names(tmp_path: Path) -> None:
    root = audio_folder(tmp_path / "data")
    for path in root.rglob("metadata.csv"):
        path.write_text(path.read_text().replace(",sad,", ",3,").replace(",happy,", ",1,"))

    with pytest.raises(DataError, match="numbers alone: expected names"):
        prepare("audiofolder", root, tmp_path / "out", False, print)


def emobox(root: Path, dataset: str = "iemocap", names: str = "Ses0{session}F_impro0{n}_{letter}000") -> Path:
    """A fold that tests session 1, as EmoBox lays it out; returns its folder."""
    folder = root / f"data/{dataset}/fold_1"
    folder.mkdir(parents=True)
    for session in (1, 2, 3):
        part = "test" if session == 1 else "train"
        with (folder / f"{dataset}_{part}_fold_1.jsonl").open("a") as file:
            for n, (letter, emotion) in enumerate((x, y) for x in "FM" for y in ("sad", "neu")):
                name = names.format(session=session, n=n, letter=letter)
                wav = f"downloads/{dataset}/{name}.wav"
                recording(root / wav, 10 * session + n)
                line = {"key": f"{dataset}-{name}", "dataset": dataset, "wav": wav, "length": 1.0, "emo": emotion}
                file.write(f"{json.dumps(line)}\n")
    return folder


def test_a_fold_of_emobox_keeps_its_test_and_validates_on_training_speakers(tmp_path: Path) -> None:
    prepare("emobox", emobox(tmp_path), tmp_path / "out", False, print)
    manifest = read(tmp_path / "out")
    speakers = {
        split: {row.speaker for row in manifest.rows if row.split == split} for split in ("train", "validation", "test")
    }

    assert manifest.corpus == "emobox-iemocap"
    assert speakers["test"] == {"Ses01F", "Ses01M"}
    assert len(speakers["validation"]) == 1
    assert speakers["validation"] < {"Ses02F", "Ses02M", "Ses03F", "Ses03M"}
    assert terms_of(manifest.corpus, None, None) == terms_of("iemocap", None, None)


def test_who_speaks_is_asked_for_where_no_name_says_it(tmp_path: Path) -> None:
    folder = emobox(tmp_path, "other", "x{session}{n}{letter}")
    with pytest.raises(DataError, match=r"nobody says who speaks: expected speakers\.csv"):
        prepare("emobox", folder, tmp_path / "out", False, print)
    lines = [f"other-x{at}{n}{letter},{at}{letter}" for at in (1, 2, 3) for n in range(4) for letter in "FM"]
    (folder.parent / "speakers.csv").write_text("\n".join(["key,speaker", *lines]))

    assert len(prepare("emobox", folder, tmp_path / "out", False, print).manifest.rows) == 12
