"""Samples delivered against time passed: what is late, what was lost, whether the rate is the promised one.

PortAudio's flags stay down when audio is lost, so a microphone is judged by this clock alone.
"""

import time
from dataclasses import dataclass

from sadstream.audio.filters.framing import Framer
from sadstream.base.samples import SAMPLE_RATE, AudioFrame
from sadstream.events import Reason

WINDOW_S = 2.0  # a fault is known after one window
LOST_S = 0.1  # lateness that a whole window never falls under is loss; blocks arrive up to 0.15 s apart
STALE_S = 2.0  # audio this old is never scored as new: the device is opened again
SLOW_SHARE = 0.8  # fewer samples than this share, without a pause in their flow, is another rate
PAUSE_S = 0.5
LOSSY_WINDOWS = 3  # loss in so many windows in a row is a rate that is a little wrong
AHEAD_S = 1.0  # more audio than time; a device's first block holds at most 0.4 s
AHEAD_DECAY = 0.05  # seconds of it forgotten a second: twice the worst sound card is far below
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS has only the latter, and there it goes on too
DRIFT = 1e-3  # a sound card's clock against ours; real ones differ by 1e-4


def boottime() -> float:
    """Monotonic seconds that go on during suspend: after it, a microphone's audio is late by its length."""
    return time.clock_gettime(_BOOTTIME)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How the newest sample stands against the clock."""

    late_s: float
    lost: int = 0  # samples that will not come any more
    fault: Reason = "none"  # stalled or rate: open the device again


class SampleClock:
    """Counts of samples in, a reading out; the time is the caller's. ahead_s: more audio than time that may come."""

    __slots__ = (
        "_ahead_s",
        "_allowed_s",
        "_base_s",
        "_count",
        "_flowing",
        "_heard_s",
        "_least_s",
        "_lossy",
        "_window_count",
        "_window_s",
    )

    def __init__(self, ahead_s: float = AHEAD_S) -> None:
        self._allowed_s = ahead_s
        self._count = 0
        self._base_s: float | None = None  # when sample 0 was spoken
        self._heard_s = 0.0
        self._ahead_s = 0.0
        self._lossy = 0
        self._least_s = float("inf")  # the window's least lateness
        self._flowing = True  # no pause in it
        self._open_window(0.0)

    def feed(self, samples: int, now_s: float) -> ClockReading:
        """These samples have arrived."""
        self._count += samples
        spoken_s = now_s - self._count / SAMPLE_RATE
        if self._base_s is None:
            self._base_s, self._heard_s = spoken_s, now_s
            self._open_window(now_s)
            return ClockReading(0.0)
        passed_s, self._heard_s = now_s - self._heard_s, now_s
        self._base_s += DRIFT * passed_s
        late_s = spoken_s - self._base_s
        self._ahead_s = max(0.0, self._ahead_s - late_s * (late_s < 0) - AHEAD_DECAY * passed_s)
        if late_s < 0:
            self._base_s, late_s = spoken_s, 0.0
        if self._ahead_s > self._allowed_s:
            return ClockReading(late_s, fault="rate")
        if late_s > STALE_S:
            return ClockReading(late_s, fault="stalled")
        self._flowing = self._flowing and passed_s < PAUSE_S
        self._least_s = min(self._least_s, late_s)
        self._window_count += samples
        return self._judge(now_s, late_s) if now_s - self._window_s >= WINDOW_S else ClockReading(late_s)

    def _judge(self, now_s: float, late_s: float) -> ClockReading:
        share = self._window_count / SAMPLE_RATE / (now_s - self._window_s)
        slow, least_s = self._flowing and share < SLOW_SHARE, self._least_s
        self._open_window(now_s)
        if least_s < LOST_S:
            self._lossy = 0
            return ClockReading(late_s, fault="rate" if slow else "none")
        self._lossy += 1
        lost = int(least_s * SAMPLE_RATE)
        self._count += lost
        return ClockReading(late_s - least_s, lost, "rate" if slow or self._lossy >= LOSSY_WINDOWS else "none")

    def _open_window(self, now_s: float) -> None:
        self._window_s = now_s
        self._window_count = 0
        self._least_s = float("inf")
        self._flowing = True


class ClockedFramer:
    """Live 16-bit PCM in, frames out whose index follows the clock over every loss; the times are the caller's."""

    __slots__ = ("_count", "_framer", "_opened_s")

    def __init__(self) -> None:
        self._framer = Framer()
        self._count = 0  # samples given or skipped
        self._opened_s: float | None = None

    def catch_up(self, spoken_s: float) -> None:
        """The next sample is spoken at this time: what the clock has ahead of it was not heard."""
        if self._opened_s is None:
            self._opened_s = spoken_s
        else:
            self._skip(max(0, int((spoken_s - self._opened_s) * SAMPLE_RATE) - self._count))

    def feed(self, pcm: bytes, reading: ClockReading, now_s: float) -> list[AudioFrame]:
        """The frames completed by these bytes, in hand at `now_s` of the monotonic clock."""
        if reading.lost:
            self._skip(reading.lost)
        self._count += len(pcm) // 2
        return self._framer.feed(pcm, now_s - reading.late_s)

    def _skip(self, samples: int) -> None:
        self._framer.skip(samples)
        self._count += samples
