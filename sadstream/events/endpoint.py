"""Where a socket may be bound: this machine by default, a network only with keys."""

import ipaddress
import os
from pathlib import Path

LONGEST = 107  # bytes of a socket's path, the system's limit
LOCAL_NAMES = frozenset({"localhost", "lo"})


def check(endpoint: str) -> str:
    """The endpoint; ValueError unless it is ipc:///path or tcp://HOST:PORT."""
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc" and rest:
        return _fitting(rest)
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
        return endpoint
    raise ValueError("expected ipc:///path or tcp://127.0.0.1:PORT")


def _fitting(path: str) -> str:
    """The endpoint of a path, `~` as the home; ValueError where no socket can be."""
    if path.startswith("@"):  # no owner, no mode: every user of the machine could listen
        raise ValueError("expected a path: a name without a file is open to every user of this machine")
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    size = len(os.fsencode(path))
    if size > LONGEST or "\0" in path:
        raise ValueError(f"{size} bytes: expected at most {LONGEST}, the system's limit; use a shorter path")
    return f"ipc://{path}"


def is_local(endpoint: str) -> bool:
    """Only programs of this machine can connect there."""
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES


def beside(endpoint: str) -> str:
    """A second endpoint, open to the same readers: a path beside it, or a free port of the same host."""
    if endpoint.startswith("ipc://"):
        return f"{endpoint}.replay"
    return f"{endpoint.rpartition(':')[0]}:*"
