"""Some seconds of a person's speech come to an embedding in a file of the owner's own, and to nothing else."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSource, quiet, spoken, talk
from numpy.typing import NDArray

from sadstream.audio.hearing import SpeechProgress
from sadstream.base.errors import ConfigError, DataError, UnavailableError, UsageError
from sadstream.base.samples import to_pcm
from sadstream.config import Config, parse
from sadstream.scoring.speakers import enrolment as module
from sadstream.scoring.speakers.enrolled import EnrolledSpeaker, check_name, read_enrolled, write_enrolled
from sadstream.scoring.speakers.enrolment import enroll
from sadstream.scoring.speakers.gate import speakers_folder


class FakeEncoder:
    """Every voice is the same."""

    identity = "e" * 64

    def __init__(self, directory: Path) -> None:
        assert directory == Path("speaker-resemblyzer")

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        assert 0 < samples.size <= 48_000
        return np.array([0.6, 0.8], dtype=np.float32)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SpeakerEncoder", FakeEncoder)
    monkeypatch.setattr(module, "SpeechGate", lambda: lambda _: 0.9)
    monkeypatch.setattr(module, "locate", lambda name, kind: Path(f"{kind}-{name}"))


def heard(turns: int, wanted_s: float = 20.0) -> tuple[list[SpeechProgress], EnrolledSpeaker]:
    source = FakeSource(spoken(to_pcm(talk(turns)) + to_pcm(quiet(1.0))), live=False)
    *progress, person = enroll("anna", source, Config(), wanted_s)
    assert isinstance(person, EnrolledSpeaker)
    return [one for one in progress if isinstance(one, SpeechProgress)], person


@pytest.mark.usefixtures("fakes")
def test_it_ends_when_enough_was_said(tmp_path: Path) -> None:
    progress, person = heard(30)

    assert 20.0 <= person.speech_s < 24.0
    assert person.segments == len(progress)
    assert person.voice == (0.6, 0.8)


@pytest.mark.usefixtures("fakes")
def test_too_little_is_refused() -> None:
    with pytest.raises(DataError, match="expected at least 10 s"):
        heard(2)


@pytest.mark.usefixtures("fakes")
def test_what_holds_no_speech_is_not_the_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SpeechGate", lambda: lambda _: 0.3)

    with pytest.raises(DataError, match="0 s of speech"):
        heard(30)


@pytest.mark.usefixtures("fakes")
def test_the_file_holds_numbers_only_and_is_the_owners(tmp_path: Path) -> None:
    _, person = heard(30)
    path = write_enrolled(tmp_path / "speakers", person)

    assert set(json.loads(path.read_text())) == {"format", "name", "encoder", "segments", "speech_s", "voice"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_enrolled(tmp_path / "speakers", "anna", FakeEncoder.identity) == person


@pytest.mark.usefixtures("fakes")
def test_a_voice_that_cannot_be_used_is_one_line_with_what_to_do(tmp_path: Path) -> None:
    write_enrolled(tmp_path, heard(30)[1])
    (tmp_path / "bob.json").write_text("{}")

    with pytest.raises(ConfigError, match=r"run `sadstream enroll carl`"):
        read_enrolled(tmp_path, "carl", FakeEncoder.identity)
    with pytest.raises(UnavailableError, match=r"bob\.json: not an enrolled voice"):
        read_enrolled(tmp_path, "bob", FakeEncoder.identity)
    with pytest.raises(ConfigError, match="enrolled with encoder eeeeeeeeeeee, found ffffffffffff"):
        read_enrolled(tmp_path, "anna", "f" * 64)


@pytest.mark.parametrize("name", ["", "Anna", "a/b", "x" * 33])
def test_a_name_is_a_file_and_a_word_in_the_configuration(name: str) -> None:
    with pytest.raises(UsageError, match="expected 1 to 32"):
        check_name(name)
    with pytest.raises(ConfigError, match="voice"):
        parse({"voice": {"only": [name]}}, "test")


def test_the_daemon_looks_where_people_are_written(tmp_path: Path) -> None:
    assert speakers_folder(parse({"voice": {"speakers": str(tmp_path)}}, "test")) == tmp_path
    assert speakers_folder(Config()).name == "speakers"
