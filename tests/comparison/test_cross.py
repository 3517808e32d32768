"""Trained on one corpus, tested on another, and never on what was trained on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_corpus import prepared

from sadstream.base.errors import UsageError
from train.comparison.cross import CrossRequest, cross
from train.corpora.guards import LeakError
from train.corpora.manifest import read, write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two corpora of one kind: the second is the first's, a little quieter, by other people."""
    made = prepared(tmp_path_factory.mktemp("cross"))
    made.other = quieter(made, tmp_path_factory.mktemp("other"))
    return made


def quieter(made: SimpleNamespace, folder: Path) -> Path:
    import soundfile

    rows = []
    for row in made.manifest.rows:
        samples, rate = soundfile.read(row.path, dtype="float32")
        path = folder / Path(row.path).name
        soundfile.write(path, 0.7 * samples, rate)
        rows.append(replace(row, path=str(path), corpus="quiet", session=0, speaker=f"quiet-{row.speaker}"))
    write(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


def wanted(made: SimpleNamespace, out: Path, *paths: Path) -> CrossRequest:
    return CrossRequest(paths, out, made.preset, "cnn-lstm", allow_partial=True)


def test_every_corpus_is_tested_by_every_other_on_all_of_it_and_by_itself_on_its_test_split(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    text = cross(wanted(made, tmp_path, made.path, made.other), made.session, print)

    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## ROC AUC", "## unweighted recall", "## F1",
    ]  # fmt: skip
    rows = [line for line in text.splitlines() if line.startswith(("| iemocap", "| quiet"))]
    assert len(rows) == 6
    assert all(row.count(" n 10 |") == 1 and row.count(" n 50 |") == 1 for row in rows)
    assert all(row.count("[") == 2 for row in rows)


def test_the_same_recordings_under_another_name_are_a_leak(made: SimpleNamespace, tmp_path: Path) -> None:
    rows = [replace(row, corpus="renamed", speaker=f"x-{row.speaker}") for row in read(made.path).rows]
    write(tmp_path / "manifest.csv", rows)

    with pytest.raises(LeakError, match=r"50 recording\(s\) of renamed stand in iemocap too"):
        cross(wanted(made, tmp_path / "out", made.path, tmp_path / "manifest.csv"), made.session, print)


def test_one_manifest_is_no_matrix(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        cross(wanted(made, tmp_path, made.path), made.session, print)
