"""The microphone, in a small process of its own: 16 kHz mono signed 16-bit PCM on standard output.

Run as `python -m sadstream.capture`. PortAudio can hang in a way that no thread survives; a process can be
killed and started again while the models stay loaded. Whatever goes wrong is one line on standard error and
an exit code: 69 no such device, 75 the device was lost.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sadstream.audio import FRAME_SAMPLES, SAMPLE_RATE, Resampler
from sadstream.errors import SadstreamError, StalledError, UnavailableError

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True, slots=True)
class Device:
    """A capture device as PortAudio names it."""

    index: int
    name: str
    api: str
    channels: int
    rate: float
    default: bool


def devices() -> list[Device]:
    """The capture devices of this machine; UnavailableError where PortAudio cannot be used at all."""
    sounddevice = _sounddevice()
    apis = sounddevice.query_hostapis()
    default = sounddevice.default.device[0]
    return [
        Device(
            index=int(found["index"]),
            name=str(found["name"]),
            api=str(apis[found["hostapi"]]["name"]),
            channels=int(found["max_input_channels"]),
            rate=float(found["default_samplerate"]),
            default=int(found["index"]) == default,
        )
        for found in sounddevice.query_devices()
        if found["max_input_channels"] > 0
    ]


def choose(found: list[Device], part: str | None) -> Device:
    """The default device, or the first whose name holds `part` in any case."""
    if not found:
        raise UnavailableError("no capture device: expected a microphone; connect one, or check `sadstream devices`")
    if part is None:
        return next((device for device in found if device.default), found[0])
    for device in found:
        if part.lower() in device.name.lower():
            return device
    names = ", ".join(sorted({device.name for device in found}))
    raise UnavailableError(f"no capture device named like {part!r}: expected one of {names}")


def capture(part: str | None, out: int) -> None:
    """Write the device's audio to the file descriptor `out` for ever; raises when the device is lost."""
    sounddevice = _sounddevice()
    device = choose(devices(), part)
    rate, channels = _format(sounddevice, device)
    resampler = Resampler(rate, channels)
    block = FRAME_SAMPLES * rate // SAMPLE_RATE
    try:
        with _quiet():
            stream = sounddevice.RawInputStream(
                samplerate=rate, blocksize=block, device=device.index, channels=channels, dtype="int16", latency="high"
            )
            stream.start()
        print(f"capture: open {device.name!r} at {rate} Hz, {channels} channel(s)", file=sys.stderr, flush=True)
        with stream:
            while True:
                data, _ = stream.read(block)  # its overflow flag is not evidence: it stays down when audio is lost
                _write(out, resampler.feed_pcm(bytes(data)))
    except sounddevice.PortAudioError as error:
        raise StalledError(f"device {device.name!r} was lost: {error}") from None


def _format(sounddevice: ModuleType, device: Device) -> tuple[int, int]:
    """16 kHz mono where the device takes it; else its own rate, resampled here and nowhere else."""
    last: Exception | None = None
    for rate, channels in ((SAMPLE_RATE, 1), (int(device.rate), 1), (48_000, min(2, device.channels))):
        try:
            with _quiet():
                sounddevice.check_input_settings(device=device.index, channels=channels, dtype="int16", samplerate=rate)
            return rate, channels
        except (sounddevice.PortAudioError, ValueError) as error:
            last = error
    raise UnavailableError(f"device {device.name!r} takes neither 16 kHz nor its own rate: {last}")


def _sounddevice() -> ModuleType:
    try:
        with _quiet():
            import sounddevice
    except Exception as error:  # OSError without PortAudio, PortAudioError when ALSA cannot start
        raise UnavailableError(
            f"microphone: PortAudio cannot be used ({error}); install it (Debian: apt-get install libportaudio2)"
        ) from None
    module: Any = sounddevice
    return module  # type: ignore[no-any-return]


def _write(out: int, pcm: bytes) -> None:
    view = memoryview(pcm)
    while view:
        view = view[os.write(out, view) :]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ALSA and JACK print about a hundred lines on standard error while they look for devices."""
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def main() -> int:
    parser = argparse.ArgumentParser(prog="sadstream.capture", description="PCM of a microphone on standard output")
    parser.add_argument("--device", default=None, help="part of the device's name, in any case")
    options = parser.parse_args()
    # Without its daemon this process has no reader: the kernel ends it with its parent (kill -9 included).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the daemon decides
    try:
        capture(options.device, sys.stdout.fileno())
    except BrokenPipeError:
        return 0
    except SadstreamError as error:
        print(f"capture: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
