"""When a cluster counts as away and when as back: pure, told of each answer and each silence, with the time."""

from dataclasses import dataclass

HELLO_S = 1.0  # between two hellos while nobody answers, or while those that count are collected
HELLOS_BACK = 3  # in a row, RETURN_S apart, before a room that has models of its own asks again
RETURN_S = 5.0  # so that a network that comes and goes moves nothing more often than every 10 s
HEARTBEAT_S = 2.0  # between two hellos while all is well
AWAY_S = 6.0  # without an answer to anything
TIMEOUTS_AWAY = 2  # segments in a row that nobody answered in time


@dataclass(slots=True)
class Reachability:
    """Whether the door answers, by what came of hellos and segments.

    hellos_back: how many hellos in a row bring it back after it was away; the first time one is enough.
    """

    hellos_back: int = HELLOS_BACK
    is_up: bool = False
    _heard_s: float = 0.0
    _hellos: int = 0
    _counted_s: float = 0.0
    _timeouts: int = 0
    _was_up: bool = False

    def hello(self, now_s: float) -> None:
        """A hello was answered by a door behind which somebody can score."""
        self._heard_s = now_s
        if self.is_up:
            return
        needed = self.hellos_back if self._was_up else 1
        if self._hellos == 0 or now_s - self._counted_s >= RETURN_S:
            self._hellos, self._counted_s = self._hellos + 1, now_s
        if self._hellos >= needed:
            self.is_up = self._was_up = True
            self._timeouts = 0

    def answered(self, now_s: float) -> None:
        """A segment was answered in time, in whatever way."""
        self._heard_s, self._timeouts = now_s, 0

    def timed_out(self) -> None:
        """A segment was not."""
        self._timeouts += 1
        if self._timeouts >= TIMEOUTS_AWAY:
            self.lost()

    def lost(self) -> None:
        """The connection is gone, or nobody can score."""
        self.is_up = False
        self._hellos = self._timeouts = 0

    def elapse(self, now_s: float) -> None:
        """Silence for too long is away; between two hellos that count, no answer starts the count anew."""
        if self.is_up and now_s - self._heard_s > AWAY_S:
            self.lost()
        if not self.is_up and self._hellos and now_s - self._heard_s > AWAY_S:
            self._hellos = 0

    @property
    def hello_due_s(self) -> float:
        """How long to wait between two hellos now."""
        return HEARTBEAT_S if self.is_up else HELLO_S
