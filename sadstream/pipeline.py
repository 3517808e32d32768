"""Threads and queues, all of them: one reader a stream, one analyser that owns the models, one wake-up pipe.

for frame in source:                       # a reader blocks here, and only here
    for segment in segmenter.feed(frame):
        inbox.put(segment)

while segment := inbox.get():              # the analyser
    report(analyzer(segment))
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from sadstream.analyze import Analysis
from sadstream.audio import AudioFrame
from sadstream.config import Config
from sadstream.publish import Timing
from sadstream.segment import Segment, Segmenter
from sadstream.sources import Item, Source, SourceChange, paced

QUEUE_SEGMENTS = 2  # waiting for the analyser, a stream; more would only be older


@dataclass(frozen=True, slots=True, eq=False)
class Queued:
    """A segment that waits for the analyser."""

    stream: str
    segment: Segment
    vad_ms: float
    put_s: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The models are loaded and warm."""

    whisper: str
    device: str
    licence: str
    commercial_use: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A stream's source says how it is."""

    stream: str
    change: SourceChange


@dataclass(frozen=True, slots=True, eq=False)
class Analyzed:
    """A segment, what the models made of it, and when."""

    stream: str
    segment: Segment
    analysis: Analysis
    timing: Timing
    busy_s: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A live stream's oldest waiting segment made room for a newer one."""

    stream: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream's source came to its end and all its segments are analysed."""

    stream: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A thread could not go on."""

    error: Exception


Report = Ready | Changed | Analyzed | Dropped | Ended | Failed
Analyze = Callable[[Segment], Analysis]
Load = Callable[[], tuple[Analyze, Ready]]


class Inbox:
    """At most QUEUE_SEGMENTS segments a stream between its reader and the analyser.

    A stream that cannot wait loses its oldest segment; one that can makes its reader wait.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        self._waiting: dict[str, deque[Queued | Ended]] = {stream: deque() for stream in streams}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Queued | Ended, lossless: bool) -> bool:
        """Add a segment; True if an older one of its stream was dropped for it."""
        with self._changed:
            queue = self._waiting[item.stream]
            while lossless and len(queue) >= QUEUE_SEGMENTS and not self._closed:
                self._changed.wait()
            full = isinstance(item, Queued) and len(queue) >= QUEUE_SEGMENTS
            if full:
                queue.popleft()
            queue.append(item)
            self._changed.notify_all()
            return full and not self._closed

    def get(self) -> Queued | Ended | None:
        """The segment that waits longest, over all streams; None when the inbox is closed."""
        with self._changed:
            while not self._closed:
                heads = [queue for queue in self._waiting.values() if queue]
                if heads:
                    oldest = min(heads, key=_put_s)
                    item = oldest.popleft()
                    self._changed.notify_all()
                    return item
                self._changed.wait()
            return None

    def close(self) -> None:
        """Let every reader and the analyser go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _put_s(queue: "deque[Queued | Ended]") -> float:
    head = queue[0]
    return head.put_s if isinstance(head, Queued) else 0.0


class Pipeline:
    """The running threads; reports come out of `reports()` and `wake_fd` says when to look."""

    def __init__(self, config: Config, sources: Sequence[Source], load: Load, pace_realtime: bool) -> None:
        self._config = config
        self._sources = dict(zip((stream.name for stream in config.stream), sources, strict=True))
        self._load = load
        self._pace_realtime = pace_realtime
        self._inbox = Inbox(list(self._sources))
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self.wake_fd, self._wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def signal_fd(self) -> int:
        """For signal.set_wakeup_fd: a signal wakes the same sleeper."""
        return self._wake_write_fd

    def start_analyzer(self) -> None:
        """Load the models in the thread that will own them; `Ready` follows."""
        self._start("analyser", self._analyze_all)

    def start_readers(self) -> None:
        """Begin to listen to every stream."""
        for name, source in self._sources.items():
            self._start(f"reader {name}", partial(self._read, name, source))

    def reports(self) -> Iterator[Report]:
        """What the threads have said since the last look."""
        with suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)
        while True:
            try:
                yield self._reports.get_nowait()
            except Empty:
                return

    def stop(self, timeout_s: float) -> bool:
        """Ask every thread to end; True if all did within the time."""
        self._stopped.set()
        self._inbox.close()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self, name: str, target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            except Exception as error:
                self._report(Failed(error))

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _report(self, report: Report) -> None:
        self._reports.put(report)
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_write_fd, b"\0")

    def _read(self, stream: str, source: Source) -> None:
        segmenter = Segmenter(self._config.vad, self._config.segment)
        items: Iterator[Item] = source.listen(self._stopped.is_set)
        if self._pace_realtime and not source.live:
            items = paced(items, self._stopped.is_set)
        for item in items:
            if isinstance(item, AudioFrame):
                start = time.perf_counter()
                segments = segmenter.feed(item)
                self._put(stream, segments, 1000 * (time.perf_counter() - start))
            else:
                self._put(stream, segmenter.flush() if item.state == "no-device" else [], 0.0)
                self._report(Changed(stream, item))
        self._put(stream, segmenter.flush(), 0.0)
        self._inbox.put(Ended(stream), lossless=False)

    def _put(self, stream: str, segments: list[Segment], vad_ms: float) -> None:
        for segment in segments:
            item = Queued(stream, segment, vad_ms, time.monotonic())
            if self._inbox.put(item, lossless=not self._pace_realtime):
                self._report(Dropped(stream))

    def _analyze_all(self) -> None:
        analyze, ready = self._load()
        self._report(ready)
        while (item := self._inbox.get()) is not None:
            if isinstance(item, Ended):
                self._report(item)
                continue
            start = time.monotonic()
            analysis = analyze(item.segment)
            end = time.monotonic()
            timing = Timing(
                queue_ms=1000 * (start - item.put_s),
                vad_ms=item.vad_ms,
                arrived_s=item.segment.arrived_s,
                analyzed_s=end,
            )
            self._report(Analyzed(item.stream, item.segment, analysis, timing, end - start))
