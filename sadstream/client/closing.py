"""How a reader that waits learns from another thread that it is over."""

import socket


class ClosingSignal:
    """Set once, from any thread; whoever waits on its `opened` end wakes, because the other end is closed."""

    def __init__(self) -> None:
        self.is_set = False
        self._far: socket.socket | None = None

    def opened(self) -> socket.socket:
        """The end to wait on: its reader looks at `is_set` after this, and closes it."""
        near, self._far = socket.socketpair()
        return near

    def set(self) -> None:
        """Say it; nothing where it was said before."""
        self.is_set = True
        self.free()

    def free(self) -> None:
        """Close the other end."""
        if self._far is not None:
            self._far.close()
