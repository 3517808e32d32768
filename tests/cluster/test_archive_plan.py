"""What an archive holds, and which of its scores stand."""

import os
from pathlib import Path

import pytest
from archiving import cuts

from sadstream.base.errors import BusyError, UsageError
from sadstream.cluster.archive.plan import ArchivedRecording, FailedRecording, expect_ours, find, sha256_of, standing
from sadstream.cluster.archive.score_file import ScoreHead, read_head, rendered, run_of

DIGEST = "0" * 64


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(*paths: Path, out: Path = Path("nowhere")) -> list[str]:
    return [recording.file for recording in find(paths, out).recordings]


def scored(recording: ArchivedRecording, digest: str = DIGEST, **changes: object) -> ScoreHead:
    """Write scores of what the recording holds now."""
    sha256 = sha256_of(recording.path)
    head = ScoreHead(recording.file, run_of(digest, sha256), sha256, recording.bytes, 1.0, 1)
    recording.target.parent.mkdir(parents=True, exist_ok=True)
    recording.target.write_bytes(rendered(head, ('{"type":"score"}',)))
    return head


@pytest.fixture
def recording(tmp_path: Path) -> ArchivedRecording:
    (tmp_path / "a.wav").write_bytes(b"sound")
    (found,) = find([tmp_path], tmp_path / "scores").recordings
    return found


def test_recordings_come_in_the_order_of_the_input_and_of_their_names(tmp_path: Path) -> None:
    for name in ("b/2.wav", "b/10.wav", "a.wav", "b/c/1.flac", "Z.mp3"):
        touched(tmp_path / "in" / name)
    last = touched(tmp_path / "z.wav")

    assert names(last, tmp_path / "in") == ["z.wav", "Z.mp3", "a.wav", "b/10.wav", "b/2.wav", "b/c/1.flac"]


def test_a_recording_is_one_by_what_it_holds_or_is_called(tmp_path: Path) -> None:
    (path,) = cuts(tmp_path, (0, 1))
    path.rename(tmp_path / "dictation")
    for name in ("letter.txt", "empty.wav", ".hidden.wav", "._a.wav", ".git/b.wav"):
        touched(tmp_path / name)
    found = find([tmp_path], tmp_path / "scores")

    assert [one.file for one in found.recordings] == ["dictation", "empty.wav"]
    assert found.others == 1


def test_what_was_written_before_is_no_recording(tmp_path: Path) -> None:
    touched(tmp_path / "a.wav")
    touched(tmp_path / "scores/b.wav")

    assert names(tmp_path, out=tmp_path / "scores") == ["a.wav"]


def test_links_are_followed_and_a_loop_of_them_ends(tmp_path: Path) -> None:
    touched(tmp_path / "far/a.wav")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/near").symlink_to(tmp_path / "far")
    (tmp_path / "far/back").symlink_to(tmp_path / "in")

    assert names(tmp_path / "in") == ["near/a.wav"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = find([tmp_path / "gone.wav", tmp_path / "pipe"], tmp_path / "scores")

    assert [(one.file, one.code) for one in found.failed] == [("gone.wav", 66), ("pipe", 66)]


def test_a_name_without_room_for_its_scores_is_named(tmp_path: Path) -> None:
    (failed,) = find([touched(tmp_path / f"{'x' * 247}.wav")], tmp_path / "scores").failed

    assert isinstance(failed, FailedRecording)
    assert "rename" in failed.line


def test_two_recordings_never_share_a_file_of_scores(tmp_path: Path) -> None:
    one, other = touched(tmp_path / "1/a.wav"), touched(tmp_path / "2/a.wav")

    with pytest.raises(UsageError, match=r"give each an --out"):
        find([one, other.parent], tmp_path)
    assert names(one, one.parent, one) == ["a.wav"]


def test_scores_stand_that_agree(recording: ArchivedRecording) -> None:
    head = scored(recording)

    assert standing(recording, DIGEST) == head == read_head(recording.target)


def test_scores_of_another_ear_do_not_stand(recording: ArchivedRecording) -> None:
    scored(recording, digest="1" * 64)

    assert standing(recording, DIGEST) is None


def test_a_recording_of_other_content_is_scored_again_whatever_its_times_say(recording: ArchivedRecording) -> None:
    scored(recording)
    status = recording.path.stat()
    recording.path.write_bytes(b"SOUND")
    os.utime(recording.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert standing(recording, DIGEST) is None


def test_a_recording_that_was_copied_is_read_once_and_stands(recording: ArchivedRecording) -> None:
    head = scored(recording)
    recording.path.write_bytes(b"sound")

    assert standing(recording, DIGEST) == head
    status = recording.path.stat()
    assert recording.target.stat().st_mtime_ns >= max(status.st_mtime_ns, status.st_ctime_ns)


@pytest.mark.parametrize("damage", [b"", b"x\n", b'{"type":"score","v":1}\n', b"[]\n", b"\xff\n"])
def test_a_damaged_file_of_scores_does_not_stand(recording: ArchivedRecording, damage: bytes) -> None:
    scored(recording)
    recording.target.write_bytes(damage)

    assert standing(recording, DIGEST) is None


def test_a_file_of_scores_cut_short_does_not_stand(recording: ArchivedRecording) -> None:
    scored(recording)
    recording.target.write_bytes(recording.target.read_bytes().splitlines(keepends=True)[0])

    assert standing(recording, DIGEST) is None


def test_what_somebody_else_made_is_in_the_way(recording: ArchivedRecording) -> None:
    touched(recording.target)
    with pytest.raises(BusyError, match="made by something else"):
        expect_ours([recording])
    scored(recording)

    expect_ours([recording])
