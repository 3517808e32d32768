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

    assert doctor.examine(fix=False, only="voice activity detection") == 69
    assert "pip install webrtcvad-wheels" in capsys.readouterr().out


def test_an_unknown_part_is_a_wrong_command_line() -> None:
    with pytest.raises(UsageError, match="expected one of"):
        doctor.examine(fix=False, only="everything")


def test_after_mending_torchaudio_is_imported_with_and_without_cuda() -> None:
    doctor.mend_torchaudio()
    assert not doctor.mend_torchaudio()  # nothing is left to mend

    import torchaudio

    assert torchaudio.__version__
