"""A gate that knows speech: open for voices at any level, shut for noise; its weights are what they claim."""

from pathlib import Path

import numpy as np
import pytest
from fakes import quiet

from sadstream.audio import silero as speech
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.silero import STRETCH, SpeechGate, best_stretch
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import SEGMENT_SAMPLES, AudioFrame
from sadstream.cli.demo.play import scene_path
from sadstream.config.tables import GateConfig, SegmentConfig, VadConfig

LEAST = GateConfig().speech


@pytest.fixture(scope="module")
def gate() -> SpeechGate:
    return SpeechGate()


@pytest.fixture(scope="module")
def cut() -> list[Segment]:
    """What the segmenter cuts from the scene: eight utterances and a fan."""
    segmenter = Segmenter(VadConfig(), SegmentConfig())
    items = Recording(scene_path()).listen(lambda: False)
    found = [segment for item in items if isinstance(item, AudioFrame) for segment in segmenter.feed(item)]
    return found + segmenter.flush()


def test_the_scenes_fan_is_cut_by_the_detector_and_stopped_by_the_gate(gate: SpeechGate, cut: list[Segment]) -> None:
    stopped = [segment for segment in cut if gate(segment.samples) < LEAST]

    assert len(cut) == 9
    assert [round(segment.t_start) for segment in stopped] == [13]


@pytest.mark.parametrize("gain_db", [-25.0, 0.0, 15.0])
def test_a_voice_passes_at_any_level(gate: SpeechGate, cut: list[Segment], gain_db: float) -> None:
    voices = [segment.samples for segment in cut if round(segment.t_start) != 13]

    for samples in voices:
        assert gate(np.clip(samples * np.float32(10 ** (gain_db / 20)), -1, 1)) > 0.5


@pytest.mark.parametrize("level_dbfs", [-50.0, -40.0, -30.0])
@pytest.mark.parametrize("kind", ["white", "pink", "hum", "clicks", "silence"])
def test_what_is_made_without_a_voice_is_stopped(gate: SpeechGate, kind: str, level_dbfs: float) -> None:
    rng = np.random.default_rng(0)
    n = SEGMENT_SAMPLES
    time_s = np.arange(n) / 16_000
    sound = {
        "white": rng.standard_normal(n),
        "pink": np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / np.sqrt(np.maximum(1, np.arange(n // 2 + 1))), n),
        "hum": sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in range(1, 8)),
        "clicks": (rng.random(n) < 0.0005) * rng.standard_normal(n),
        "silence": quiet(3.0),
    }[kind]
    scaled = sound / np.sqrt(np.mean(np.square(sound))) * 10 ** (level_dbfs / 20)

    assert gate(np.clip(scaled, -1, 1).astype(np.float32)) < LEAST


def test_the_best_128_ms_decide() -> None:
    shy, short = np.zeros(94, np.float32), np.zeros(94, np.float32)
    shy[40 : 40 + STRETCH] = 0.6
    short[40] = 1.0

    assert best_stretch(shy) == pytest.approx(0.6)
    assert best_stretch(short) == pytest.approx(1 / STRETCH)


def test_a_probability_that_is_not_a_number_is_no_speech() -> None:
    broken = np.ones(94, np.float32)
    broken[3] = np.nan

    assert best_stretch(broken) == 0.0


def test_other_weights_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / speech.PACKAGE
    (package / speech.WEIGHTS).parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / speech.WEIGHTS).write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(UnavailableError, match=r"expected SHA-256 c59271c284ae, found"):
        SpeechGate()


def test_no_weights_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "PACKAGE", "silero_vad_that_is_not_there")

    with pytest.raises(UnavailableError, match="silero-vad is not installed"):
        SpeechGate()
