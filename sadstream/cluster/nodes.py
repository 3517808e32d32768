"""Machines as one cluster: Ray's head and those who join it, with safe settings. The one module that imports Ray.

Whoever reaches Ray's ports runs code on the machine, and Ray listens on every address whatever it is told: so there is
always a token, there is no dashboard and no client port, all ports follow from one, and nothing is told to anybody.
"""

import ctypes
import importlib.util
import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sadstream.base.errors import BusyError, UnavailableError
from sadstream.cluster.tokens import TOKEN_CREDENTIAL, check_token, default_token, make_token

BASE_PORT = 6379
WORKERS_FROM = 10  # ports from the base on for workers, before them Ray's own
WORKER_PORTS = 100
PORTS = WORKERS_FROM + WORKER_PORTS
# Ray keeps an argument of up to 100 KiB in the message that calls; a longer one goes into its store, and from there,
# when that is full, to the disk in plain.
INLINE_BYTES = 102_400
STORE_BYTES = 80 << 20  # the least that Ray takes; nothing of ours lies there
START_S = 120.0  # a head on two busy cores: 8 to 15 s; on very busy ones over 60
STOP_S = 10.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  Ray's store lies there; sessions too, so that no log reaches a disk
SESSION = "sadray-"  # then who started it
LISTENS = "0A"  # a socket's state in /proc/net/tcp
PR_SET_PDEATHSIG = 1
DIED = "A worker died or was killed"  # how Ray begins to say so

log = logging.getLogger("sadstream.cluster")


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One machine's part in a cluster; `cpus` and `gpus` as it has them unless said."""

    token: Path
    base_port: int = BASE_PORT
    address: str = ""  # that the others reach it by; as Ray finds it unless said
    cpus: int | None = None
    gpus: int | None = None
    resources: str = "{}"  # more of them, in JSON

    @property
    def last_port(self) -> int:
        """From `base_port` to this one the machine listens to the cluster."""
        return self.base_port + PORTS - 1


@dataclass(slots=True)
class Node:
    """A running head or joiner: a process of ours with Ray's below it, and a folder that goes with it."""

    process: subprocess.Popen[bytes]
    folder: Path
    settings: NodeSettings
    _ended: bool = field(default=False)

    @property
    def is_alive(self) -> bool:
        """Its processes run."""
        return self.process.poll() is None

    def said(self) -> str:
        """The last line that it wrote, to say why it ended."""
        with suppress(OSError):
            lines = (self.folder / "start.log").read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def end(self) -> None:
        """End it and all below it, and take its folder away."""
        if self._ended:
            return
        self._ended = True
        below = _below(self.process.pid)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        for pid in (self.process.pid, *below):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until = time.monotonic() + STOP_S
        while any(_is_running(pid) for pid in below) and time.monotonic() < until:
            time.sleep(0.02)  # whoever still writes would keep the folder
        shutil.rmtree(self.folder, ignore_errors=True)


def require() -> None:
    """UnavailableError where Ray is missing."""
    if importlib.util.find_spec("ray") is None:
        raise UnavailableError("cluster: Ray is missing; in the checkout: pip install '.[cluster]'")


def start_head(settings: NodeSettings) -> Node:
    """The first machine of a cluster, answering; UnavailableError and BusyError say why not."""
    host = settings.address or "127.0.0.1"
    return _start(
        settings,
        ["--head", "--port", str(settings.base_port), "--node-ip-address", host, "--include-dashboard", "false"],
    )


def join_head(head: str, settings: NodeSettings) -> Node:
    """This machine as one more of the cluster whose head is HOST[:PORT]."""
    address = _with_port(head)
    own = ["--node-ip-address", settings.address] if settings.address else []
    return _start(settings, ["--address", address, *own], reach=address)


