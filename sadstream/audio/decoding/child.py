"""A process that we start: it ends with us, and Ctrl-C is ours to decide about."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def follow_parent() -> None:
    """Let the kernel end this process with its parent (kill -9 included): without it nobody reads what it writes.

    Only Linux can; elsewhere it ends when it next writes or reads.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group
