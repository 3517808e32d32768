"""Several channels in, one out, in which speech is neither cancelled nor drowned. Pure, causal, constant memory."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sadstream.base.samples import FRAME_MS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOTHING_DBFS = -90.0  # a channel that never comes over it is dead
MEMORY = 0.97  # of a frame's covariance: half is forgotten in 0.7 s
OPPOSED = -0.3  # correlation with the best channel below which a channel cancels it
LIVELY_DB = 10.0  # between loud and quiet: steady noise and hum stay below 6 dB, speech comes to 20 and more
NOISIER_DB = 10.0  # than the best channel's pauses
RETURN_FRAMES = 34  # of one second in which nothing spoke against a channel, before it is heard again
DECAY_DB = 0.12  # a frame, of what was loud (4 dB a second) and of what was quiet
UNKNOWN_DB = 3.0  # more or less than this is no difference between two channels
LEFT_OUT = "left out of the mix (dead, opposed or only noise)"  # how it is said


class MixWatch:
    """Tells when a mix comes to do without other channels than before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()

    def changed(self, left_out: frozenset[int]) -> Iterator[frozenset[int]]:
        """The channels that it does without, from 1, where they are others than when last asked."""
        if left_out != self._known:
            self._known = left_out
            yield left_out


class Mixer:
    """(n, channels) in blocks of any length in, the mean of the channels that help out, 30 ms late at most.

    A channel is left out while it is dead, while it cancels the best one, or while it is steady noise and louder
    than the best one's pauses. The best one is that in which loud and quiet lie furthest apart.
    """

    __slots__ = ("_against", "_best", "_covariance", "_frame", "_loud", "_quiet", "_rest", "_weights", "left_out")

    def __init__(self, rate: int, channels: int) -> None:
        import numpy as np

        self.left_out: frozenset[int] = frozenset()  # channels, from 1
        self._frame = max(1, rate * FRAME_MS // 1000)
        self._rest = np.zeros((0, channels), np.float32)
        self._covariance = np.zeros((channels, channels))
        self._loud = np.full(channels, -200.0)
        self._quiet = np.full(channels, math.inf)
        self._against = np.zeros(channels, dtype=np.int64)  # frames that a channel still stays out
        self._best = 0
        self._weights: NDArray[np.float32] | None = None

    def feed(self, samples: "NDArray[np.float32]", last: bool = False) -> "NDArray[np.float32]":
        """(m,) of these (n, channels) and of what waited; `last` leaves nothing waiting."""
        import numpy as np

        rest = np.concatenate([self._rest, samples])
        whole = len(rest) // self._frame * self._frame
        parts = [self._mixed(rest[at : at + self._frame]) for at in range(0, whole, self._frame)]
        if last and whole < len(rest):
            parts.append(self._mixed(rest[whole:]))
            whole = len(rest)
        self._rest = rest[whole:].copy()
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _mixed(self, frame: "NDArray[np.float32]") -> "NDArray[np.float32]":
        import numpy as np

        kept = self._kept(frame)
        weights = (kept / kept.sum()).astype(np.float32)
        before = weights if self._weights is None else self._weights
        self._weights = weights
        self.left_out = frozenset(int(n) + 1 for n in np.flatnonzero(~kept))
        if np.array_equal(before, weights):
            return np.asarray(frame.mean(axis=1) if kept.all() else frame @ weights, dtype=np.float32)
        ramp = np.linspace(0.0, 1.0, len(frame), dtype=np.float32)[:, None]  # no click where a channel comes or goes
        mixed: NDArray[np.float32] = (frame * (before + ramp * (weights - before))).sum(axis=1)
        return mixed

    def _kept(self, frame: "NDArray[np.float32]") -> "NDArray[np.bool_]":
        """(channels,) that help, at least one."""
        import numpy as np

        still = (frame - frame.mean(axis=0)).astype(np.float64)  # an offset is no sound
        now = still.T @ still / len(frame)
        self._covariance = MEMORY * self._covariance + (1.0 - MEMORY) * now
        level = 10.0 * np.log10(np.diag(now) + 1e-20)
        self._loud = np.maximum(level, self._loud - DECAY_DB)
        self._quiet = np.minimum(level, self._quiet + DECAY_DB)
        useless, opposed = self._faults()
        self._against = np.where(opposed, RETURN_FRAMES, np.maximum(0, self._against - 1))
        kept = (self._against == 0) & ~useless
        return kept if kept.any() else np.ones_like(kept)

    def _faults(self) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
        """(channels,) dead or noise, and those that cancel the best one."""
        import numpy as np

        alive = self._loud > NOTHING_DBFS
        if not alive.any():
            return np.zeros_like(alive), np.zeros_like(alive)
        lively = np.where(alive, self._loud - self._quiet, -1.0)
        closest = alive & (lively >= lively.max() - UNKNOWN_DB)
        closest &= self._quiet <= self._quiet[closest].min() + NOISIER_DB
        if not closest[self._best]:  # else it stays: two that are alike do not take turns
            self._best = int(np.argmax(closest))
            self._against[self._best] = 0
        best = self._best
        power = np.diag(self._covariance)
        correlation = self._covariance[best] / np.sqrt(power * power[best] + 1e-30)
        noisy = (lively < LIVELY_DB) & (self._quiet > self._quiet[best] + NOISIER_DB)
        others = np.arange(len(alive)) != best
        return (~alive | noisy) & others, (correlation < OPPOSED) & others
