"""The daemon in a container, as docs/containers.md says: `make test-containers`.

Podman builds the images from a Debian that debootstrap made, so no registry of images is asked; wheels and models are
this machine's (ONLINE=1: from where a user's come). Then the service `pulse` of deploy/compose.yaml runs beside a sound
server that plays the bundled scene, and is heard, watched, paused, stopped, killed and frozen. As root, with Debian's
podman, runc and debootstrap. STARTS, STOPS and KILLS are its numbers of trials; KEEP=1 leaves the images.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import soundfile
import yaml
from container import bootstrap, end_with_us, limited, within
from live import CACHE, ROOT, wheelhouse
from microphone import VirtualMicrophone, missing
from podman import Podman, filled
from wilson import interval

from sadstream.base.errors import UnavailableError
from sadstream.client import subscribe
from sadstream.events import Event, Score
from sadstream.events.control import DaemonReport, ask
from sadstream.scoring.weights.catalogue import models_dir

SUITE = "bookworm"
FREE_GB = 12
OWNER = 1000
MOST_BYTES = 1_300_000_000  # of the daemon's image, with its models
EXTRAS = ("dashboard", "metrics", "mqtt", "web")  # of the image, as deploy/Containerfile has them
PROGRAMS = ("podman", "runc", "debootstrap", "conmon")
READY_S, GRACE_S, BACK_S = 40.0, 10.0, 40.0
STARTS, STOPS, KILLS = (int(os.environ.get(name, "3")) for name in ("STARTS", "STOPS", "KILLS"))
SPOKEN = ("kids", "dogs", "talking", "sitting", "door")  # in the scene
SOUND = (".flac", ".wav", ".mp3", ".ogg", ".opus", ".pcm")
LEFT_BEHIND = {"gcc", "cc", "ld", "uv", "pip", "pip3", "protoc"}
NAME = "sadstream-live"


def why_not() -> str | None:
    """What keeps this machine from it; None if nothing does."""
    if os.geteuid() != 0:
        return "not root"
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is missing (Debian: apt-get install {program})"
    if lacking := missing():
        return f"{lacking} is missing"
    if not models_dir().is_dir():
        return f"{models_dir()}: no models; `sadstream models fetch` makes it"
    CACHE.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(CACHE).free / 1e9
    return None if free_gb > FREE_GB else f"{CACHE}: {free_gb:.0f} GB free, {FREE_GB} needed (LIVE_CACHE names another)"


def from_here(house: Path) -> list[str]:
    """What lets a build ask nobody: wheels and models of this machine, laid where pip, uv and `models fetch` look."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(house), "uv", *needed]
    subprocess.run([*limited(300), *pip], check=True)
    (house / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /live\n")
    (house / "uv.toml").write_text('no-index = true\nfind-links = ["/live"]\n')
    places = {house: "/live", house / "pip.conf": "/etc/pip.conf", house / "uv.toml": "/etc/uv/uv.toml"}
    binds = [f"--volume={outside}:{inside}:ro" for outside, inside in (places | {models_dir(): "/models"}).items()]
    return [*binds, "--build-arg=MODELS=/models"]


class SpeakingRoom:
    """A sound server whose microphone hears the bundled scene, again and again."""

    def __init__(self, folder: Path) -> None:
        self.microphone = VirtualMicrophone(folder)
        self._pcm = soundfile.read(ROOT / "sadstream/cli/demo/scene/scene.flac", dtype="int16")[0].tobytes()
        self._over = threading.Event()
        self._speech = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> "SpeakingRoom":
        self.microphone.start()
        self.socket_folder.chmod(0o755)
        self._speech.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.microphone.stop()
        self._speech.join(10)

    @property
    def socket_folder(self) -> Path:
        """What is mounted in a container."""
        return self.microphone.folder / "pulse"

    def _speak(self) -> None:
        while not self._over.wait(0.5):
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                self.microphone.play(self._pcm)


class Checks:
    """What must be so of images and of a container, in an order in which each finds what it needs."""

    def __init__(self, podman: Podman, room: SpeakingRoom, run: Path) -> None:
        self.passed = self.failed = 0
        self.rows: list[str] = []
        self._podman, self._room, self._run = podman, room, run
        given = {"OWNER": f"{OWNER}:{OWNER}", "RUN": str(run), "PULSE": str(room.socket_folder)}
        given["CONFIG"] = str(ROOT / "configs/sadstream.toml")
        services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
        self._service, self._dashboard = filled(services["pulse"], given), filled(services["dashboard"], given)
        self._endpoint = f"ipc://{run}/pub"

    def check(self, name: str, true: Callable[[], object]) -> bool:
        """One line: held or not, and how long it took."""
        began, fault = time.monotonic(), ""
        try:
            true()
        except (AssertionError, RuntimeError, OSError, UnavailableError, subprocess.SubprocessError) as error:
            fault = str(error) or type(error).__name__
        self.passed += not fault
        self.failed += bool(fault)
        print(f"{'FAIL' if fault else 'ok  '} {name:66} {time.monotonic() - began:6.1f} s", flush=True)
        if fault:
            print(f"       {fault[:900]}", flush=True)
        return not fault

    def many(self, name: str, count: int, once: Callable[[], float]) -> None:
        """So many trials, each of which gives the seconds that count; a row for docs/containers.md."""
        taken: list[float] = []
        for number in range(count):
            self.check(f"{name} ({number + 1} of {count})", lambda: taken.append(once()))
        low, high = interval(len(taken), count)
        between = f"{min(taken):.1f} to {max(taken):.1f} s" if taken else "never"
        self.rows.append(f"{name}: {len(taken)}/{count} ({100 * low:.0f} to {100 * high:.0f} %), {between}")

    # Images.

    def build(self, source: Path, target: str, tag: str, words: list[str]) -> None:
        began = time.monotonic()
        self._podman.build(source, target, tag, *words)
        size, base = self._podman.bytes_of(tag), self._podman.bytes_of("localhost/debian:bookworm")
        self.rows.append(
            f"image {target}: {size / 1e9:.2f} GB, of which Debian is {base / 1e6:.0f} MB; "
            f"built in {(time.monotonic() - began) / 60:.1f} minutes, load {os.getloadavg()[0]:.1f} at its end"
        )

    def image(self) -> None:
        """Small, without a compiler, a package's cache or sound of anybody's, and with the licence of its weights."""
        size = self._podman.bytes_of("sadstream")
        assert size <= MOST_BYTES, f"{size / 1e9:.2f} GB"
        files = self._podman.once("sadstream", "/", "-xdev", "-type", "f", program="find").stdout.splitlines()
        names = {Path(path).name for path in files}
        assert "libtorch_cpu.so" in names, "the list of files is none"
        assert not names & LEFT_BEHIND, names & LEFT_BEHIND
        assert not [path for path in files if path.startswith(("/var/lib/apt/lists/", "/root/.cache", "/source"))]
        assert [path for path in files if path.endswith(SOUND)] == [
            path for path in files if path.endswith("sadstream/cli/demo/scene/scene.flac")
        ]
        labels = self._podman.said("image", "inspect", "sadstream", "--format", "{{.Labels}}")
        assert "no commercial use" in labels, labels

    def room_image(self) -> None:
        """No torch, and its program starts; what it lacks is said, not a traceback."""
        done = self._podman.once("sadstream-room", "doctor")
        assert "absent    torch" in done.stdout, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr

    # A container.

    def start(self) -> float:
        """From `podman run` until the healthcheck is content."""
        self._podman.run("rm", "--force", "--time=0", NAME, check=False)
        began = time.monotonic()
        self._podman.start(NAME, self._service, "sadstream")
        within(READY_S, self.healthy)
        return time.monotonic() - began

    def healthy(self) -> bool:
        return self._podman.run("healthcheck", "run", NAME, check=False).returncode == 0

    def report(self) -> DaemonReport:
        return ask(self._endpoint, "status")

    def is_(self, *states: str) -> Callable[[], bool]:
        """The daemon answers over the mounted folder, and is in one of these states."""

        def true() -> bool:
            with contextlib.suppress(UnavailableError):
                return self.report().streams[0].state in states
            return False

        return true

    def locked(self) -> None:
        """What the service says is in force for the process that listens."""
        status = Path(f"/proc/{self._pid()}/status").read_text()
        fields = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines()}
        limits = Path(f"/proc/{self._pid()}/limits").read_text()
        assert fields["Uid"] == [str(OWNER)] * 4, fields["Uid"]
        assert {name: int(fields[name][0], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == dict.fromkeys(
            ("CapEff", "CapPrm", "CapBnd", "CapAmb"), 0
        )
        assert fields["NoNewPrivs"] == ["1"]
        assert fields["Seccomp"] == ["2"]
        assert "Max core file size        0                    0" in limits, limits
        done = self._podman.exec(
            NAME, "sh", "-c", "touch /opt/x /etc/x /home/x; ls /sys/class/net; touch /tmp/x && rm /tmp/x"
        )
        assert done.stderr.count("Read-only file system") == 3, done.stderr
        assert done.stdout.split() == ["lo"], done.stdout
        given = self._podman.said("inspect", NAME, "--format", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}")
        assert given.split() == [str(3 << 30)] * 2, given

    def heard(self) -> None:
        """A subscriber outside hears scores of the scene, what was before it came, and nobody else may."""
        found = self._scores(6)
        assert all(0 <= score.p_sad <= 1 for score in found)
        assert any(score.text_used for score in found), "no words were heard"
        assert not [score for score in found if score.text], "words on the wire"
        before = self._scores(3, replay=100)
        assert before[0].seq <= found[0].seq, (before[0].seq, found[0].seq)
        connect = "import socket; socket.socket(socket.AF_UNIX).connect(__import__('sys').argv[1])"
        for user, may in ((OWNER, True), (OWNER + 1, False)):
            who = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            for name in ("pub", "pub.replay", "pub.control"):
                words = [*who, "/usr/bin/python3", "-c", connect, str(self._run / name)]
                done = subprocess.run(words, capture_output=True, check=False, cwd="/")
                assert (done.returncode == 0) == may, f"{user} at {name}: {done.stderr.decode()[-200:]}"

    def dashboard(self) -> None:
        """The dashboard's container shows the daemon at this machine's loopback, to its own user and to nobody else."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        service = self._dashboard | {"command": f"{self._dashboard['command']} --port {port}"}
        self._podman.start("sadstream-view", service, "sadstream")
        try:
            within(READY_S, lambda: self._state(port, OWNER).returncode == 0)
            assert '"heard":true' in self._state(port, OWNER).stdout.replace(" ", "")
            assert self._state(port, OWNER + 1).returncode != 0
        finally:
            self._podman.run("rm", "--force", "--time=5", "sadstream-view")

    def _state(self, port: int, user: int) -> "subprocess.CompletedProcess[str]":
        url = f"http://127.0.0.1:{port}/v1/state"
        asking = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=5).read().decode())"
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "/usr/bin/python3", "-c", asking]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")

    def unwell(self) -> None:
        """The healthcheck fails while the sound server is away and while the process is frozen, and then no more."""
        self._room.microphone.stop()
        within(15, lambda: not self.healthy())
        assert self.is_("no-device")(), self.report()
        self._room.microphone.start()
        self._room.socket_folder.chmod(0o755)
        within(30, self.healthy)
        os.kill(self._pid(), signal.SIGSTOP)
        began = time.monotonic()
        try:
            assert not self.healthy()
            took_s = time.monotonic() - began
        finally:
            os.kill(self._pid(), signal.SIGCONT)
        assert took_s < 5, f"{took_s:.1f} s, and then the healthcheck's own time is up"
        within(30, self.healthy)

    def paused(self) -> None:
        """A pause holds over a restart of the container and in a new one of the same volume, until somebody resumes."""
        ask(self._endpoint, "pause")
        assert self.is_("paused")()
        assert not self.healthy()
        self._podman.run("restart", "--time=10", NAME)
        within(READY_S, self.is_("paused"))
        self._podman.run("rm", "--force", NAME)
        self._podman.start(NAME, self._service, "sadstream")
        within(READY_S, self.is_("paused"))
        time.sleep(5)
        assert self.report().streams[0].segments == 0
        done = self._podman.exec(NAME, "sadstream", "resume")
        assert done.returncode == 0, done.stderr
        within(READY_S, self.healthy)

    def stopped(self) -> float:
        """SIGTERM: the end is 0, well before the grace is over."""
        began = time.monotonic()
        self._podman.run("stop", NAME)
        took_s = time.monotonic() - began
        assert self._podman.state(NAME) == ("exited", 0), self._podman.state(NAME)
        assert took_s < GRACE_S, f"{took_s:.1f} s"
        self._podman.run("start", NAME)
        within(READY_S, self.healthy)
        return took_s

    def killed(self) -> float:
        """kill -9 of the daemon: started again, and it listens."""
        began, old = time.monotonic(), self._pid()
        os.kill(old, signal.SIGKILL)
        within(BACK_S, lambda: self._podman.pid(NAME) not in (0, old))
        within(BACK_S, self.healthy)
        return time.monotonic() - began

    def clean(self) -> None:
        """Nothing was written but in the volume and the mounted folder, and no word is in the log."""
        changed = self._podman.said("diff", NAME).splitlines()
        mounted = (
            "/run",
            "/tmp",
            "/etc",
            "/var",
            "/dev",
            "/proc",
            "/sys",
        )  # where the runtime makes places to mount at
        assert not [line for line in changed if not line.split()[1].startswith(mounted)], changed
        layer = Path(self._podman.said("inspect", NAME, "--format", "{{.GraphDriver.Data.UpperDir}}"))
        written = [path for path in layer.rglob("*") if path.is_file() and path.stat().st_size]
        assert not written, written
        log = self._podman.run("logs", NAME)
        said = (log.stdout + log.stderr).lower()
        assert "listening" in said, said
        assert not [word for word in SPOKEN if word in said]
        kept = [path.name for path in self._run.iterdir()]
        assert set(kept) <= {"pub", "pub.replay", "pub.control", "pub.lock"}, kept

    def _scores(self, count: int, **how: Any) -> list[Score]:
        found: list[Score] = []
        for event in subscribe(self._endpoint, timeout_s=90, **how):
            if isinstance(event, Event) and isinstance(event, Score):
                found.append(event)
            if len(found) == count:
                return found
        raise AssertionError(f"{len(found)} of {count} scores")

    def _pid(self) -> int:
        """The daemon's process; never 0, which to `kill` is everybody of ours."""
        pid = self._podman.pid(NAME)
        if not pid:
            raise RuntimeError(f"{NAME}: no daemon runs in it: {self._podman.state(NAME)}")
        return pid

    def course(self, source: Path, words: list[str]) -> None:
        """All of them."""
        if not self.check("image daemon", lambda: self.build(source, "daemon", "sadstream", words)):
            return
        self.check("image room", lambda: self.build(source, "room", "sadstream-room", words))
        self.check("the image: size, no compiler, no cache, no sound, its licence", self.image)
        self.check("a room's image: no torch, and it says so", self.room_image)
        self.many("start until the healthcheck is content", STARTS, self.start)
        self.check("user, capabilities, read-only root, no network, no core, no swap", self.locked)
        self.check("a subscriber outside hears scores and the past; nobody else may", self.heard)
        self.check("the dashboard of a second container, for its own user alone", self.dashboard)
        self.check("the healthcheck fails: no sound server, a frozen process", self.unwell)
        self.check("a pause holds over a restart and in a new container", self.paused)
        self.many("podman stop: 0", STOPS, self.stopped)
        self.many("kill -9: healthy again", KILLS, self.killed)
        self.check("nothing written outside the volume, no words in the log", self.clean)


def owned(folder: Path) -> Path:
    """A folder of the user who runs the container, for nobody else."""
    folder.mkdir(mode=0o700)
    os.chown(folder, OWNER, OWNER)
    return folder


@contextlib.contextmanager
def store() -> Iterator[Podman]:
    """Podman in a folder that is gone afterwards."""
    podman = Podman(CACHE / "podman")
    if not os.environ.get("KEEP"):
        podman.forget()
    podman.folder.mkdir(exist_ok=True)
    podman.run("rm", "--force", "--all", "--time=0")
    try:
        yield podman
    finally:
        if not os.environ.get("KEEP"):
            podman.forget()


def main() -> int:
    """Base, images, container; the exit code."""
    if reason := why_not():
        print(f"the daemon in a container: skipped: {reason}")
        return 0
    tree = CACHE / f"slim-{SUITE}"
    if fault := bootstrap(SUITE, tree, packages=()):
        print(f"the daemon in a container: skipped: {fault}")
        return 0
    with tempfile.TemporaryDirectory(prefix="sadstream-box-") as name, store() as podman:
        folder = Path(name)
        folder.chmod(0o755)  # who runs the container goes through it
        podman.import_base(tree)
        words = [] if os.environ.get("ONLINE") else from_here(wheelhouse(EXTRAS))
        (folder / "pulse").mkdir()
        with SpeakingRoom(folder / "pulse") as room:
            checks = Checks(podman, room, owned(folder / "run"))
            checks.course(ROOT, words)
    print(*checks.rows, sep="\n")
    print(f"{checks.passed} passed, {checks.failed} failed", flush=True)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    end_with_us()
    sys.exit(main())
