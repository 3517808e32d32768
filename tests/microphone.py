"""A virtual microphone: PulseAudio with a null sink whose monitor PortAudio captures; no card, no D-Bus, no root."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDS = ("pulseaudio", "pactl", "pacat")
START_S = 10.0
POSITIONS = ("front-left", "front-right", "rear-left", "rear-right")  # as a card's channels are called


def missing() -> str | None:
    """What this machine lacks for a virtual microphone."""
    for program in NEEDS:
        if shutil.which(program) is None:
            return program
    if not Path("/usr/share/alsa/alsa.conf").exists():
        return "alsa.conf"
    return None


class VirtualMicrophone:
    """A sound server of its own in a folder of its own; what is played into it is what a microphone hears."""

    def __init__(self, folder: Path, channels: int = 1) -> None:
        self.folder = folder
        self._channels = channels
        self._map = "mono" if channels == 1 else ",".join(POSITIONS[:channels])
        asoundrc = folder / "asoundrc"
        asoundrc.write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
            "PULSE_COOKIE": str(folder / "cookie"),
            "XDG_CONFIG_HOME": str(folder),
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{asoundrc}",
        }
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the sound server and its microphone."""
        self._server = subprocess.Popen(
            [
                "pulseaudio", "-n", "--exit-idle-time=-1", "--use-pid-file=no", "--daemonize=no",
                "--disable-shm=yes", "--log-target=stderr", "--log-level=error",
                "-L", "module-native-protocol-unix auth-anonymous=1",
            ],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + START_S
        while self.pactl("info").returncode:
            assert time.monotonic() < until, "the sound server did not start"
            time.sleep(0.05)
        self.plug()

    def plug(self) -> None:
        """Load the null sink and make its monitor the default source."""
        made = self.pactl(
            "load-module",
            "module-null-sink",
            "sink_name=mic",
            "rate=16000",
            f"channels={self._channels}",
            f"channel_map={self._map}",
        )
        self.module = made.stdout.strip()
        assert self.module.isdigit(), made.stderr
        assert self.pactl("set-default-source", "mic.monitor").returncode == 0

    def unplug(self) -> None:
        """Take the source away while the server goes on."""
        assert self.pactl("unload-module", self.module).returncode == 0

    def play(self, pcm: bytes) -> None:
        """Play signed 16-bit 16 kHz, its channels interleaved, into the microphone, in real time."""
        subprocess.run(
            ["pacat", "-p", "--raw", "--format=s16le", "--rate=16000", f"--channels={self._channels}",
             f"--channel-map={self._map}", "--device=mic"],
            input=pcm, env=self.environment, check=True, timeout=120,
        )  # fmt: skip

    def pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask the server something."""
        return subprocess.run(
            ["pactl", *arguments], env=self.environment, capture_output=True, text=True, timeout=10, check=False
        )

    def signal(self, number: signal.Signals) -> None:
        """Freeze, thaw or kill the server."""
        assert self._server is not None
        self._server.send_signal(number)

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None


@contextmanager
def virtual_microphone(channels: int = 1) -> Iterator[VirtualMicrophone]:
    """A running virtual microphone, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="sadstream-mic-") as folder:
        microphone = VirtualMicrophone(Path(folder), channels)
        try:
            microphone.start()
            yield microphone
        finally:
            microphone.stop()
