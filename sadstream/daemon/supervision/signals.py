"""What the daemon is told by signals."""

import signal
from types import FrameType, TracebackType


class Signals:
    """SIGTERM and SIGINT ask for the end, SIGHUP to read the configuration again; each makes `wake_fd` readable.

    A SIGHUP because the terminal went away is to end a run too: whoever asks looks for that first.
    """

    def __init__(self, wake_fd: int) -> None:
        self._wake_fd = wake_fd
        self.stop_wanted = False
        self._reload_wanted = False

    def __enter__(self) -> "Signals":
        wanted = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._reload}
        self._before = {number: signal.signal(number, action) for number, action in wanted.items()}
        self._wakeup_before = signal.set_wakeup_fd(self._wake_fd, warn_on_full_buffer=False)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, action in self._before.items():
            signal.signal(number, action)

    def take_reload(self) -> bool:
        """Somebody wanted the configuration read again since this was asked last."""
        wanted, self._reload_wanted = self._reload_wanted, False
        return wanted

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_wanted = True

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_wanted = True
