"""The microphone, in a small process of its own: 16 kHz mono signed 16-bit PCM on standard output.

Run as `python -m sadstream.audio.sources.capture`. PortAudio can hang in a way that no thread survives; a process can
be killed and started again while the models stay loaded. Whatever goes wrong is one line on standard error and
an exit code: 69 no such device, 75 the device was lost. With `--wait` a device that is not there, or cannot be
opened, is waited for, with one line a try.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sadstream.audio.decoding.child import follow_parent
from sadstream.audio.filters.framing import Resampler
from sadstream.audio.filters.mixer import MixWatch
from sadstream.base.errors import SadstreamError, StalledError, UnavailableError
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, Channel

ABSENT = "absent: "  # opens the line of a try that found no device
LOST = "lost: "  # and of one that could not open it
MIXED = "mix: "  # and of what the mix comes to do without: channels from 1, or none
MOST_CHANNELS = 8  # of a device that says how many it has: a sound server takes 32 and more, whatever it has
LOOK_S = 4.0  # between two looks at all devices: each takes 45 ms of processor time, a try of a known one 2 ms
REST_S = 15.0  # the same where it would find nothing new: neither card nor sound server, or the device is known
SETTLE_S = 3.0  # after a sign of a device or a sound server: a look at each try, until it can be used
LIFE_S = 600.0  # of a process that waits: what libraries leave behind at each look goes with it


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


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What is to be heard: a device by a part of its name, and one of its channels or the mix."""

    part: str | None = None
    channel: Channel = "mix"
    channels: int = 1  # more than 1: how many to open, which a sound server leaves to us


def counts(device: Device, wanted: CaptureRequest) -> list[int]:
    """How many channels to open it with, the best first; UnavailableError where it has too few."""
    needed = max(wanted.channels, 1 if wanted.channel == "mix" else wanted.channel)
    if needed > device.channels:
        raise UnavailableError(
            f"device {device.name!r} has {device.channels} channel(s): expected {needed}, as stream.channel = "
            f"{wanted.channel} and stream.channels = {wanted.channels} ask; choose mix, or another device"
        )
    if wanted.channels > 1:
        return [wanted.channels] if wanted.channel == "mix" or wanted.channel <= wanted.channels else [needed]
    if wanted.channel != "mix":
        return [min(device.channels, max(MOST_CHANNELS, needed)), device.channels]
    return [device.channels if device.channels <= MOST_CHANNELS else 2, 1, min(2, device.channels)]


@dataclass(frozen=True, slots=True)
class _OpenDevice:
    """A device that gives audio, and how."""

    device: Device
    rate: int
    channels: int
    stream: Any

    @property
    def block(self) -> int:
        """30 ms."""
        return FRAME_SAMPLES * self.rate // SAMPLE_RATE


def capture(wanted: CaptureRequest, out: int, wait_s: float | None = None) -> None:
    """Write the device's audio to the file descriptor `out` for ever; raises when the device is lost.

    wait_s: between two tries where there is none; without it the first try decides.
    """
    found = _open(wanted) if wait_s is None else _await(wanted, wait_s)
    name = repr(found.device.name)
    print(f"capture: open {name} at {found.rate} Hz, {found.channels} channel(s)", file=sys.stderr, flush=True)
    resampler, mix = Resampler(found.rate, found.channels, wanted.channel), MixWatch()
    try:
        with found.stream:
            while True:
                data, _ = found.stream.read(found.block)  # its overflow flag stays down when audio is lost
                _write(out, resampler.feed_pcm(bytes(data)))
                for without in mix.changed(resampler.left_out):
                    print(f"{MIXED}{' '.join(map(str, sorted(without)))}", file=sys.stderr, flush=True)
    except _sounddevice().PortAudioError as error:
        raise StalledError(f"device {name} was lost: {error}") from None


def _await(wanted: CaptureRequest, wait_s: float) -> _OpenDevice:
    """The device as soon as it can be opened; each try that fails is one line, which is a sign of life too."""
    until_s = time.monotonic() + LIFE_S
    signs, settled_s, looked_s = _signs(), 0.0, time.monotonic()
    while True:
        try:
            return _open(wanted)
        except SadstreamError as error:
            if time.monotonic() > until_s:
                raise
            mark = ABSENT if isinstance(error, UnavailableError) else LOST
            print(f"{mark}{error}", file=sys.stderr, flush=True)
        time.sleep(wait_s)
        now_s, before, signs = time.monotonic(), signs, _signs()
        settled_s = now_s + SETTLE_S if signs != before else settled_s
        if now_s < settled_s or now_s - looked_s > (REST_S if not signs or _is_listed(wanted.part) else LOOK_S):
            looked_s = now_s
            _look_again()


