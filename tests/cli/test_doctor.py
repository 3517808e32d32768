"""The doctor tests each part for real and names the cure."""

import sys

import pytest
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

    assert doctor.examine(only="voice activity detection") == 69
    assert "pip install webrtcvad-wheels" in capsys.readouterr().out


def test_a_room_without_models_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("torch", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)

    assert [doctor.examine(only=name) for name in ("torch", "CUDA", "voice activity detection")] == [0, 0, 0]
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["absent", "absent", "ok"]
    assert "pip install ." in said[0]


def test_an_unknown_part_is_a_wrong_command_line() -> None:
    with pytest.raises(UsageError, match="expected one of"):
        doctor.examine(only="everything")


def test_who_makes_the_log_mels_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.examine(only="log-Mel") == 0
    assert "log-Mel: (94, 128) by torchaudio" in capsys.readouterr().out


def test_which_linear_layers_compute_is_said(layers: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.examine(only="torch") == 0
    assert ("packed float16 layers" if layers == "packed" else "thread(s), float32 layers") in capsys.readouterr().out
