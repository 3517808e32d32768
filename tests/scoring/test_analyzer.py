"""A segment's score is its own, in whatever company it is analysed, and early what the sound alone comes to."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.recording import Recording
from sadstream.base.samples import AudioFrame
from sadstream.cli.demo.play import scene_path
from sadstream.config import Config
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models, settle
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.locate import locate

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("real_models")]


@pytest.fixture(scope="module")
def analyzer(real_models: None, layers: str) -> Analyzer:
    return Analyzer(load_models(Config()))


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    """The scene's, and one in the middle in which nobody speaks."""
    segmenter = Segmenter(VadConfig(), SegmentConfig())
    items = Recording(scene_path()).listen(lambda: False)
    found = [segment for item in items if isinstance(item, AudioFrame) for segment in segmenter.feed(item)][:4]
    return [*found[:2], Segment(9, np.zeros(48_000, dtype=np.float32), 0.0, 3.0, 1.0, 0.0), *found[2:]]


def test_a_batch_is_scored_like_its_members(analyzer: Analyzer, segments: list[Segment]) -> None:
    """To 1e-4 in each part, the words to the letter, and who does not speak stays out of it."""
    together, alone = analyzer.many(segments), [analyzer(segment) for segment in segments]

    assert [isinstance(answer, UnscoredSegment) for answer in together] == [False, False, True, False, False]
    for found, expected in zip(together, alone, strict=True):
        if isinstance(found, Analysis) and isinstance(expected, Analysis):
            assert found.transcript.text == expected.transcript.text
            assert found.transcript.reason == expected.transcript.reason
            assert found.audio_logit == pytest.approx(expected.audio_logit, abs=1e-4)
            assert found.text_logit == pytest.approx(expected.text_logit, abs=1e-4)


def test_the_text_s_time_is_read_once_the_device_is_done(
    analyzer: Analyzer, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a GPU's work on words would count as the fusion model's, which waits for it."""
    asked: list[str] = []

    def settle(device: str) -> None:
        asked.append(device)
        time.sleep(0.3)

    monkeypatch.setattr("sadstream.scoring.analyzer.analyzer.settle", settle)
    answer = analyzer(segments[0])

    assert asked == ["cpu"]
    assert isinstance(answer, Analysis)
    assert answer.text_ms >= 300
    assert answer.fusion_ms < 300


def test_only_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda: waits.append(1))
    settle("cpu")
    assert waits == []
    settle("cuda")

    assert waits == [1]


def test_the_sound_alone_comes_first_and_its_part_is_the_last_words_too(
    analyzer: Analyzer, segments: list[Segment]
) -> None:
    early: dict[int, Analysis] = {}
    final = analyzer.many(segments, early.__setitem__)

    assert sorted(early) == [0, 1, 3, 4]
    for number, first in early.items():
        last = final[number]
        assert isinstance(last, Analysis)
        assert first.provisional
        assert not last.provisional
        assert (first.text_logit, first.transcript.kept) == (0.0, False)
        assert first.audio_logit == pytest.approx(last.audio_logit, abs=1e-4)
        assert math.log(first.p_sad / (1 - first.p_sad)) == pytest.approx(
            first.bias_logit + first.audio_logit, abs=1e-6
        )
        assert first.whisper_ms < last.whisper_ms


def trained_on(text: str, factor: float, path: Path, analyzer: Analyzer) -> Path:
    """The default checkpoint with a text part whose every training text was this one, as its export would be."""
    loaded = checkpoint.load(checkpoint.default_path())
    encoder = TextEncoder(locate("minilm", "text"), loaded.header.text, "cpu")
    with torch.inference_mode():
        weights = factor * encoder([text])
        mean = float((weights @ weights.T) / factor)
    loaded.fusion.text_out.weight = torch.nn.Parameter(weights.clone(), requires_grad=False)
    tuned = loaded.header.calibration.model_copy(update={"text_scale": 1.0, "text_shift": -mean, "text_cap": 20.0})
    checkpoint.save(path, loaded.fusion, loaded.header.model_copy(update={"calibration": tuned}))
    return path


@pytest.mark.parametrize(
    ("text", "factor", "says"),
    [("", 20.0, "to ordinary words"), ("", -5.0, "trained on empty words"), ("No!", 60.0, "to ordinary words")],
)
def test_a_text_part_that_was_trained_on_nothing_is_off_and_that_is_said(
    text: str,
    factor: float,
    says: str,
    tmp_path: Path,
    analyzer: Analyzer,
    segments: list[Segment],
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = trained_on(text, factor, tmp_path / "old.safetensors", analyzer)
    found = Analyzer(load_models(Config.model_validate({"model": {"checkpoint": str(made)}})))(segments[0])
    expected = analyzer(segments[0])

    assert isinstance(found, Analysis)
    assert isinstance(expected, Analysis)
    assert (found.text_logit, found.transcript.kept) == (0.0, False)
    assert found.audio_logit == pytest.approx(expected.audio_logit, abs=1e-3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert says in caplog.text
    assert "words are off" in caplog.text


def test_of_a_sound_text_part_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    Analyzer(load_models(Config()))

    assert caplog.records == []
