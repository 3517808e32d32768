"""A microphone of several channels: its mix cancels and drowns nothing, one is heard alone, too few are said."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from fakes import talk
from microphone import missing, virtual_microphone
from numpy.typing import NDArray

from sadstream.audio.sources.capture import CaptureRequest, Device, counts
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import to_float, to_pcm

REPEATS = 4
SPEECH = talk(1).astype(np.float32)
DEAD = np.zeros_like(SPEECH)
NOISE = (np.random.default_rng(0).standard_normal(SPEECH.size) * 0.25).astype(np.float32)
SERVER = Device(4, "pulse", "ALSA", 32, 44_100.0, default=True)
STEREO = Device(0, "Yeti", "ALSA", 2, 48_000.0, default=False)
MONO = Device(1, "Headset", "ALSA", 1, 48_000.0, default=False)


@pytest.mark.parametrize(
    ("device", "wanted", "first"),
    [
        (MONO, CaptureRequest(), 1),
        (STEREO, CaptureRequest(), 2),
        (STEREO, CaptureRequest(channel=2), 2),
        (SERVER, CaptureRequest(), 2),
        (SERVER, CaptureRequest(channel=3), 8),
        (SERVER, CaptureRequest(channel=12), 12),
        (SERVER, CaptureRequest(channels=4), 4),
    ],
)
def test_a_card_is_opened_with_all_that_it_has_and_a_sound_server_with_what_is_asked_of_it(
    device: Device, wanted: CaptureRequest, first: int
) -> None:
    assert counts(device, wanted)[0] == first


def test_a_channel_that_a_microphone_does_not_have_is_said() -> None:
    with pytest.raises(UnavailableError, match=r"'Yeti' has 2 channel\(s\): expected 3.* stream.channel = 3"):
        counts(STEREO, CaptureRequest(channel=3))


@pytest.mark.skipif(missing() is not None, reason=f"no virtual microphone: {missing()} is missing")
@pytest.mark.parametrize(
    ("channels", "options", "said"),
    [
        ((SPEECH, -SPEECH), (), "mix: 2"),
        ((NOISE, SPEECH), (), "mix: 1"),
        ((NOISE, NOISE, SPEECH, NOISE), ("--channel=3",), ""),
        ((NOISE, DEAD, DEAD, SPEECH), ("--channels=4",), "mix: 1 2 3"),
    ],
    ids=["inverted", "noise beside speech", "the third of four", "the mix of four"],
)  # fmt: skip
def test_speech_in_one_channel_of_a_real_sound_server_is_heard(
    channels: tuple[NDArray[np.float32], ...], options: tuple[str, ...], said: str
) -> None:
    """All channels sound before they are listened to, as they do in a room."""
    sound = np.tile(np.stack(channels, axis=1), (REPEATS, 1))
    with virtual_microphone(len(channels)) as microphone:
        player = threading.Thread(target=microphone.play, args=[to_pcm(sound.reshape(-1))])
        player.start()
        capture = subprocess.Popen(
            [sys.executable, "-m", "sadstream.audio.sources.capture", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=microphone.environment,
        )
        assert capture.stdout is not None
        heard = capture.stdout.read(2 * 2 * SPEECH.size)
        capture.kill()
        lines = capture.communicate()[1].decode().splitlines()
        player.join()

    assert [line for line in lines if line == said] or not said, lines
    assert loudest_likeness(to_float(heard)) > 0.9


def loudest_likeness(heard: NDArray[np.float32]) -> float:
    """The best correlation of the speech's last two thirds with any part of what was heard."""
    wanted = SPEECH[SPEECH.size // 3 :]
    size = 1 << (heard.size + wanted.size).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)[: heard.size]
    at = min(int(product.argmax()), heard.size - wanted.size)
    return float(np.corrcoef(heard[at : at + wanted.size], wanted)[0, 1])
