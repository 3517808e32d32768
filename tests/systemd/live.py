"""The service under a real systemd: `make test-systemd`.

    PYTHONPATH=tests python tests/systemd/live.py [SUITE...]

Suites are bookworm and the newest Debian that can be bootstrapped, each a tree booted by systemd-nspawn, without a
network. The wheel is built here and installed there by `sadstream service install`; models are real, the microphone is
a sound server that plays the bundled scene. Faults are injected; the system's unit, an instance of it and a user's own
are stopped, killed, frozen and rebooted, and all is uninstalled. As root, with Debian's systemd-container and
debootstrap; else it says why it was skipped.

STARTS, KILLS, FREEZES, INSTALLATIONS and REBOOTS are the numbers of trials (1 each). Trees and wheels are kept in
LIVE_CACHE (/var/tmp/sadstream-live), 2 GB; a run needs 6 GB more for its time. Its limits grow with the machine's load;
after LIMIT_MINUTES (20) it ends with what it has, as a failure.
"""

import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from container import CGROUPS, OPEN, OVER, Container, bootstrap, end_with_us, leave_nothing, limited, patience, within
from wilson import interval

from sadstream.daemon.supervision.installation.install import EXTRAS
from sadstream.scoring.weights.catalogue import models_dir

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("LIVE_CACHE", "/var/tmp/sadstream-live"))
MODELS = models_dir()
OLDEST, NEWEST = "bookworm", ("sid", "forky", "trixie")
PROGRAMS = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "nsenter": "util-linux"}
FREE_GB = 12
SYSTEM, ENDPOINT = "/opt/sadstream/bin/sadstream", "ipc:///run/sadstream/pub"
INSTALLER = "/root/sad/bin/sadstream"
LIGHT = ("typer", "rich", "platformdirs", "pydantic", "pyzmq", "numpy", "tomli-w", "safetensors")  # of its commands
READY_S = 40.0
STARTS, KILLS, FREEZES, INSTALLATIONS, REBOOTS = (
    int(os.environ.get(name, "1")) for name in ("STARTS", "KILLS", "FREEZES", "INSTALLATIONS", "REBOOTS")
)
# More trials than one of each take longer.
LIMIT_S = 60 * float(
    os.environ.get("LIMIT_MINUTES") or 20 + 2 * (STARTS + KILLS + 2 * FREEZES + 2 * INSTALLATIONS + 4 * REBOOTS - 10)
)
PIP = """\
[global]
no-index = true
find-links = /live
disable-pip-version-check = true
[install]
# A minute of processor time less; the start compiles what it imports.
compile = no
"""
SOUND_SERVER = """\
[Service]
User=anna
RuntimeDirectory=pulsemic
RuntimeDirectoryMode=0755
ExecStart=/usr/bin/pulseaudio -n --exit-idle-time=-1 --use-pid-file=no --daemonize=no --disable-shm \
  -L "module-native-protocol-unix socket=/run/pulsemic/native auth-anonymous=1" \
  -L "module-null-sink sink_name=mic rate=16000 channels=1"
[Install]
WantedBy=multi-user.target
"""
SPEECH = """\
[Unit]
After=pulsemic.service
[Service]
User=anna
Environment=PULSE_SERVER=unix:/run/pulsemic/native
ExecStart=/usr/bin/paplay --device=mic /live/scene.flac
Restart=always
# Silence costs nothing, and ten seconds of it were muted.
RestartSec=6
[Unit]
StartLimitIntervalSec=0
[Install]
WantedBy=multi-user.target
"""
print_lock = threading.Lock()
LIVES: list["Live"] = []


