"""A process that the daemon starts: it ends with the daemon, and Ctrl-C is the daemon's to decide about."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def follow_parent() -> None:
    """Let the kernel end this process with its parent (kill -9 included): without it nobody reads what it writes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group
