"""The doctor tests each part for real and names the cure."""

import sys
from pathlib import Path

import pytest
import torch
from daemon import run

from sadstream.base.errors import UsageError
from sadstream.cli.setup import doctor


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_on_this_machine_everything_needed_works() -> None:
    done = run("doctor")

    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("FAULT")] == []
    assert len(done.stdout.splitlines()) == len(doctor.CHECKS)


def test_a_missing_library_is_a_fault_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", None)

    assert doctor.examine(fix=False, only="voice activity detection") == 69
    assert "pip install webrtcvad-wheels" in capsys.readouterr().out


def test_a_room_without_models_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("torch", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)

    assert [doctor.examine(fix=False, only=name) for name in ("torch", "CUDA", "voice activity detection")] == [0, 0, 0]
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["absent", "absent", "ok"]
    assert "pip install ." in said[0]


def test_an_unknown_part_is_a_wrong_command_line() -> None:
    with pytest.raises(UsageError, match="expected one of"):
        doctor.examine(fix=False, only="everything")


def test_after_mending_torchaudio_is_imported_with_and_without_cuda() -> None:
    doctor.mend_torchaudio()
    assert not doctor.mend_torchaudio()  # nothing is left to mend

    import torchaudio

    assert torchaudio.__version__


@pytest.mark.parametrize(
    "name", ["_torchaudio.abi3.so", "_torchaudio.so", "_torchaudio.cpython-313-x86_64-linux-gnu.so"]
)
def test_whatever_the_library_is_called_it_is_put_aside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = tmp_path / "torchaudio/lib"
    lib.mkdir(parents=True)
    (tmp_path / "torchaudio/__init__.py").touch()
    for each in (name, "libtorchaudio.so"):
        (lib / each).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr(torch.version, "cuda", None)

    assert doctor.mend_torchaudio()
    assert {path.name for path in lib.iterdir()} == {name + doctor.DISABLED, "libtorchaudio.so"}
