"""The corpus as licensees have it: labels, words and sound joined, oddities passed over, faults named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from tiny_corpus import corpus

from sadstream.base.errors import DataError
from train.corpora.readers.iemocap import read


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def release(pristine: Path, tmp_path: Path) -> Path:
    """A copy whose files may be damaged."""
    import shutil

    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


def test_every_utterance_is_read_with_its_words_and_place(release: Path) -> None:
    reading = read(release)
    one = next(row for row in reading.rows if row.utterance == "Ses01F_impro01_F001")

    assert (len(reading.rows), reading.problems) == (50, ())
    assert (one.speaker, one.gender, one.session, one.dialogue) == ("Ses01F", "F", 1, "Ses01F_impro01")
    assert (one.label, one.sad, one.split) == ("sad", 1, "train")
    assert one.transcript.endswith(".")
    assert soundfile.info(one.path).duration == pytest.approx(one.duration_s, abs=1e-3)


def test_the_speaker_is_the_letter_before_the_number(release: Path) -> None:
    """Ses01F names who wore the markers; a man speaks in it too."""
    speakers = {row.speaker for row in read(release).rows if row.dialogue == "Ses01F_impro01"}

    assert speakers == {"Ses01F", "Ses01M"}


def test_the_folder_above_the_release_will_do(release: Path) -> None:
    assert read(release.parent).rows == read(release).rows


def test_resource_forks_opinions_and_laughter_are_passed_over(release: Path) -> None:
    folder = release / "Session1" / "dialog"

    assert list(folder.rglob("._*.txt"))
    assert list(folder.rglob("*_cat.txt"))
    assert "M: [LAUGHTER]" in next((folder / "transcriptions").glob("Ses*.txt")).read_text()
    assert read(release).problems == ()


def wav(release: Path) -> Path:
    return release / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav"


def test_a_missing_recording_is_named_and_the_rest_is_kept(release: Path) -> None:
    wav(release).unlink()
    reading = read(release)

    assert len(reading.rows) == 49
    assert reading.problems == (f"Ses01F_impro01_F001: no recording at {wav(release)}; left out",)


@pytest.mark.parametrize("content", [b"", b"not a recording"], ids=["empty", "text"])
def test_a_broken_recording_is_named_and_the_rest_is_kept(release: Path, content: bytes) -> None:
    wav(release).write_bytes(content)
    reading = read(release)

    assert len(reading.rows) == 49
    assert "not a recording (" in reading.problems[0]
    assert reading.problems[0].endswith("; left out")


def test_a_transcript_without_a_label_is_left_out(release: Path) -> None:
    path = release / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "_F002" not in line))
    reading = read(release)

    assert len(reading.rows) == 49
    assert reading.problems == ("Ses02F_impro01_F002: a transcript without a label; left out",)


def test_a_label_without_a_transcript_is_kept_without_words(release: Path) -> None:
    path = release / "Session2/dialog/transcriptions/Ses02F_impro01.txt"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "_F002" not in line))
    reading = read(release)

    assert len(reading.rows) == 50
    assert reading.problems == ("Ses02F_impro01_F002: a label without a transcript; kept without words",)
    assert next(r for r in reading.rows if r.utterance == "Ses02F_impro01_F002").transcript == ""


def test_an_utterance_in_another_sessions_folder_is_named(release: Path) -> None:
    path = release / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    path.write_text(path.read_text().replace("Ses02F_impro01_F002", "Ses03F_impro01_F002"))

    assert any("stands in Session2: expected session 3" in problem for problem in read(release).problems)


def test_a_folder_that_is_not_the_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not IEMOCAP: expected the release"):
        read(tmp_path)
    with pytest.raises(DataError, match="not IEMOCAP"):
        read(tmp_path / "nowhere")


def test_an_empty_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Session1").mkdir()

    with pytest.raises(DataError, match="no utterance in it"):
        read(tmp_path)


def in_capitals(release: Path) -> Path:
    """As it comes by way of another system: every name in capitals but those that the labels hold."""
    for path in sorted(release.rglob("*"), key=lambda path: -len(path.parts)):
        keep = path.parent.name == "wav" or path.suffix == ".wav"
        path.rename(path.with_suffix(path.suffix.upper()) if keep else path.with_name(path.name.upper()))
    return release


def wrapped(release: Path) -> Path:
    """Each session's zip, and the whole one, unpacked into a folder of its own name."""
    outer = release.parent / "a" / "IEMOCAP_full_release" / "IEMOCAP_full_release"
    for session in sorted(release.iterdir()):
        (outer / session.name).mkdir(parents=True)
        session.rename(outer / session.name / session.name)
    return release.parent / "a"


def with_forks(release: Path) -> Path:
    for path in list(release.rglob("*.wav")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    return release


@pytest.mark.parametrize("change", [in_capitals, wrapped, with_forks])
def test_copies_that_travelled_are_read_like_the_original(
    release: Path, pristine: Path, change: Callable[[Path], Path]
) -> None:
    expected = {(row.utterance, row.label, row.transcript) for row in read(pristine).rows}
    reading = read(change(release))

    assert {(row.utterance, row.label, row.transcript) for row in reading.rows} == expected
    assert reading.problems == ()


@pytest.mark.parametrize("part", ["sentences/wav", "dialog/EmoEvaluation", "dialog/transcriptions"])
def test_a_part_that_is_missing_is_named_with_where_it_was_looked_for(release: Path, part: str) -> None:
    import shutil

    for session in range(1, 6):
        shutil.rmtree(release / f"Session{session}" / part)
    try:
        said = " ".join(read(release).problems)
    except DataError as error:
        said = str(error)

    assert f"{release}/Session1/{part}: no such folder" in said
