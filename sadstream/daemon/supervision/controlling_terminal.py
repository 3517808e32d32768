"""The terminal in which a run was started: it ends with it, unless it was told to outlive it."""

import errno
import os
import signal
import sys


class ControllingTerminal:
    """Held to the controlling terminal, to nothing where there is none (systemd, `setsid`).

    Nor is it held where standard input is no terminal and a hangup is ignored, as under `nohup`, or an interrupt, as
    shells do to what a script starts in the background.
    """

    def __init__(self) -> None:
        ignored = signal.SIG_IGN in (signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGINT))
        typed = sys.stdin is not None and sys.stdin.isatty()
        self._held = (typed or not ignored) and _terminal_is_there()

    def is_cut(self) -> bool:
        """The terminal was closed, its connection died, or its shell has ended."""
        return self._held and not _terminal_is_there()


def _terminal_is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.EINTR)  # says nothing of the terminal
    return True
