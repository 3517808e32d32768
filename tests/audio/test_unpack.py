"""Files with a header through a pipe: decoded as they come, one after the other; raw PCM stays raw PCM."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fakes import voice
from test_container import encoded, flac_of_length

from sadstream.audio.decoding import ffmpeg
from sadstream.audio.sources.pipe import PcmPipe
from sadstream.audio.spool import spooled
from sadstream.base.errors import DataError
from sadstream.base.samples import AudioFrame, to_float, to_pcm
from sadstream.config.tables import StreamConfig

VOICE = voice(3.0)
WAV, FLAC = encoded("WAV", "PCM_16"), encoded("FLAC", "PCM_16")
OPEN = WAV[:40] + b"\xff\xff\xff\xff" + WAV[44:]
KILLED = WAV[:40] + (2048).to_bytes(4, "little") + WAV[44:]


def heard(content: bytes) -> np.ndarray:
    """The samples that a pipe of these bytes gives."""
    read_fd, write_fd = os.pipe()

    def write() -> None:
        view = memoryview(content)
        with suppress(BrokenPipeError):  # it was refused
            while view:
                view = view[os.write(write_fd, view[:3000]) :]
        os.close(write_fd)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        items = PcmPipe(read_fd).listen(lambda: False)
        return to_float(b"".join(item.pcm for item in items if isinstance(item, AudioFrame)))
    finally:
        os.close(read_fd)
        writer.join()


@pytest.mark.parametrize(
    ("content", "times"),
    [
        (to_pcm(VOICE), 1),
        (WAV, 1),
        (FLAC, 1),
        (OPEN, 1),
        (KILLED, 1),
        (flac_of_length(0), 1),
        (WAV + b"LIST\x04\0\0\0INFO", 1),
        (encoded("WAVEX", "PCM_24"), 1),
        (encoded("AIFF", "PCM_16"), 1),
        (WAV + FLAC, 2),
        (OPEN + WAV, 2),
    ],
    ids=["raw", "WAV", "FLAC", "open", "killed", "unknown", "notes", "24 bit", "AIFF", "two", "open and one more"],
)
def test_what_has_a_header_is_heard_as_what_it_is(content: bytes, times: int) -> None:
    found = heard(content)

    assert found.size == times * VOICE.size
    for part in np.split(found, times):
        assert np.abs(part - to_float(to_pcm(VOICE))).max() < 2e-4


def test_a_file_that_breaks_off_is_heard_to_there_and_said() -> None:
    with pytest.raises(DataError, match=r"truncated: expected 48000 samples by its header, found 1[0-9]{4}"):
        heard(WAV[:30_000])


def test_one_hertz_is_refused() -> None:
    with pytest.raises(DataError, match="1 Hz"):
        heard(WAV[:24] + b"\1\0\0\0" + WAV[28:])


@pytest.mark.parametrize("value", [1e30, 1000.0, float("nan"), float("inf")])
def test_floats_of_another_scale_and_what_is_no_number_are_refused(value: float) -> None:
    samples = voice(1.0)
    samples[8000:] = value
    with pytest.raises(DataError, match="expected -1 to 1"):
        heard(encoded("WAV", "FLOAT", samples))


@pytest.mark.parametrize(("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS")])
def test_what_ffmpeg_streams_is_heard(form: str, subtype: str) -> None:
    pytest.importorskip("av", reason="PyAV is not here: pip install '.[av]'")

    assert heard(encoded(form, subtype)).size == pytest.approx(VOICE.size, abs=3000)


def test_without_the_library_the_line_says_what_to_install() -> None:
    program = (
        "import sys, sadstream.audio.decoding.ffmpeg as f; f.is_here = lambda: False\n"
        "from sadstream.audio.decoding import unpack as u; sys.argv = ['unpack', '0', 'x']; sys.exit(u.main())"
    )
    content = encoded("MP3", "MPEG_LAYER_III")
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=False)

    assert done.returncode == 65
    assert done.stderr.decode().strip() == f"x: MP3 in a pipe {ffmpeg.CURE}"


@pytest.mark.parametrize("content", [WAV, FLAC, to_pcm(VOICE)], ids=["WAV", "FLAC", "raw"])
def test_a_pipe_can_be_scored_as_a_recording(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    recording = spooled(path, StreamConfig())
    writer.join()

    assert recording.path == path
    for _ in range(2):
        found = to_float(b"".join(frame.pcm for frame in recording.frames()))
        np.testing.assert_allclose(found, to_float(to_pcm(VOICE)), atol=2e-4)
