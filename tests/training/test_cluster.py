"""What a machine of a cluster says where it does not see what the command sees; the runs themselves: test_share.py."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_corpus import prepared

from sadstream.base.errors import DataError, UnavailableError, UsageError
from train.corpora.manifest import write
from train.presets import run_config
from train.training.cluster import ClusterChoice, RunTask, shared_place
from train.training.launch import PlannedRun, ProcessShare


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("cluster"))


def test_what_a_killed_command_left_behind_goes_with_the_next_and_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / ".seen-by-all-dead").touch()
    with shared_place(tmp_path) as other:
        with shared_place(tmp_path) as place:
            place.enter()
            assert place.proof != other.proof
        assert list(tmp_path.iterdir()) == [other.proof]
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_sees_another_folder_or_has_another_version_says_so(tmp_path: Path) -> None:
    with shared_place(tmp_path / "out") as place:
        place.enter()
        with pytest.raises(UnavailableError, match=r"0\.0\.9 where the command runs; install the same"):
            replace(place, version="0.0.9").enter()
        place.proof.rename(tmp_path / "elsewhere")
        with pytest.raises(
            UnavailableError, match=r"out: not the folder that the command sees; all machines must mount"
        ):
            place.enter()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_machine_without_the_corpus_says_so_and_another_manifest_is_not_learned_from(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    path, gone = tmp_path / "manifest.csv", tmp_path / "gone.wav"
    manifest = write(path, [replace(row, path=str(gone)) for row in made.manifest.rows])
    config = run_config(made.preset, "cnn", str(path), allow_partial=True)
    with shared_place(tmp_path) as place:
        task = RunTask(
            planned=PlannedRun(tmp_path / "run", config),
            manifest=manifest.sha256,
            cache=tmp_path / "cache",
            device="cpu",
            threads=1,
            amp=False,
            place=place,
        )
        with pytest.raises(
            UnavailableError, match=r"gone\.wav: not there; the corpus must lie at the same path on every"
        ):
            task()
        with pytest.raises(DataError, match="changed while the runs were done"):
            replace(task, manifest="0" * 64)()
    assert not (tmp_path / "run").exists()


def test_shares_and_a_cluster_do_not_go_together() -> None:
    assert ClusterChoice.asked(False, None, None, ProcessShare.asked("0/2")) is None
    with pytest.raises(UsageError, match="--token t: opens a cluster; add --cluster"):
        ClusterChoice.asked(False, None, Path("t"), ProcessShare())
    for share in (ProcessShare.asked("0/1"), ProcessShare(1, 2)):
        with pytest.raises(UsageError, match="leave --share and torchrun away"):
            ClusterChoice.asked(True, None, None, share)