def why_not() -> str | None:
    """What keeps this machine from booting a container; None if nothing does."""
    if os.geteuid() != 0:
        return "not root"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is missing (Debian: apt-get install {package})"
    if not MODELS.is_dir():
        return f"{MODELS}: no models; `sadstream models fetch` makes it"
    CACHE.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(CACHE).free / 1e9
    if free_gb < FREE_GB:
        return f"{CACHE}: {free_gb:.0f} GB free, {FREE_GB} needed (LIVE_CACHE names another folder)"
    for group in CGROUPS:
        try:
            (group / "sadstream-live").mkdir(exist_ok=True)
            (group / "sadstream-live").rmdir()
        except OSError as error:
            return f"{group}: no cgroup can be made: {error.strerror} (in a container?)"
    tried = subprocess.run(
        ["unshare", "-m", "-p", "-n", "-u", "-i", "-C", "--fork", "mount", "-t", "tmpfs", "a", "/mnt"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"namespaces are not permitted here: {tried.stderr.strip()}" if tried.returncode else None


def wheelhouse(extras: Sequence[str] = ()) -> Path:
    """Our wheel, made now, and those that it needs, for this Python; a folder that the trees install from."""
    tag = f"{sys.version_info.major}{sys.version_info.minor}"
    source, house = CACHE / "source", CACHE / f"wheels-{tag}"
    shutil.rmtree(source, ignore_errors=True)
    leave = shutil.ignore_patterns(".*", "__pycache__", "build", "runs", "*.egg-info", "node_modules", "tests", "data")
    shutil.copytree(ROOT, source, ignore=leave)
    house.mkdir(parents=True, exist_ok=True)
    for old in house.glob("sadstream-*.whl"):
        old.unlink()
    pip = [*limited(420), sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(house)]
    done = subprocess.run([*pip, "--no-deps", str(source)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        (wheel,) = house.glob("sadstream-*.whl")
        command = [*pip, "--find-links", str(house), f"{wheel}[{','.join((*EXTRAS, *extras))}]", *LIGHT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the wheels cannot be made: exit code {done.returncode}: {done.stderr.strip()[-400:]}")
    shutil.copyfile(ROOT / "sadstream/cli/demo/scene/scene.flac", house / "scene.flac")
    return house


class Live:
    """The checks of one suite, and how many of them held."""

    def __init__(self, suite: str, container: Container, python: str) -> None:
        self.suite, self.python = suite, python
        self.passed = self.failed = 0
        self.trials: dict[str, list[float | None]] = {}
        self.stops: list[float] = []
        self.deaths: list[float] = []
        self._c = container

    # What is asked of the machine inside.

    def show(self, name: str, unit: str = "sadstream") -> str:
        return self._c.said("systemctl", "show", "-P", name, unit)

    def listens(self, unit: str = "sadstream") -> bool:
        return self.show("ActiveState", unit) == "active" and ": listening" in self.show("StatusText", unit)

    def log(self, unit: str = "sadstream", *options: str) -> str:
        return self._c.said("journalctl", "-b", "-u", unit, "-o", "cat", "--no-pager", *options)

    def do(self, *command: str, code: int = 0, **options: float | str) -> str:
        """Run it, expect its exit code, return what it said."""
        done = self._c.run(*command, **options)  # type: ignore[arg-type]
        said = (done.stdout + done.stderr).strip()
        assert done.returncode == code, (
            f"{' '.join(command)}: exit code {done.returncode}, expected {code}: {said[-300:]}"
        )
        return said

    def user(self, *command: str, code: int = 0, **options: float) -> str:
        return self.do(*command, code=code, user="anna", **options)

    def fresh(self) -> None:
        self._c.run("systemctl", "reset-failed", "sadstream[.]service", "sadstream@*.service")

    def check(self, name: str, true: Callable[[], object]) -> bool:
        """One line: held or not, and how long it took."""
        began, fault = time.monotonic(), ""
        if OVER.is_set():
            return False
        try:
            true()
        except (AssertionError, RuntimeError, OSError, ValueError) as error:
            fault = str(error) or type(error).__name__
        self.passed += not fault
        self.failed += bool(fault)
        with print_lock:
            took_s = time.monotonic() - began
            print(f"{'FAIL' if fault else 'ok  '} {self.suite:9} {name:62} {took_s:6.1f} s", flush=True)
            if fault:
                print(f"       {fault[:700]}", flush=True)
        return not fault

    def many(self, name: str, count: int, once: Callable[[], float]) -> None:
        """A check of so many trials; each gives the seconds that count."""
        taken: list[float | None] = []

        def all_of_them() -> None:
            faults = []
            for _ in range(count):
                try:
                    taken.append(once())
                except (AssertionError, RuntimeError, subprocess.TimeoutExpired) as error:
                    if OVER.is_set():  # of this one nothing is known
                        break
                    taken.append(None)
                    faults.append(str(error))
                    self._c.run("systemctl", "restart", "sadstream")  # the next trial begins as the first did
                    with contextlib.suppress(AssertionError):
                        within(READY_S, self.listens)
            assert len(taken) == count, f"{len(taken)} of {count} until the time was up"
            assert not faults, f"{count - len(faults)} of {count}: {faults[0]}"

        self.check(f"{name} ({count})", all_of_them)
        self.trials[name] = taken

    # The course of a run.

    def prepare(self) -> None:
        """Two people, one sound server, a light environment with the wheel to install from."""
        c = self._c
        c.write("/etc/pip.conf", PIP)
        c.write("/etc/asound.conf", 'pcm.!default { type pulse server "unix:/run/pulsemic/native" }\n')
        c.write("/etc/systemd/system/pulsemic.service", SOUND_SERVER)
        c.write("/etc/systemd/system/speech.service", SPEECH)
        for name in ("anna", "ben"):
            self.do("useradd", "-m", "-s", "/bin/bash", name)
        self.do("systemctl", "daemon-reload")
        self.do("systemctl", "enable", "--now", "pulsemic", "speech")
        if self.python.startswith("/opt"):  # ours, mounted there: its library is where the loader does not look
            c.write("/etc/ld.so.conf.d/python.conf", "/opt/python/lib\n")
            self.do("ldconfig")
        self.do(self.python, "-m", "venv", "/root/sad", limit_s=120)
        wheel = Path(self._c.said("sh", "-c", "ls /live/sadstream-*.whl")).name
        self.do("/root/sad/bin/pip", "install", "-q", *LIGHT, limit_s=200)
        self.do("/root/sad/bin/pip", "install", "-q", "--no-deps", f"/live/{wheel}", limit_s=100)

    def run(self) -> None:
        """Everything, in an order in which each part finds what it needs."""
        whole = self.suite not in NEWEST  # the newest is asked what depends on systemd
        if whole:
            self.check("an installation that breaks off is said, and undone; a group is left", self.broken_off)
        if not self.check("service install --yes, umask 077", self.install):
            return
        if not self.check("listening, in the sandbox, with real models", lambda: within(READY_S, self.listens)):
            with print_lock:
                print(self.log()[-1500:])
            return
        self.check("the installed program scores a recording", self.score)
        self.check("systemd has nothing to say against the units", self.verified)
        self.check("its sandbox is in force", self.boxed)
        self.check("a member of the group hears scores, nobody else does", self.heard)
        self.check("service status --check", lambda: self.do(SYSTEM, "service", "status", "--check"))
        self.check("systemctl reload, good and bad", self.reload)
        self.check("pause closes the device and holds over a restart", self.pause)
        self.check("capture process stopped: no-device (stalled), listening", self.capture_stopped)
        self.check("sound server killed: no-device, listening when it is back", self.server_killed)
        self.many("kill -9: listening again", KILLS, self.killed)
        self.many("systemctl stop and start", STARTS, self.stop_and_start)
        self.check("78 (configuration): not restarted, an error in the journal", lambda: self.not_restarted(78))
        if whole:
            self.check("69 (model missing): not restarted, an error in the journal", lambda: self.not_restarted(69))
            self.check("66 (file missing): tried until it is there", self.tried_for_ever)
            self.check("73 (second instance): refused, the first goes on", self.second)
            self.check("upgrade, damaged file, rollback", self.checkpoints)
        self.check("sadstream@room1 beside sadstream", self.instance)
        with concurrent.futures.ThreadPoolExecutor() as beside:
            frozen = beside.submit(lambda: self.many("SIGSTOP: listening again", FREEZES, self.frozen))
            self.check("service install --user", self.install_user)
            frozen.result()
        self.check("a user's service listens, is killed, comes back", self.user_killed)
        self.many("reboot: what was paused is, the others listen", REBOOTS, self.reboot)
        self.check("service uninstall --user: nothing is left", self.uninstall_user)
        self.check("what userdel refuses is said", self.refused)
        self.check("service uninstall, with an instance running: nothing is left", self.uninstall)
        self.check("a second uninstallation does no harm", self.uninstall)
        if INSTALLATIONS > 1:
            self.many("installed and uninstalled again", INSTALLATIONS - 1, self.again)

    def broken_off(self) -> None:
        """Without the wheels pip cannot go on, as with a network that goes away; the group was there before."""
        self.do("groupadd", "sadstream")
        self.do("usermod", "-aG", "sadstream", "ben")
        said = self.do("env", "PIP_CONFIG_FILE=/dev/null", "PIP_NO_INDEX=1", INSTALLER, "service", "install", "--yes",
                       code=69, limit_s=120)  # fmt: skip
        assert "Traceback" not in said, said
        assert "pip install" in said.splitlines()[-1], said
        assert "group sadstream: there already" in said, said
        self.do("id", "sadstream")
        said = self.do(INSTALLER, "service", "uninstall", "--yes")
        assert "group sadstream: left" in said, said
        self.do("id", "sadstream", code=1)
        self.do("getent", "group", "sadstream")
        self.do("groupdel", "sadstream")
        self.gone()

    def install(self) -> None:
        self.do("bash", "-c", f"umask 077; {INSTALLER} service install --yes", limit_s=500)

    def score(self) -> None:
        """Which compiles what the daemon imports, as pip would have: each start of it takes 6 s of a core less."""
        said = self.do("env", "SADSTREAM_MODELS=/var/lib/sadstream/models", SYSTEM, "score", "/live/scene.flac")
        assert len(said.splitlines()) > 3, said

    def verified(self) -> None:
        for unit in ("sadstream.service", "sadstream@room1.service"):
            said = self.do("systemd-analyze", "verify", unit)
            assert not said, said
        said = self.do("systemd-analyze", "security", "--no-pager", "--threshold=15", "sadstream.service")
        assert "SAFE" in said or "OK" in said, said[-200:]

    def boxed(self) -> None:
        pid = self.show("MainPID")
        status = dict(
            line.split(":\t", 1) for line in self._c.said("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line
        )
        assert (status["Seccomp"], status["NoNewPrivs"], status["CapEff"]) == ("2", "1", "0" * 16), status
        assert self._c.said("ps", "-o", "user=", "-p", pid) == "sadstream"
        devices = self._c.said("nsenter", "-t", pid, "-n", "cat", "/proc/net/dev").count(":")
        assert devices == 1, f"{devices} network devices"
        own, first = (self._c.said("readlink", f"/proc/{one}/ns/net") for one in (pid, "1"))
        assert own != first

    def heard(self) -> None:
        listen = ("timeout", "30", SYSTEM, "listen", ENDPOINT, "--json", "--count", "1", "--timeout")
        self.do("usermod", "-aG", "sadstream", "anna")
        said = self.user(*listen, "25")
        assert '"type":"score"' in said, said
        said = self._c.run(*listen, "3", user="ben").stdout
        assert "score" not in said, said

    def reload(self) -> None:
        path = "/etc/sadstream/sadstream.toml"
        self.do("cp", path, "/root/good.toml")
        self.do("bash", "-c", f"echo 'threshold = 0.9' >> {path}")
        self.do("systemctl", "reload", "sadstream")
        within(5, lambda: "changed: model.threshold" in self.log())
        self.do("bash", "-c", f"echo 'treshold = 0.9' >> {path}")
        self._c.run("systemctl", "reload", "sadstream")
        within(5, lambda: "the configuration stays as it was" in self.log())
        self.do("cp", "/root/good.toml", path)
        self.do("systemctl", "reload", "sadstream")
        assert self.listens()

    def outputs(self) -> str:
        return self.do("pactl", "-s", "unix:/run/pulsemic/native", "list", "short", "source-outputs")

    def pause(self) -> None:
        self.do(SYSTEM, "pause", ENDPOINT)
        try:
            within(2, lambda: not self.outputs())
            self.do(SYSTEM, "service", "status", "--check", code=69)
            self.do("systemctl", "restart", "sadstream")
            assert "paused (user)" in self.show("StatusText"), self.show("StatusText")
            assert not self.outputs()
        finally:
            self.do(SYSTEM, "resume", ENDPOINT)
        within(6, self.listens)

    def capture_stopped(self) -> None:
        self.do("pkill", "-STOP", "-u", "sadstream", "-f", "sadstream.audio.sources.capture")
        within(4, lambda: "no-device (stalled)" in self.log("sadstream", "--since", "-10s"))
        within(8, self.listens)

    def server_killed(self) -> None:
        self.do("systemctl", "kill", "-s", "KILL", "pulsemic")
        within(4, lambda: "no-device" in self.show("StatusText"))
        self.do("systemctl", "restart", "pulsemic")
        within(25, self.listens)

    def another(self, pid: str, unit: str = "sadstream") -> bool:
        return self.show("MainPID", unit) not in ("0", pid) and self.listens(unit)

    def killed(self) -> float:
        pid = self.show("MainPID")
        self.do("kill", "-KILL", pid)
        return within(READY_S, lambda: self.another(pid))

    def stop_and_start(self) -> float:
        began = time.monotonic()
        self.do("systemctl", "stop", "sadstream")
        stopped_s = time.monotonic() - began
        assert (self.show("Result"), self.show("ExecMainStatus")) == ("success", "0"), self.show("Result")
        assert stopped_s < 2 * patience(), f"{stopped_s:.1f} s to stop"
        self.stops.append(stopped_s)
        began = time.monotonic()
        self.do("systemctl", "start", "sadstream")
        within(10, self.listens)
        return time.monotonic() - began

    def not_restarted(self, code: int) -> None:
        path = {78: "/etc/sadstream/sadstream.toml", 69: "/var/lib/sadstream/checkpoints"}[code]
        self.do("cp", "-a", path, "/root/kept")
        if code == 78:
            self.do("sed", "-i", "s/^source/sorce/", path)
        else:
            self.do("bash", "-c", f"echo damaged > $(readlink -f {path}/current.safetensors)")
        try:
            self._c.run("systemctl", "restart", "sadstream")
            within(20, lambda: self.show("ActiveState") == "failed")
            time.sleep(7)  # RestartSec is 5
            found = (self.show("ExecMainStatus"), self.show("NRestarts"), self.show("ActiveState"))
            assert found == (str(code), "0", "failed"), found
            said = self.log("sadstream", "-p", "err", "--since", "-40s")
            assert "sadstream" in said, f"no error in the journal: {self.log()[-300:]}"
        finally:
            self.do("rm", "-rf", path)
            self.do("mv", "/root/kept", path)
            self.fresh()
            self.do("systemctl", "start", "sadstream")
        within(10, self.listens)

    def tried_for_ever(self) -> None:
        """A row of failures, made quick by a drop-in; then the file comes, and nobody does anything."""
        self.do("mkdir", "-p", "/run/systemd/system/sadstream.service.d")
        self._c.write("/run/systemd/system/sadstream.service.d/quick.conf", "[Service]\nRestartSec=0.1\n")
        self.do("systemctl", "daemon-reload")
        self.do("mv", "/etc/sadstream/sadstream.toml", "/root/away.toml")
        try:
            self._c.run("systemctl", "restart", "--no-block", "sadstream")
            within(40, lambda: int(self.show("NRestarts")) > 6)
            assert "status=66" in self.log("sadstream", "--since", "-60s"), self.log()[-300:]
            said = self.log("sadstream", "-p", "err", "--since", "-60s")
            assert "sadstream.toml" in said, f"no error in the journal: {said[-300:]}"
        finally:
            self.do("rm", "-r", "/run/systemd/system/sadstream.service.d")
            self.do("systemctl", "daemon-reload")
            self.do("mv", "/root/away.toml", "/etc/sadstream/sadstream.toml")
            within(READY_S, self.listens)
        self.fresh()

    def second(self) -> None:
        pid = self.show("MainPID")
        config = "/etc/sadstream/sadstream.toml"
        said = self.do("runuser", "-u", "sadstream", "--", "env", "SADSTREAM_MODELS=/var/lib/sadstream/models",
                       SYSTEM, "run", "--config", config, "--publish", ENDPOINT, code=73)  # fmt: skip
        assert len(said.splitlines()[-1]) < 300, said
        assert self.show("MainPID") == pid
        within(10, self.listens)

    def checkpoints(self) -> None:
        self._c.write("/root/damaged.safetensors", "not weights")
        said = self.do(SYSTEM, "service", "upgrade", "/root/damaged.safetensors", code=69, limit_s=100)
        assert "Traceback" not in said
        self.do(SYSTEM, "service", "upgrade", "default", limit_s=100)
        self.do(SYSTEM, "service", "rollback", code=2)  # there was none before
        within(10, self.listens)

    def instance(self) -> None:
        self.do("cp", "/etc/sadstream/sadstream.toml", "/etc/sadstream/room1.toml")
        self.do("systemctl", "enable", "--now", "sadstream@room1")
        within(READY_S, lambda: self.listens("sadstream@room1"))
        within(10, self.listens)
        said = self.do("timeout", "60", SYSTEM, "listen", "ipc:///run/sadstream-room1/pub", "--json", "--count", "1",
                       "--timeout", "50", limit_s=70)  # fmt: skip
        assert '"type":"score"' in said, said
        pid = self.show("MainPID", "sadstream@room1")
        self.do("kill", "-KILL", pid)
        within(READY_S, lambda: self.another(pid, "sadstream@room1"))

    def frozen(self) -> float:
        pid = self.show("MainPID")
        began = time.monotonic()
        self.do("kill", "-STOP", pid)
        within(60, lambda: self.show("MainPID") != pid)
        self.deaths.append(time.monotonic() - began)
        within(60, lambda: self.another(pid))
        return time.monotonic() - began

    def install_user(self) -> None:
        # By a unit: logind 262 answers nobody whose cgroup it cannot see, as that of a command of ours.
        self.do("systemd-run", "--quiet", "--wait", "loginctl", "enable-linger", "anna")
        within(20, lambda: self._c.said("systemctl", "is-active", f"user@{self._c.uid('anna')}") == "active")
        self.do("rm", "-rf", "/home/anna/sad")
        self.do("cp", "-a", "/root/sad", "/home/anna/sad")
        self.do("chown", "-R", "anna:", "/home/anna/sad")
        self.user("env", "SADSTREAM_MODELS=/models", "/home/anna/sad/bin/python", "-m", "sadstream",
                  "service", "install", "--user", "--yes", limit_s=500)  # fmt: skip
        within(90, self.user_listens)

    def user_show(self, name: str) -> str:
        return self._c.said("systemctl", "--user", "show", "-P", name, "sadstream", user="anna")

    def user_listens(self) -> bool:
        return self.user_show("ActiveState") == "active" and ": listening" in self.user_show("StatusText")

    def user_killed(self) -> None:
        pid = self.user_show("MainPID")
        self.user("kill", "-KILL", pid)
        within(60, lambda: self.user_show("MainPID") not in ("0", pid) and self.user_listens())
        program = "/home/anna/.local/share/sadstream/venv/bin/sadstream"
        self.user(program, "service", "status", "--user", "--check")
        self.user("systemctl", "--user", "stop", "sadstream")
        assert (self.user_show("Result"), self.user_show("ExecMainStatus")) == ("success", "0")
        self.user("systemctl", "--user", "start", "sadstream")

    def reboot(self) -> float:
        room = "ipc:///run/sadstream-room1/pub"
        self.do(SYSTEM, "pause", room)
        began = time.monotonic()
        self._c.reboot()
        assert time.monotonic() - began < 30 * patience()
        within(READY_S, self.listens)
        within(60, self.user_listens)
        taken_s = time.monotonic() - began
        within(60, lambda: "paused (user)" in self.show("StatusText", "sadstream@room1"))
        self.do(SYSTEM, "resume", room)
        within(60, lambda: self.listens("sadstream@room1"))
        return taken_s

    def uninstall_user(self) -> None:
        self.user("/home/anna/sad/bin/python", "-m", "sadstream", "service", "uninstall", "--user", "--yes")
        assert self.user_show("ActiveState") == "inactive"
        self.do("rm", "-rf", "/home/anna/sad")
        left = self._c.said("find", "/home/anna", "-name", "*sadstream*")
        assert not left, left
        self.user("pgrep", "-u", "anna", "-f", "sadstream", code=1)

    def refused(self) -> None:
        """Somebody uses the user: userdel says 8. What could be done is done, and the rest is done the next time."""
        self.do("bash", "-c", "setsid runuser -u sadstream -- sleep 300 >/dev/null 2>&1 &")
        said = self.do(INSTALLER, "service", "uninstall", "--yes", code=69)
        assert "userdel" in said, said
        assert "Traceback" not in said, said
        self.do("pkill", "-u", "sadstream")

    def uninstall(self) -> None:
        self.do(INSTALLER, "service", "uninstall", "--yes")
        self.gone()

    def gone(self) -> None:
        """Processes, accounts, files: none."""
        assert not self._c.said("pgrep", "-f", "/opt/sadstream")
        for kind in ("passwd", "group"):
            self.do("getent", kind, "sadstream", code=2)
        found = self._c.said("find", "/opt", "/etc", "/var/lib", "/run", "-name", "*sadstream*")
        assert not found, found
        assert not self._c.said("systemctl", "list-units", "--all", "--no-legend", "sadstream*")

    def again(self) -> float:
        began = time.monotonic()
        self.install()
        taken_s = time.monotonic() - began
        within(READY_S, self.listens)
        self.uninstall()
        return taken_s


def python_for(suite: str, tree: Path) -> tuple[str, dict[Path, str]]:
    """The Python inside that our wheels fit, and what has to be mounted for it."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if (tree / f"usr/bin/python{own}").exists():
        return "/usr/bin/python3", {}
    if sys.base_prefix == "/usr":
        raise RuntimeError(f"{suite} has no Python {own}, and this one cannot be carried there (it is the system's)")
    return f"/opt/python/bin/python{own}", {Path(sys.base_prefix): "/opt/python"}


def tree_of(suite: str, packages: Sequence[str]) -> Path:
    """The base tree of a suite; one with more packages is another."""
    return CACHE / "-".join((suite, *packages))


def test(suite: str, house: Path, course: Callable[["Live"], None], tree: Path) -> Live | str:
    """All checks in one tree, or why there were none."""
    try:
        python, binds = python_for(suite, tree)
    except RuntimeError as error:
        return str(error)
    binds |= {house: "/live", MODELS: "/models"}
    with Container(f"sadstream-{suite}", tree, CACHE / f"work-{suite}", binds) as container:
        live = Live(suite, container, python)
        LIVES.append(live)
        try:
            container.boot()
        except RuntimeError as error:
            return str(error)
        version = container.said("systemctl", "--version").split()[1]
        container.run("bash", "-c", "mkdir -p /root/.cache/sadstream; ln -s /models /root/.cache/sadstream/models")
        with print_lock:
            print(f"     {suite:9} systemd {version}, {python}", flush=True)
        if live.check("a sound server that speaks, an environment to install from", live.prepare):
            course(live)
        return live


def figures(live: Live) -> None:
    """Trials with their Wilson intervals, as the rows of docs/reliability.md."""
    rows = dict(live.trials)
    rows |= {"systemctl stop": [*live.stops], "SIGSTOP: killed by the watchdog": [*live.deaths]}
    for name, taken in rows.items():
        good = sorted(seconds for seconds in taken if seconds is not None)
        if good:
            low, high = interval(len(good), len(taken))
            between = f"{good[0]:.1f} to {good[-1]:.1f} s, median {good[len(good) // 2]:.1f} s"
            held = f"{len(good)}/{len(taken)} | {100 * low:.1f} to {100 * high:.1f} %"
            print(f"| {live.suite}: {name} | {held} | {between} |")


def verdict(skipped: Sequence[str] = (), faults: Sequence[str] = ()) -> int:
    """What came out, and its exit code: 0 if every check held, or none could be made."""
    for reason in skipped:
        print(f"     skipped: {reason}")
    for live in LIVES:
        figures(live)
    up = [f"the time is up: {LIMIT_S / 60:.0f} minutes"] if OVER.is_set() else []
    for fault in [*faults, *up]:
        print(f"FAIL {fault}")
    passed, failed = (sum(getattr(live, name) for live in LIVES) for name in ("passed", "failed"))
    failed += len(faults) + len(up)
    print(f"{passed} passed, {failed} failed" + (f", {len(skipped)} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


def time_is_up() -> None:
    """Every wait ends, every command with its container; what does not end even so is left."""
    OVER.set()
    for container in tuple(OPEN):
        container.kill()
    time.sleep(60)
    leave_nothing()
    os._exit(verdict())


def main(
    course: Callable[[Live], None] = Live.run,
    suites: Sequence[str] = (),
    extras: Sequence[str] = (),
    packages: Sequence[str] = (),
) -> int:
    """Trees, wheels, and all checks in each tree; the exit code."""
    reason = why_not()
    if reason is not None:
        print(f"the service under systemd: skipped: {reason}")
        return verdict([reason])
    limit = threading.Timer(LIMIT_S, time_is_up)
    limit.daemon = True
    limit.start()
    named = [*(sys.argv[1:] or suites)]
    suites = named or [OLDEST, NEWEST[0]]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as beside:
        house = beside.submit(wheelhouse, extras)
        made = {suite: beside.submit(bootstrap, suite, tree_of(suite, packages), packages) for suite in suites}
        faults = {suite: future.result() for suite, future in made.items()}
        if not named and faults[NEWEST[0]] and not faults[OLDEST]:  # unstable is not always installable
            for suite in NEWEST[1:]:
                print(f"     {faults[suites[-1]]}")
                suites[-1], faults[suite] = suite, bootstrap(suite, tree_of(suite, packages), packages)
                if faults[suite] is None:
                    break
        if all(faults[suite] for suite in suites):
            return verdict([str(faults[suite]) for suite in suites])
        try:
            wheels = house.result()
        except RuntimeError as error:
            return verdict(faults=[str(error)])
        print(f"     trees and wheels after {time.monotonic() - began:.0f} s", flush=True)
        runs = [
            faults[suite] or beside.submit(test, suite, wheels, course, tree_of(suite, packages)) for suite in suites
        ]
        results = [run if isinstance(run, str) else run.result() for run in runs]
    limit.cancel()
    print(f"     after {time.monotonic() - began:.0f} s")
    return verdict([result for result in results if isinstance(result, str)])


if __name__ == "__main__":
    end_with_us()
    sys.exit(main())
