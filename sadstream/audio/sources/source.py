"""Where audio comes from: what every source says of itself, and how its frames are paced."""

import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sadstream.audio.filters.mixer import LEFT_OUT
from sadstream.base.errors import SadstreamError
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, AudioFrame
from sadstream.events import Reason, State

POLL_S = 0.1  # how soon a stop is noticed
QUIET_FRAMES = 5  # that are heard together while nobody speaks: waking for each costs ten times what is done with it
LATE_S = 0.25  # a source later than this was paused: its clock moves on, it does not hurry


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A source says how it is: it listens, or lost its device and why."""

    state: State
    reason: Reason
    detail: str = ""


def no_device(reason: Reason, detail: str) -> SourceChange:
    """Its device is not there, or gives nothing that can be heard."""
    return SourceChange("no-device", reason, detail)


Stopped = Callable[[], bool]
Item = AudioFrame | SourceChange


class Source(Protocol):
    """Something to listen to."""

    live: bool  # cannot wait: what is not analysed in time is lost
    speed: float | None  # how fast its frames are played at real-time pace; none: as they come

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Frames, and changes of state, until the end or until `stopped()`."""
        ...


def paced(items: Iterator[Item], stopped: Stopped, speed: float = 1.0) -> Iterator[Item]:
    """The same items, each frame held back until its last sample would have been spoken."""
    start = time.monotonic()
    for item in items:
        if isinstance(item, AudioFrame):
            due = start + (item.index + FRAME_SAMPLES) / SAMPLE_RATE / speed
            late_s = time.monotonic() - due
            if late_s > LATE_S:
                start += late_s
            sleep(-late_s, stopped)
            yield AudioFrame(item.pcm, item.index, time.monotonic(), item.gap)
        else:
            yield item


def gathered(items: Iterator[Item], at_once: Callable[[], bool]) -> Iterator[Item]:
    """The same items in the same order, frames QUIET_FRAMES at a time unless `at_once()`, a gap or the end is near.

    A processor that slept for 30 ms has forgotten all it knew: 0.43 ms a frame for what takes 0.05 one after the other.
    """
    waiting: list[Item] = []
    try:
        for item in items:
            waiting.append(item)
            quiet = isinstance(item, AudioFrame) and not item.gap and not at_once()
            if not quiet or len(waiting) == QUIET_FRAMES:
                ready, waiting = waiting, []
                yield from ready
    except SadstreamError:
        yield from waiting
        raise
    yield from waiting


def readable(fd: int, timeout_s: float) -> bool:
    """True if a read would not wait: data, or the end. (`select` knows no descriptor beyond 1023.)"""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def sleep(seconds: float, stopped: Stopped) -> None:
    """Sleep, but not beyond a stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopped():
        time.sleep(min(left, POLL_S))


def left_out(channels: frozenset[int]) -> SourceChange:
    """What a source says whenever its mix comes to do without other channels."""
    if not channels:
        return SourceChange("listening", "none", "all channels are heard")
    named = ", ".join(map(str, sorted(channels)))
    return SourceChange("listening", "none", f"{LEFT_OUT}: channel {named}")
