"""A Debian tree booted by systemd-nspawn: a real systemd as PID 1, no network, commands inside it."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PATIENCE = float(os.environ.get("PATIENCE", "3"))  # limits are multiplied, and by more on a busier machine
BOOT_S = 60.0
FETCH_S = 420.0  # of a tree: a minute as a rule
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "python3", "python3-venv", "procps",
    "libportaudio2", "libasound2-plugins", "pulseaudio", "pulseaudio-utils",
)  # fmt: skip
CGROUPS = [path for path in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")) if path.is_dir()]
CGROUPS = CGROUPS or [Path("/sys/fs/cgroup")]  # hybrid hierarchies, else the unified one
OPEN: list["Container"] = []
OVER = threading.Event()  # the run's own time is up
ROOMY_MB = 18_000  # free memory with which what a container writes, 5 GB, stays there
REBOOT = 133  # the exit code of a systemd-nspawn whose service manager is to start it again
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def patience() -> float:
    """What limits are multiplied by: three, and twice the number of programs that want each core."""
    return max(PATIENCE, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def free_memory_mb() -> int:
    """What could be had without swapping."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) // 1024


def limited(seconds: float) -> list[str]:
    """Before a command: it ends by then, and with us, and all that it started with it."""
    return ["setpriv", "--pdeathsig", "TERM", "timeout", "-k", "5", f"{seconds:.0f}"]


