"""Audio over RTP on loopback: it is heard, its end is said, and it is heard again; no password is ever shown."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import talk

from sadstream.audio.sources.fifo import NamedPipe
from sadstream.audio.sources.network import NetworkSource, is_address, shown
from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.recording import Recording
from sadstream.audio.sources.source import Item, SourceChange
from sadstream.base.errors import DataError, UnavailableError
from sadstream.base.samples import FRAME_BYTES, SAMPLE_RATE, AudioFrame, Channel, to_float
from sadstream.cli.demo.play import scene_path
from sadstream.config import Config
from sadstream.config.tables import ServiceConfig, StreamConfig

av = pytest.importorskip("av", reason="PyAV is not here: pip install '.[av]'")
SERVICE = ServiceConfig(retry_s=0.1, stall_s=0.5)
TONE_HZ = 440.0


@pytest.fixture
def address() -> str:
    """A free port on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return f"rtp://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def sending(address: str, seconds: float = 30.0) -> Iterator[Callable[[], None]]:
    """A tone in PCMU packets of 20 ms, as a telephone sends them, until it is told to stop."""
    stop = threading.Event()

    def send() -> None:
        with av.open(address, "w", format="rtp") as container:
            stream = container.add_stream("pcm_mulaw", rate=8000, layout="mono")
            start = time.monotonic()
            for n in range(int(seconds * 50)):
                t = (np.arange(160) + n * 160) / 8000
                tone = (8000 * np.sin(2 * np.pi * TONE_HZ * t)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(tone[np.newaxis], format="s16", layout="mono")
                frame.sample_rate, frame.pts = 8000, n * 160
                for packet in stream.encode(frame):
                    container.mux(packet)
                if stop.wait(max(0.0, start + (n + 1) / 50 - time.monotonic())):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield stop.set
    finally:
        stop.set()
        thread.join()


def test_a_tone_over_rtp_arrives_as_16_khz_frames_and_its_end_and_return_are_said(address: str) -> None:
    frames: list[AudioFrame] = []
    changes: list[tuple[str, str]] = []
    until = time.monotonic() + 25
    with sending(address) as hang_up:
        second = None
        for item in NetworkSource(address, SERVICE).listen(lambda: time.monotonic() > until):
            if isinstance(item, SourceChange):
                changes.append((item.state, item.reason))
                if item.state == "no-device" and second is None:
                    second = sending(address)
                    second.__enter__()
            else:
                frames.append(item)
                if len(frames) == 50:
                    hang_up()
                if len(frames) == 100:
                    break
        assert second is not None
        second.__exit__(None, None, None)

    assert changes[0] == ("listening", "none")
    assert changes[1] in (("no-device", "stalled"), ("no-device", "device-lost"))
    assert changes[-1] == ("listening", "none")
    assert sum(frame.gap for frame in frames[1:]) == 1
    assert frames[-1].index > 100 * 480  # the time of the silence counts
    heard = to_float(b"".join(frame.pcm for frame in frames[10:40]))
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(heard.size)))
    assert np.fft.rfftfreq(heard.size, 1 / 16_000)[spectrum.argmax()] == pytest.approx(TONE_HZ, abs=3)


def test_a_sender_of_several_channels_is_mixed_and_chosen_from_as_a_recording_is(tmp_path: Path) -> None:
    path = tmp_path / "inverted.wav"
    speech = talk(1).astype(np.float32)
    soundfile.write(path, np.stack([speech, -speech], axis=1), SAMPLE_RATE)

    def heard(channel: Channel) -> tuple[bytes, list[str]]:
        items: list[Item] = []
        for item in NetworkSource(f"file://{path}", SERVICE, channel).listen(lambda: False):
            items.append(item)
            if isinstance(item, SourceChange) and item.state == "no-device":
                break
        said = [item.detail for item in items if isinstance(item, SourceChange)]
        return b"".join(item.pcm for item in items if isinstance(item, AudioFrame)), said

    first = b"".join(frame.pcm for frame in Recording(path, 1).frames())
    mix, said = heard("mix")
    assert said[1] == "left out of the mix (dead, opposed or only noise): channel 2"
    assert len(mix) > 2 * speech.size - 4 * FRAME_BYTES
    assert np.abs(to_float(mix) - to_float(first[: len(mix)])).max() < 1e-3
    assert heard(1)[0] == first[: len(mix)]
    with pytest.raises(DataError, match=r"inverted.wav: channel = 3: expected mix or 1 to 2, as it has"):
        heard(3)


def test_a_sender_that_is_not_there_is_an_absent_device_said_once() -> None:
    """Nobody listens at this port of TCP."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    until = time.monotonic() + 1.0
    found = list(NetworkSource(f"tcp://user:secret@127.0.0.1:{port}", SERVICE).listen(lambda: time.monotonic() > until))

    assert [(change.state, change.reason) for change in found if isinstance(change, SourceChange)] == [
        ("no-device", "device-absent")
    ]
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("source", "address"),
    [("rtp://host:5004", True), ("rtsp://host/a", True), ("call.sdp", True), ("talk.wav", False), ("mic", False)],
)
def test_an_address_is_told_from_a_recording(source: str, address: bool) -> None:
    assert is_address(source) is address


def test_no_password_is_shown() -> None:
    assert shown("rtsp://me:secret@camera.local/one") == "rtsp://camera.local/one"
    assert shown("rtp://127.0.0.1:5004") == "rtp://127.0.0.1:5004"


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sadstream.audio.decoding.ffmpeg.find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"pip install '\.\[av\]'"):
        NetworkSource("rtsp://me:secret@host/one", SERVICE)


def test_the_daemon_opens_an_address_a_named_pipe_and_a_recording_each_as_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sources = {"rtp://127.0.0.1:5004": NetworkSource, str(pipe): NamedPipe, str(scene_path()): Recording}
    for source, kind in sources.items():
        assert isinstance(open_source(StreamConfig(source=source), Config()), kind)
