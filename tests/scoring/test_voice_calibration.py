"""A few minutes of ordinary speech come to one number, and to nothing else on the disk."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import FakeSource, analysis, quiet, spoken, talk

from sadstream.audio.hearing import SpeechProgress
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.base.errors import DataError
from sadstream.base.samples import to_pcm
from sadstream.config import Config, parse
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.fusion.checkpoint import default_path, load
from sadstream.scoring.mood import calibration as calibrate
from sadstream.scoring.mood.calibration import voice_path
from sadstream.scoring.mood.voice import VoiceBaseline, write_voice

Answer = Callable[[Segment], Analysis | UnscoredSegment]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Put an analyser in the place of the models."""

    def use(answer: Answer) -> None:
        def load_models(config: Config) -> SimpleNamespace:
            assert config.text.encoder == "off"  # the words of a calibration are nobody's business
            return SimpleNamespace(model_id=load(default_path()).sha256[:12])

        class Analyzer:
            def __init__(self, models: SimpleNamespace) -> None:
                self.models = models

            def __call__(self, segment: Segment) -> Analysis | UnscoredSegment:
                return answer(segment)

        monkeypatch.setattr(calibrate, "load_models", load_models)
        monkeypatch.setattr(calibrate, "Analyzer", Analyzer)

    return use


def heard(turns: int, wanted_s: float = 600.0) -> tuple[list[SpeechProgress], VoiceBaseline]:
    source = FakeSource(spoken(to_pcm(talk(turns)) + to_pcm(quiet(1.0))), live=False)
    *progress, voice = calibrate.calibrate(source, Config(), wanted_s)
    assert isinstance(voice, VoiceBaseline)
    return [one for one in progress if isinstance(one, SpeechProgress)], voice


def gloomy(segment: Segment) -> Analysis:
    return dataclasses.replace(analysis(segment), audio_logit=1.5, uncapped_logit=1.5)


def test_a_voice_that_sounds_sad_by_nature_gets_a_negative_offset(answers: Callable[[Answer], None]) -> None:
    answers(gloomy)
    progress, voice = heard(14)

    assert voice.segments == 14
    assert voice.typical == 1.5
    assert voice.offset_logit < -1.0
    assert [one.speech_s for one in progress] == sorted(one.speech_s for one in progress)


def test_it_ends_when_enough_was_said(answers: Callable[[Answer], None]) -> None:
    answers(gloomy)
    _, voice = heard(40, wanted_s=30.0)

    assert 30.0 <= voice.speech_s < 34.0


def test_noise_does_not_count_as_speech(answers: Callable[[Answer], None]) -> None:
    answers(lambda segment: UnscoredSegment(0.01) if segment.number % 2 else gloomy(segment))
    _, voice = heard(24)

    assert voice.segments == 12


def test_too_little_is_refused(answers: Callable[[Answer], None]) -> None:
    answers(gloomy)

    with pytest.raises(DataError, match="expected at least 10"):
        heard(3)


def test_the_file_holds_numbers_only(answers: Callable[[Answer], None], tmp_path: Path) -> None:
    answers(gloomy)
    _, voice = heard(14)
    write_voice(tmp_path / "voice.json", voice)
    kept = json.loads((tmp_path / "voice.json").read_text())

    assert set(kept) == {"format", "model", "segments", "speech_s", "typical", "offset_logit"}


def test_the_daemon_looks_where_calibrate_writes(tmp_path: Path) -> None:
    settings = parse({"voice": {"path": str(tmp_path / "me.json")}}, "test")

    assert voice_path(settings, None) == tmp_path / "me.json"
    assert voice_path(settings, tmp_path / "other.json") == tmp_path / "other.json"