def bootstrap(suite: str, tree: Path, more: Sequence[str] = (), packages: Sequence[str] = PACKAGES) -> str | None:
    """The suite with these packages in this folder, made once; why not, where that failed."""
    if (tree / ".whole").exists():
        return None
    subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=True)
    script = [suite] if Path(f"/usr/share/debootstrap/scripts/{suite}").exists() else [suite, "sid"]
    command = [
        *limited(FETCH_S),
        "debootstrap",
        "--variant=minbase",
        *([f"--include={','.join((*packages, *more))}"] if (*packages, *more) else []),
        script[0],
        str(tree),
        "",  # the mirror that it knows
    ]
    done = subprocess.run([*command, *script[1:]], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        (tree / ".whole").touch()
        return None
    return f"{suite}: debootstrap ended with {done.returncode}: {' '.join((done.stdout + done.stderr).split())[-200:]}"


class Container:
    """One booted system over a base tree that stays as it is; leaving the block powers it off and forgets it."""

    def __init__(self, name: str, base: Path, work: Path, binds: dict[Path, str]) -> None:
        self.root = work / "root"
        self._name, self._base, self._work = name, base, work
        self._binds = [f"--bind-ro={outside}:{inside}" for outside, inside in binds.items()]
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> "Container":
        self.forget()
        self._work.mkdir(parents=True)
        if free_memory_mb() > ROOMY_MB:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g,mode=755", "tmpfs", str(self._work)], check=True)
        for name in ("upper", "scratch", "root"):
            (self._work / name).mkdir()
        OPEN.append(self)
        layers = f"lowerdir={self._base},upperdir={self._work}/upper,workdir={self._work}/scratch,volatile"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()
        self.forget()
        OPEN.remove(self)

    def boot(self) -> None:
        """Start PID 1 and wait until it has started all that it starts."""
        for group in CGROUPS:
            (group / self._name).mkdir(exist_ok=True)
        move = "; ".join(f"echo $$ > {group}/{self._name}/cgroup.procs" for group in CGROUPS)
        nspawn = [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", f"--machine={self._name}",
            "--register=no", "--keep-unit", "--private-network", "--kill-signal=SIGRTMIN+4", "--console=pipe",
            *self._binds,
        ]  # fmt: skip
        with (self._work / "console").open("ab") as console:
            self._process = subprocess.Popen(
                ["bash", "-c", f'{move}; exec "$@"', "bash", *nspawn],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={"PATH": PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
        self._await_boot()

    def reboot(self) -> None:
        """`systemctl reboot` inside; systemd-nspawn ends, and is started again."""
        assert self._process is not None
        self.run("systemctl", "reboot", "--no-block")
        try:
            code = self._process.wait(BOOT_S * patience())
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{self._name} did not go down: {self.console()}") from error
        assert code == REBOOT, f"systemd-nspawn ended with {code}"
        self.boot()

    def power_off(self) -> None:
        """As its power button would; at last by force."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """At once: PID 1 inside takes all that is inside with it, and outlives systemd-nspawn."""
        leader = self._child() if self._process is not None and self._process.poll() is None else 0
        for pid in (leader, self._process.pid if self._process is not None else 0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL) if pid else None

    def run(self, *command: str, limit_s: float = 60.0, user: str | None = None) -> "subprocess.CompletedProcess[str]":
        """A command inside, from start to end; killed at the limit, whatever it hangs on."""
        who = ["runuser", "-u", user, "--"] if user else []
        home = f"/home/{user}" if user else "/root"
        names = [f"HOME={home}", "LANG=C.UTF-8", f"PATH={PATH}"]
        if user:
            names.append(f"XDG_RUNTIME_DIR=/run/user/{self.uid(user)}")
        inside = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        full = [
            "timeout", "-s", "KILL", str(limit_s * patience()), *inside, *who, "env", "-i", "-C", "/", *names, *command,
        ]  # fmt: skip
        return subprocess.run(full, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    def said(self, *command: str, **options: float | str) -> str:
        """What a command inside prints."""
        return self.run(*command, **options).stdout.strip()  # type: ignore[arg-type]

    def uid(self, user: str) -> int:
        """A user's number inside."""
        lines = (self.root / "etc/passwd").read_text().splitlines()
        return next(int(line.split(":")[2]) for line in lines if line.startswith(f"{user}:"))

    def write(self, path: str, text: str) -> None:
        """A file inside, through its own file system."""
        inside = ["nsenter", "-t", str(self._leader), "-m", "-r", "-w"]
        writing = ["bash", "-c", 'mkdir -p "${1%/*}"; cat > "$1"', "bash", path]
        done = subprocess.run([*inside, *writing], input=text, text=True, check=False)
        assert done.returncode == 0, path

    def console(self) -> str:
        """The last lines of the console."""
        return (self._work / "console").read_text(errors="replace")[-800:]

    def _await_boot(self) -> None:
        until = time.monotonic() + BOOT_S * patience()
        while time.monotonic() < until and not OVER.is_set():
            time.sleep(0.2)
            leader = self._child()
            if not leader or not Path(f"/proc/{leader}/root/run/dbus/system_bus_socket").exists():
                continue
            self._leader = leader
            if self.said("systemctl", "is-system-running", "--wait", limit_s=BOOT_S) in ("running", "degraded"):
                return
        raise RuntimeError(f"{self._name} did not boot: {self.console()}")

    def _child(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self._name}: systemd-nspawn ended with {self._process.returncode}: {self.console()}")
        with contextlib.suppress(OSError):
            found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            return int(found[-1]) if found else 0
        return 0

    def forget(self) -> None:
        """No mount, folder or cgroup of it."""
        for mounted in (self.root, self._work):
            subprocess.run(["umount", "--lazy", str(mounted)], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self._work)], check=False)
        for group in CGROUPS:
            for folder, _, _ in os.walk(group / self._name, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def within(limit_s: float, true: Callable[[], object]) -> float:
    """Wait until it is so: the seconds that it took."""
    began = time.monotonic()
    while not true():
        passed_s, most_s = time.monotonic() - began, limit_s * patience()
        assert not OVER.is_set(), "the run's time is up"
        assert passed_s < most_s, f"not within {passed_s:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - began


def leave_nothing() -> None:
    """No process, mount or folder of a container."""
    OVER.set()
    for container in tuple(OPEN):
        container.kill()
    time.sleep(1)  # until what was killed is gone
    for container in tuple(OPEN):
        container.forget()


def end_with_us() -> None:
    """SIGTERM and Ctrl-C leave no container behind: without one, what waits for its commands goes on, and fails."""

    def end(number: int, _frame: object) -> None:
        leave_nothing()
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
