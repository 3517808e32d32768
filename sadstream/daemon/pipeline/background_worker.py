"""A thread beside the others, for what may be slow."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from sadstream.events import Score

BACKGROUND_ITEMS = 1000
BACKGROUND_STOP_S = 0.2  # to finish at the end; a disk that hangs is not waited for
RETRY_S = 5.0


class BackgroundWorker:
    """A thread for work that may be slow and must delay nobody, such as writing to a disk.

    What is put is handed to `work` in order, as many as wait at a time, and every RETRY_S at least; then `done` is
    called. More than BACKGROUND_ITEMS push the oldest out.
    """

    def __init__(self, name: str, work: Callable[[Sequence[Score]], None], done: Callable[[], None]) -> None:
        self._work = work
        self._done = done
        self._waiting: deque[Score] = deque(maxlen=BACKGROUND_ITEMS)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "BackgroundWorker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(BACKGROUND_STOP_S)

    def put(self, item: Score) -> None:
        """Leave an item for the thread; never waits."""
        with self._changed:
            self._waiting.append(item)
            self._changed.notify()

    def _run(self) -> None:
        closed = False
        while not closed:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed, RETRY_S)
                items, closed = list(self._waiting), self._closed
                self._waiting.clear()
            self._work(items)
        self._done()
