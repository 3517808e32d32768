"""How many cores are ours to compute on."""

import os


def own_cores() -> int:
    """Those that this process may use; where the system cannot say, as on macOS, all of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
