"""One channel out of several: never cancelled, never drowned, the same for any cut, and it says what it leaves out."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import quiet, talk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadstream.audio.filters.framing import Resampler
from sadstream.audio.filters.mixer import Mixer
from sadstream.audio.sources.recording import Recording
from sadstream.audio.sources.source import SourceChange
from sadstream.base.errors import ConfigError, DataError
from sadstream.base.samples import SAMPLE_RATE
from train.corpora.clips import read_audio

Samples = NDArray[np.float32]
SPEECH = talk(3).astype(np.float32)
NOISE = (np.random.default_rng(0).standard_normal(SPEECH.size) * 0.25).astype(np.float32)
HUM = sum(0.2 / k * np.sin(2 * np.pi * 50 * k * np.arange(SPEECH.size) / SAMPLE_RATE) for k in (1, 2, 3))
DEAD = np.zeros_like(SPEECH)


def mixed(*channels: Samples) -> tuple[Samples, frozenset[int]]:
    mixer = Mixer(SAMPLE_RATE, len(channels))
    return mixer.feed(np.stack(channels, axis=1).astype(np.float32), last=True), mixer.left_out


def likeness(found: Samples) -> float:
    """Correlation with the speech, behind the first second."""
    return float(np.corrcoef(found[SAMPLE_RATE:], SPEECH[SAMPLE_RATE:])[0, 1])


def test_equal_channels_come_to_their_mean_bit_for_bit() -> None:
    other = np.roll(SPEECH, 3) * np.float32(0.7)

    found, left_out = mixed(SPEECH, other)

    assert np.array_equal(found, np.stack([SPEECH, other], axis=1).mean(axis=1))
    assert left_out == frozenset()


@pytest.mark.parametrize(
    ("channels", "left_out"),
    [
        ((SPEECH, -SPEECH), {2}),
        ((SPEECH, -0.8 * SPEECH + 0.01 * NOISE), {2}),
        ((SPEECH, SPEECH, -SPEECH), {3}),
        ((DEAD, SPEECH), {1}),
        ((SPEECH, DEAD + np.float32(0.1)), {2}),
        ((NOISE, SPEECH), {1}),
        ((SPEECH, NOISE * 0.1), {2}),
        ((HUM, SPEECH), {1}),
        ((SPEECH, SPEECH / 2, SPEECH / 2, SPEECH / 2, NOISE, NOISE[::-1]), {5, 6}),
    ],
    ids=["inverted", "partly inverted", "one of three inverted", "dead", "only an offset", "noise 12 dB louder",
         "noise below it", "hum", "six of which two are noise"],
)  # fmt: skip
def test_speech_is_neither_cancelled_nor_drowned(channels: tuple[Samples, ...], left_out: set[int]) -> None:
    found, without = mixed(*channels)

    assert without == left_out
    assert likeness(found) > 0.97


def test_two_people_with_a_microphone_each_are_both_heard(scene: Path) -> None:
    pause = quiet(9.0)
    said = read_audio(scene)[: pause.size]
    first, second = np.concatenate([said, pause]), np.concatenate([pause, said])

    found, left_out = mixed(first, second)

    assert left_out == frozenset()
    assert np.square(found[: said.size]).mean() == pytest.approx(np.square(found[said.size :]).mean(), rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
def test_any_cutting_gives_the_same_samples(cuts: list[int]) -> None:
    channels = np.stack([SPEECH, -SPEECH, NOISE], axis=1)[:40_000]
    expected = Mixer(44_100, 3).feed(channels, last=True)

    mixer, found, rest = Mixer(44_100, 3), [], channels
    for size in cuts:
        found.append(mixer.feed(rest[:size]))
        rest = rest[size:]
    found.append(mixer.feed(rest, last=True))

    assert np.array_equal(np.concatenate(found), expected)


def test_a_channel_of_ones_own_choice_is_heard_alone() -> None:
    stereo = np.stack([SPEECH, NOISE], axis=1)

    chosen = Resampler(SAMPLE_RATE, 2, 2).feed(stereo)

    assert chosen == Resampler(SAMPLE_RATE, 1).feed(NOISE)
    with pytest.raises(ConfigError, match="channel = 3: expected mix or 1 to 2"):
        Resampler(SAMPLE_RATE, 2, 3)


def test_a_recording_says_which_channel_it_does_without(tmp_path: Path) -> None:
    path = tmp_path / "inverted.wav"
    soundfile.write(path, np.stack([SPEECH, -SPEECH], axis=1), SAMPLE_RATE)
    recording = Recording(path)

    said = [item.detail for item in recording.listen(lambda: False) if isinstance(item, SourceChange)]

    assert said == ["inverted.wav", "left out of the mix (dead, opposed or only noise): channel 2"]
    assert recording.without_s[2] == pytest.approx(recording.duration_s)
    with pytest.raises(DataError, match="channel = 3: expected mix or 1 to 2"):
        Recording(path, 3)
