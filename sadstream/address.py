"""Where a socket may be bound: this machine by default, a network only with keys."""

import ipaddress

LOCAL_NAMES = frozenset({"localhost", "lo"})


def check(endpoint: str) -> str:
    """The endpoint; ValueError unless it is ipc:///path or tcp://HOST:PORT."""
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc" and rest:
        return endpoint
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
        return endpoint
    raise ValueError("expected ipc:///path or tcp://127.0.0.1:PORT")


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