def free_base_port() -> int:
    """The first of enough ports in a row that nobody listens on."""
    for _ in range(200):
        base = 20_000 + secrets.randbelow(30_000)
        if all(_is_free(base + n) for n in range(WORKERS_FROM)):
            return base
    raise BusyError("cluster: found no free ports; end what listens on so many")


def ray() -> Any:
    """The library, by its own import: told nothing to anybody, and with no word of ours in its logs."""
    require()
    os.environ.update(_environment())
    import ray as library

    return library


def serving() -> Any:
    """Ray Serve, quiet: no line an answer, and none of what an answer was."""
    ray()
    from ray import serve as library

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    return library


def connect(head: str, token: Path, leave_root: bool = False) -> Any:
    """Ray, connected to the head at HOST[:PORT] of this or another machine; UnavailableError where none answers.

    leave_root: who is root becomes the user who runs the head here, so that nothing of that user's is unpickled as root
    and no file of root's stays among its own.
    """
    address = _with_port(head)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": check_token(token).read_text().strip()}
    owner = _listener(int(address.rpartition(":")[2])) if leave_root and os.geteuid() == 0 else 0
    if owner:
        os.chdir("/")
        os.setgroups([])
        os.setgid(pwd.getpwuid(owner).pw_gid)
        os.setuid(owner)
    library = ray()
    library._private.worker.print_to_stdstream = _told  # it would go to standard output, which is the command's
    host, _, port = address.rpartition(":")
    if not _answers(host, int(port)):
        raise UnavailableError(f"cluster: nobody answers at {address}; is `sadstream serve` running there?")
    try:
        library.init(address=address, namespace="sadstream", log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray's own, of many kinds
        what = str(error).strip().splitlines()
        raise UnavailableError(
            f"cluster: {address} does not let us in: {what[0][:200] if what else type(error).__name__}; expected the "
            f"token of that cluster in {token}, and the same versions of Ray and Python"
        ) from None
    return library


def _told(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    """What Ray tells whoever is connected: that a process ended, and nothing that may hold words."""
    for line in data["lines"]:
        if str(line).startswith(DIED):
            log.warning("sadstream: cluster: %s, process %s", DIED.lower(), _process_in(str(line)))


def _process_in(line: str) -> str:
    found = re.search(r"Worker PID: (\d+)", line)
    return found[1] if found else "unknown"


def others(library: Any) -> list[dict[str, float]]:
    """What each machine but the head has, by Ray's names of it."""
    return [
        node["Resources"]
        for node in library.nodes()
        if node["Alive"] and "node:__internal_head__" not in node["Resources"]
    ]


@contextmanager
def cluster(head: str | None, token: Path | None = None, cpus: int | None = None) -> Iterator[Any]:
    """Ray, connected to the cluster at `head`, else to this machine's, else to one of its own that ends with the block.

    cpus: of one of its own; as many as there are unless said.
    """
    require()
    own = None
    where = token or default_token()
    if head is None and where.is_file() and _answers("127.0.0.1", BASE_PORT):
        head = "127.0.0.1"
    if head is None:
        folder = Path(tempfile.mkdtemp(prefix="sadstream-token-"))
        where = make_token(folder / TOKEN_CREDENTIAL)
        own = start_head(NodeSettings(where, free_base_port(), cpus=cpus))
        head = f"127.0.0.1:{own.settings.base_port}"
    try:
        library = connect(head, where)
        try:
            yield library
        finally:
            library.shutdown()
    finally:
        if own is not None:
            own.end()
            shutil.rmtree(where.parent, ignore_errors=True)


def _start(settings: NodeSettings, where: Sequence[str], reach: str = "") -> Node:
    require()
    _expect_shared_memory()
    check_token(settings.token)
    for port in range(settings.base_port, settings.base_port + WORKERS_FROM):
        if not _is_free(port):
            raise BusyError(
                f"cluster: port {port} is in use; expected {settings.base_port} to {settings.last_port} free; end what "
                f"listens there, or name others with --ray-port"
            )
    if reach:
        host, _, head_port = reach.rpartition(":")
        if not _answers(host, int(head_port)):
            raise UnavailableError(f"cluster: nobody answers at {reach}; is `sadstream serve` running there?")
    folder = _folder()
    environment = os.environ | _environment() | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(settings.token)}
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *where, *_options(settings, folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  one system call
        )
    node = Node(process, folder, settings)
    try:
        _await_start(node)
    except BaseException:
        node.end()
        raise
    return node


def _folder() -> Path:
    """A new folder for a session; those of ours that were killed are taken away."""
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    for old in place.glob(f"{SESSION}*"):
        pid = old.name.removeprefix(SESSION).partition("-")[0]
        with suppress(OSError):
            if pid.isdigit() and not _is_running(int(pid)) and old.stat().st_uid == os.getuid():
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{SESSION}{os.getpid()}-", dir=place))


def _options(settings: NodeSettings, folder: Path) -> list[str]:
    base = settings.base_port
    own = {
        "--node-manager-port": base + 1,
        "--object-manager-port": base + 2,
        "--dashboard-agent-listen-port": base + 3,
        "--dashboard-agent-grpc-port": base + 4,
        "--runtime-env-agent-port": base + 5,
        "--metrics-export-port": base + 6,
        "--ray-client-server-port": base + 7,  # cannot be left out; asks for the token as the rest
        "--min-worker-port": base + WORKERS_FROM,
        "--max-worker-port": settings.last_port,
        "--include-log-monitor": "false",
        "--object-store-memory": STORE_BYTES,
        "--object-spilling-directory": folder / "spill",
        "--resources": settings.resources,
        "--temp-dir": folder / "ray",  # Ray opens it to everybody; the folder around it is its owner's alone
        "--log-style": "record",
        "--log-color": "false",
    }
    if settings.cpus is not None:
        own["--num-cpus"] = settings.cpus
    if settings.gpus is not None:
        own["--num-gpus"] = settings.gpus
    return ["--disable-usage-stats", *(str(word) for option in own.items() for word in option)]


def _environment() -> dict[str, str]:
    """What Ray reads when it starts: nothing is sent to its makers, no port of its own choice, no wait at the end."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # it would wait 30 s for whoever serves here
        "RAY_enable_metrics_collection": "0",
        "AUTOSCALER_METRIC_PORT": "-1",  # that they cannot be opened is a line in a log of Ray's
        "DASHBOARD_METRIC_PORT": "-1",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "300",  # the others outlive a head that is started again
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_worker_niceness": "0",  # Ray would let everything else go first
    }


def _expect_shared_memory() -> None:
    if not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < 2 * STORE_BYTES:
        raise UnavailableError(
            f"{SHARED_MEMORY}: {free >> 20} MB free, expected {2 * STORE_BYTES >> 20}; in a container add "
            f"--shm-size 512m, else: mount -o remount,size=512M {SHARED_MEMORY}"
        )


def _await_start(node: Node) -> None:
    until = time.monotonic() + START_S
    log = node.folder / "start.log"
    while time.monotonic() < until:
        if b"Ray runtime started" in log.read_bytes():
            return
        if not node.is_alive:
            break
        time.sleep(0.1)
    raise UnavailableError(f"cluster: Ray did not start: {node.said() or f'silent for {START_S:g} s'}")


def _end_with_parent() -> None:
    """Whoever started it may be killed: then it is told to end too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _below(pid: int) -> list[int]:
    """All processes that descend from one, as the system has them now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _is_running(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _with_port(head: str) -> str:
    host, colon, port = head.rpartition(":")
    return head if colon and port.isdigit() and host else f"{head}:{BASE_PORT}"


def _listener(port: int) -> int:
    """The number of the user who listens on a port here; 0 where nobody does."""
    for table in ("/proc/net/tcp6", "/proc/net/tcp"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[1].endswith(f":{port:04X}") and words[3] == LISTENS:
                    return int(words[7])
    return 0


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
