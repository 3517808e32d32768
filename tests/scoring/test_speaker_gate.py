"""Only who is asked for is scored; others are counted, and leave no hole."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import analysis
from numpy.typing import NDArray

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.base.errors import ConfigError, UnavailableError
from sadstream.config import Config, parse
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.speakers import gate as module
from sadstream.scoring.speakers.enrolled import EnrolledSpeaker, write_enrolled
from sadstream.scoring.speakers.gate import SpeakerGate


class ByLoudness:
    """Two voices that differ in loudness alone."""

    identity = "e" * 64

    def __init__(self, _: Path) -> None: ...

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        loud = float(np.abs(samples).max()) > 0.1
        return np.array([1.0, 0.0] if loud else [0.0, 1.0], dtype=np.float32)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Anna is loud, and the only one who is scored."""
    monkeypatch.setattr(module, "SpeakerEncoder", ByLoudness)
    monkeypatch.setattr(module, "locate", lambda name, kind: Path(f"{kind}-{name}"))
    anna = EnrolledSpeaker(name="anna", encoder="e" * 64, segments=3, speech_s=9.0, voice=(1.0, 0.0))
    write_enrolled(tmp_path, anna)
    return parse({"voice": {"only": ["anna"], "speakers": str(tmp_path)}}, "test")


def of_level(level: float) -> Segment:
    return Segment(0, np.full(48_000, level, np.float32), t_start=0.0, t_end=3.0, voiced=1.0, arrived_s=0.0)


def test_a_known_voice_is_known_and_another_is_not(settings: Config) -> None:
    people = SpeakerGate(settings)

    assert people.who(of_level(0.5)) == "anna"
    assert people.who(of_level(0.01)) is None


def test_whoever_was_never_enrolled_cannot_be_asked_for(settings: Config, tmp_path: Path) -> None:
    unknown = parse({"voice": {"only": ["anna", "bob"], "speakers": str(tmp_path)}}, "test")

    with pytest.raises(ConfigError, match=r"bob\.json: no such file"):
        SpeakerGate(unknown)


def test_a_print_that_is_none_is_refused(settings: Config, tmp_path: Path) -> None:
    path = tmp_path / "anna.json"
    sound = path.read_text()
    for numbers in ("1e300, 0.0", "0.0, 0.0", "0.5, 0.5"):
        path.write_text(re.sub(r"1\.0,\s*0\.0", numbers, sound))
        with pytest.raises(UnavailableError, match="not an enrolled voice"):
            SpeakerGate(settings)


def test_a_print_of_another_length_is_refused_before_anybody_speaks(settings: Config, tmp_path: Path) -> None:
    """The analyser's warm-up asks of a dummy segment whose it is."""
    path = tmp_path / "anna.json"
    path.write_text(re.sub(r"1\.0,\s*0\.0", "1.0, 0.0, 0.0", path.read_text()))

    with pytest.raises(UnavailableError, match="an embedding of 3 numbers, expected 2"):
        SpeakerGate(settings).who(of_level(0.01))


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_a_stranger_is_neither_transcribed_nor_scored(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    analyzer = Analyzer(replace(load_models(settings), speech_gate=lambda _: 0.9))
    monkeypatch.setattr(analyzer, "_score", lambda batch, early: [analysis(one) for one in batch.segments])
    answers = analyzer.many([of_level(0.01), of_level(0.5), of_level(0.02)])

    assert [isinstance(answer, UnscoredSegment) and answer.stranger for answer in answers] == [True, False, True]
    assert isinstance(answers[1], Analysis)
    assert answers[1].person == "anna"
