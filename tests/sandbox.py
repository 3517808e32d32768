"""The sandbox of a unit without systemd: its system-call filter, put on a program by libseccomp.

    python sandbox.py UNIT PROGRAM...

`systemd-analyze syscall-filter` says what its groups of calls hold, as this machine would load it.
`RestrictAddressFamilies` is a filter too, and is part of it. What needs namespaces or privileges is not.
"""

import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
from errno import EAFNOSUPPORT, EPERM
from functools import cache
from pathlib import Path

LIBRARY = "libseccomp.so.2"
ALLOW = 0x7FFF0000  # <seccomp.h>
EQUAL = 4
FAMILIES = 64  # of addresses; Linux knows 46


class Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp: a system call's argument against a number."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("unused", ctypes.c_uint64),
    )


def missing() -> str | None:
    """What this machine lacks for a sandbox."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return LIBRARY
    return None if shutil.which("systemd-analyze") else "systemd-analyze"


def refuse(number: int) -> int:
    """The action that fails a call with this errno."""
    return 0x00050000 | number


@cache
def members(group: str) -> frozenset[str]:
    """The calls of a group such as @resources, and of the groups in it."""
    command = ["systemd-analyze", "syscall-filter", group]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.strip() for line in lines if line.startswith("    ") and not line.strip().startswith("#")]
    return frozenset[str]().union(*(members(name) if name[0] == "@" else {name} for name in names))


def allowed(unit: str) -> set[str]:
    """The calls that a unit's SystemCallFilter= lines leave, the later line upon the earlier."""
    found: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        for word in line.removeprefix("~").split():
            calls = members(word) if word[0] == "@" else {word}
            found = found - calls if line.startswith("~") else found | calls
    return found


def families(unit: str) -> list[int]:
    """The address families that a unit may open sockets of."""
    (names,) = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.M)
    return [getattr(socket, name) for name in names.split()]


def enter(unit: str) -> None:
    """Put the filter on this process and all that it starts, for ever."""
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(refuse(EPERM)))
    for name in sorted(allowed(unit)):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1 and name != "socket":  # newer than this libseccomp
            assert library.seccomp_rule_add(context, ALLOW, number, 0) == 0, name
    number = library.seccomp_syscall_resolve_name(b"socket")
    opened = families(unit)
    for family in range(FAMILIES):
        action = ALLOW if family in opened else refuse(EAFNOSUPPORT)
        compared = (Comparison * 1)(Comparison(0, EQUAL, family, 0))
        assert library.seccomp_rule_add_array(context, action, number, 1, compared) == 0
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    enter(Path(sys.argv[1]).read_text())
    os.execvp(sys.argv[2], sys.argv[2:])
