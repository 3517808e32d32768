"""Whose program is at the other end of a loopback connection: the kernel knows."""

import ipaddress
import sys
from pathlib import Path

MAPPED = bytes(10) + b"\xff\xff"  # what an IPv6 socket puts before an IPv4 address
ESTABLISHED = "01"  # of a socket that its program has closed the tables say root's
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def owner(client: tuple[str, int], server: tuple[str, int], tables: tuple[Path, ...] = TABLES) -> int | None:
    """The user id that holds the client's end, None where no table of this machine has it open."""
    wanted = {(local, remote) for local in _spellings(client) for remote in _spellings(server)}
    for table in tables:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if (fields[1], fields[2]) in wanted and fields[3] == ESTABLISHED:
                return int(fields[7])
    return None


def _spellings(address: tuple[str, int]) -> set[str]:
    """An address as the kernel's tables write it: an IPv4 one also as the IPv6 address that stands for it."""
    host = ipaddress.ip_address(address[0])
    port = f"{address[1]:04X}"
    if isinstance(host, ipaddress.IPv6Address):
        return {f"{_words(host.packed)}:{port}"}
    return {f"{_words(host.packed)}:{port}", f"{_words(MAPPED + host.packed)}:{port}"}


def _words(packed: bytes) -> str:
    """Groups of four bytes, each in the machine's order."""
    groups = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(group, sys.byteorder):08X}" for group in groups)
