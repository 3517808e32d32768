"""A daemon whose microphone is a browser's, and a Chromium whose microphone is a recording."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sadstream.base.errors import UnavailableError
from sadstream.cli.demo.play import scene_path
from sadstream.events.control import ask

FAKES = Path(__file__).with_name("fakes.py")


@contextmanager
def hearing(
    folder: Path, port: int, web: str = "", publish: str = "", fake: bool = True, endpoint: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A daemon that says where its page is; it publishes at FOLDER/pub, if nothing else is said.

    web, publish: more lines of these tables. fake: without models, each score by the segment's number.
    """
    config = folder / "sadstream.toml"
    endpoint = endpoint or f"ipc://{folder}/pub"
    config.write_text(
        f'[[stream]]\nsource = "browser"\n[web]\nmicrophone_port = {port}\n{web}\n'
        f'[publish]\nendpoint = "{endpoint or f"ipc://{folder}/pub"}"\n{publish}\n'
    )
    program = [str(FAKES), "run", ""] if fake else ["-m", "sadstream", "run"]
    command = [sys.executable, *program, "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert any("press Start" in line for line in process.stderr)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(endpoint: str, wanted: tuple[str, str], timeout_s: float = 30.0) -> None:
    """Until the stream is so."""
    until_s = time.monotonic() + timeout_s
    found = ("", "")
    while found != wanted:
        assert time.monotonic() < until_s, f"{found}, expected {wanted}"
        time.sleep(0.05)
        with suppress(UnavailableError):  # it is still starting
            (stream,) = ask(endpoint, "status").streams
            found = (stream.state, stream.reason)


def scene_wav(folder: Path, seconds: float | None = None) -> Path:
    """The bundled scene, or its beginning, as a file that Chromium takes for a microphone."""
    import soundfile

    samples, rate = soundfile.read(scene_path(), dtype="int16")
    path = folder / "scene.wav"
    soundfile.write(path, samples if seconds is None else samples[: int(seconds * rate)], rate, subtype="PCM_16")
    return path


def flags(recording: Path) -> list[str]:
    """What makes Chromium hear a recording once, from the moment at which its microphone is opened, unasked."""
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={recording}%noloop",
    ]