def _open(wanted: CaptureRequest) -> _OpenDevice:
    """The device, started; UnavailableError where there is none, StalledError where it does not open."""
    sounddevice = _sounddevice()
    try:
        device = choose(devices(), wanted.part)
        rate, channels = _format(sounddevice, device, counts(device, wanted))
        block = FRAME_SAMPLES * rate // SAMPLE_RATE
        with _quiet():
            stream = sounddevice.RawInputStream(
                samplerate=rate, blocksize=block, device=device.index, channels=channels, dtype="int16", latency="high"
            )
            try:
                stream.start()
            except BaseException:
                stream.close()
                raise
    except sounddevice.PortAudioError as error:
        raise StalledError(f"no device could be opened: {error}") from None
    return _OpenDevice(device, rate, channels, stream)


def _is_listed(part: str | None) -> bool:
    """PortAudio knows the device, whether it opens or not."""
    try:
        choose(devices(), part)
    except Exception:  # PortAudioError among them
        return False
    return True


def _look_again() -> None:
    """Let PortAudio list the devices anew: it knows those of the moment at which it was started."""
    sounddevice = sys.modules.get("sounddevice")
    if sounddevice is None:
        return  # the next try imports it
    with _quiet():
        for step in (sounddevice._terminate, sounddevice._initialize):
            with contextlib.suppress(sounddevice.PortAudioError):  # the next try says what it misses
                step()


def _signs() -> tuple[object, ...]:
    """What changes when a card, its permissions or its user, or a sound server comes or goes: a few system calls."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    pulse = Path(os.environ.get("PULSE_RUNTIME_PATH") or runtime / "pulse")
    named = [server.rpartition("unix:")[2] for server in os.environ.get("PULSE_SERVER", "").split()]
    seen: list[object] = [server for server in named if not server.startswith("/")]  # over tcp: cannot be seen
    sockets = [*map(Path, named), pulse / "native", Path("/run/pulse/native"), runtime / "pipewire-0"]
    for path in (*sorted(Path("/dev/snd").glob("*")), *sorted(Path("/dev/shm").glob("jack*")), *sockets):  # noqa: S108
        with contextlib.suppress(OSError):
            found = path.stat()
            seen.append((path, found.st_ino, found.st_ctime_ns))
    for status in sorted(Path("/proc/asound").glob("card*/pcm*c/sub*/status")):
        with contextlib.suppress(OSError):
            seen.append((status, status.read_bytes().startswith(b"closed")))
    return tuple(seen)


def _format(sounddevice: ModuleType, device: Device, counts: list[int]) -> tuple[int, int]:
    """16 kHz where the device takes it, else its own rate or 48 kHz, resampled here and nowhere else."""
    last: Exception | None = None
    for channels in dict.fromkeys(counts):
        for rate in dict.fromkeys((SAMPLE_RATE, int(device.rate), 48_000)):
            try:
                with _quiet():
                    sounddevice.check_input_settings(
                        device=device.index, channels=channels, dtype="int16", samplerate=rate
                    )
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
    parser = argparse.ArgumentParser(
        prog="sadstream.audio.sources.capture", description="PCM of a microphone on standard output"
    )
    parser.add_argument("--device", default=None, help="part of the device's name, in any case")
    parser.add_argument("--wait", type=float, default=None, help="seconds between two tries where there is none")
    parser.add_argument("--channel", default="mix", help="the one that is heard, from 1; mix: all that help")
    parser.add_argument("--channels", type=int, default=1, help="more than 1: how many to open")
    options = parser.parse_args()
    channel: Channel = "mix" if options.channel == "mix" else int(options.channel)
    follow_parent()
    try:
        capture(CaptureRequest(options.device, channel, options.channels), sys.stdout.fileno(), options.wait)
    except BrokenPipeError:
        return 0
    except SadstreamError as error:
        print(f"capture: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
