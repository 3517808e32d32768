"""What macOS lacks is taken away from this process: Python's names of Linux, glibc's functions, /proc and /sys.

`python macos.py sadstream score FILE` runs a command so, `python macos.py sadstream-train ...` one of the workshop's,
`python macos.py import PACKAGE ...` imports all of their modules. It is no Mac: libraries have chosen what they need of
Linux before, the file system is Linux's, and so is what is started.
"""

import ctypes
import fcntl
import importlib
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
import time
from types import ModuleType
from typing import Any

# Names of Python 3.11 that its documentation, or <sys/*.h> of macOS, keeps for Linux.
GONE: dict[ModuleType, tuple[str, ...]] = {
    fcntl: ("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_ADD_SEALS", "F_GET_SEALS", "F_NOTIFY", "F_SETSIG", "F_SETLEASE"),
    os: (
        "sched_", "eventfd", "EFD_", "memfd_create", "MFD_", "pipe2", "posix_fadvise", "POSIX_FADV_", "posix_fallocate",
        "fdatasync", "copy_file_range", "splice", "SPLICE_", "getrandom", "GRND_", "pidfd_open", "O_DIRECT",
        "O_TMPFILE", "O_PATH", "O_NOATIME", "getxattr", "setxattr", "listxattr", "removexattr", "XATTR_", "getresuid",
        "getresgid",
        "setresuid", "setresgid", "preadv2", "RWF_", "waitid", "P_PIDFD", "CLONE_", "setns", "unshare",
    ),
    resource: ("prlimit", "RLIMIT_OFILE", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
               "RLIMIT_SIGPENDING", "RUSAGE_THREAD"),
    select: ("epoll", "EPOLL"),
    signal: ("sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGSTKFLT", "SIGPWR", "SIGPOLL",
             "pidfd_send_signal"),
    socket: ("SO_PEERCRED", "SO_PEERSEC", "SO_PASSCRED", "SO_BINDTODEVICE", "SO_MARK", "SOCK_CLOEXEC", "SOCK_NONBLOCK",
             "SOCK_SEQPACKET", "MSG_NOSIGNAL", "MSG_CMSG_CLOEXEC", "MSG_ERRQUEUE", "TCP_USER_TIMEOUT", "TCP_QUICKACK",
             "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"),
    time: ("CLOCK_BOOTTIME", "CLOCK_TAI", "pthread_getcpuclockid"),
}  # fmt: skip
FOLDERS = ("/proc/", "/sys/", "/run/", "/dev/shm/", "/dev/snd/")
LIBRARIES = (  # they have chosen what they need of this system by then
    "numpy", "scipy.stats", "torch", "zmq", "soundfile", "soxr", "sounddevice", "webrtcvad", "safetensors.numpy",
    "tokenizers", "pydantic", "typer", "rich.console", "platformdirs", "importlib.metadata", "asyncio", "subprocess",
    "concurrent.futures.process", "multiprocessing.shared_memory", "sklearn.metrics", "statsmodels.stats.multitest",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "yaml", "markdown_it", "torch._dynamo", "whisper",
)  # fmt: skip


def leave_linux() -> None:
    """From here on this process finds what a Mac has."""
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except (ImportError, OSError):  # an extra; or PortAudio
            continue
    for module, names in GONE.items():
        for name in [name for name in vars(module) if name.startswith(names)]:
            delattr(module, name)
    ctypes.CDLL = _OfMacOs  # type: ignore[misc, assignment]
    sys.platform = "darwin"
    sys.addaudithook(_refuse)


class _OfMacOs(ctypes.CDLL):
    """Any library; but the C library has none of what glibc alone has."""

    def __getattr__(self, name: str) -> Any:
        if self._name is None and name in ("prctl", "malloc_trim"):
            raise AttributeError(name)
        return super().__getattr__(name)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(FOLDERS):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


def import_all(packages: tuple[str, ...]) -> None:
    """Each module of these."""
    for name in packages:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
                print(found.name)


def main(command: str, *arguments: str) -> None:
    """One of our commands, as on a Mac."""
    leave_linux()
    if command == "import":
        import_all(arguments)
        return
    where = {"sadstream": "sadstream.cli.main", "sadstream-train": "train.cli"}[command]
    importlib.import_module(where).main(list(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
