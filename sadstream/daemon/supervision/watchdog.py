"""Whether the threads get on, or one of them takes for ever over a segment or a frame: pure, no clock."""

from collections.abc import Mapping

ABSENCE_S = 1.0  # a loop that was away for longer (SIGSTOP, suspend) first lets the others catch up


class Watchdog:
    """Asked at every tick of the supervising loop; times are of the monotonic clock."""

    def __init__(self, now_s: float) -> None:
        self._ticked_s = self._judges_from_s = now_s

    def hung(self, now_s: float, limit_s: float, busy_s: float, silent_s: Mapping[str, float]) -> str | None:
        """What has hung for longer than the limit, in words; None while all get on.

        busy_s: how long the analyser has been at one thing; silent_s: of each stream that has to show signs of life,
        how long it has shown none.
        """
        if now_s - self._ticked_s > ABSENCE_S:
            self._judges_from_s = now_s + limit_s
        self._ticked_s = now_s
        if now_s < self._judges_from_s:
            return None
        for stream, seconds in silent_s.items():
            if seconds > limit_s:
                return f"{stream}: its reader has hung for {limit_s:g} s"
        return f"the analyser has hung for {limit_s:g} s" if busy_s > limit_s else None
