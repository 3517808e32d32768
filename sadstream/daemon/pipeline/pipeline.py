"""Threads and queues, all of them: one reader a stream, one analyser that owns the models, one wake-up pipe.

for frame in source:                       # a reader blocks here, and only here
    for segment in segmenter.feed(frame):
        inbox.put(segment)

while segments := inbox.take(BATCH):       # the analyser
    report(analyzer.many(segments))
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

from sadstream.audio.health import DcOffset, SignalHealth, SignalRecord, offset_of
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.silero import Unscored
from sadstream.audio.sources.clock import boottime
from sadstream.audio.sources.source import POLL_S, Item, Source, paced
from sadstream.base.errors import SadstreamError
from sadstream.base.samples import SAMPLE_RATE, AudioFrame
from sadstream.config import Config
from sadstream.daemon.messages import (
    Analyzed,
    Changed,
    Degraded,
    Dropped,
    Ended,
    Failed,
    Felt,
    Gap,
    Load,
    Noticed,
    Queued,
    Rejected,
    Report,
)
from sadstream.events import Score
from sadstream.scoring.analysis import Analysis, BatchAnalyzer, Timing

QUEUE_SEGMENTS = 2  # waiting for the analyser, a stream; more would only be older
BATCH_SEGMENTS = 4  # at most this many streams are analysed at once
MAX_AGE_S = 6.0  # a live segment that waited longer since its last sample is not scored as new
ASIDE_ITEMS = 1000
ASIDE_STOP_S = 0.2  # to finish at the end; a disk that hangs is not waited for
RETRY_S = 5.0
SUSPENDED_S = 1.0  # the boot clock runs ahead of the monotonic one by this much only in a suspend


class Inbox:
    """At most QUEUE_SEGMENTS segments a stream between its reader and the analyser.

    A stream that cannot wait loses its oldest segment; one that can makes its reader wait.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        self._waiting: dict[str, deque[Queued | Ended]] = {stream: deque() for stream in streams}
        self._changed = threading.Condition()
        self._closed = False

    def wait_for_room(self, stream: str, timeout_s: float) -> bool:
        """True as soon as a segment of this stream would push no other out (or never will again)."""
        with self._changed:
            queue = self._waiting[stream]
            return self._changed.wait_for(lambda: self._closed or len(queue) < QUEUE_SEGMENTS, timeout_s)

    def put(self, item: Queued | Ended) -> bool:
        """Add a segment; True if an older one of its stream was dropped for it."""
        with self._changed:
            queue = self._waiting[item.stream]
            full = isinstance(item, Queued) and len(queue) >= QUEUE_SEGMENTS
            if full:
                queue.popleft()
            queue.append(item)
            self._changed.notify_all()
            return full and not self._closed

    def take(self, most: int) -> list[Queued | Ended]:
        """The segments that wait longest, at most one of each stream; none when the inbox is closed.

        It waits for the first and for no other, so that a lone segment is never late.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            if self._closed:
                return []
            heads = sorted((queue for queue in self._waiting.values() if queue), key=_put_s)
            items = [queue.popleft() for queue in heads[:most]]
            self._changed.notify_all()
            return items

    def waiting(self, stream: str) -> int:
        """How many segments of this stream wait."""
        with self._changed:
            return sum(isinstance(item, Queued) for item in self._waiting[stream])

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
        self._resumed = threading.Event()
        self._resumed.set()
        self._threads: list[threading.Thread] = []
        self._heard_s: dict[str, float] = {}  # when a reader last had a frame
        self._alive_s: dict[str, float] = {}  # when it last gave a sign of life
        self._busy_since_s: float | None = None
        self._rejected: Counter[str] = Counter()  # segments of a stream of which nothing is said
        self.wake_fd, self._wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def signal_fd(self) -> int:
        """For signal.set_wakeup_fd: a signal wakes the same sleeper."""
        return self._wake_write_fd

    def start_analyzer(self) -> None:
        """Load the models in the thread that will own them; `Ready` follows."""
        self._start("analyser", self._analyze_all, private=True)

    def start_readers(self) -> None:
        """Begin to listen to every stream."""
        for name, source in self._sources.items():
            self._heard_s[name] = self._alive_s[name] = time.monotonic()
            self._start(f"reader {name}", partial(self._read, name, source), private=False)

    def pause(self) -> None:
        """Close every microphone; what is said until `resume` is not heard, also not later."""
        self._resumed.clear()

    def resume(self) -> None:
        """Listen again."""
        self._heard_s = dict.fromkeys(self._heard_s, time.monotonic())
        self._resumed.set()

    def busy_s(self) -> float:
        """How long the analyser has been at one segment; 0 while it waits for one."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def silent_s(self, stream: str, frames_due: bool) -> float:
        """How long a stream's reader has given no frame, or where none is due, no sign of life."""
        times = self._heard_s if frames_due else self._alive_s
        return time.monotonic() - times[stream] if stream in times else 0.0

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

    def close(self) -> None:
        """Give the wake-up pipe back, once no thread and no signal can write to it."""
        os.close(self.wake_fd)
        os.close(self._wake_write_fd)

    def _start(self, name: str, target: Callable[[], None], private: bool) -> None:
        def run() -> None:
            try:
                target()
            except Exception as error:
                self._report(Failed(error, private))

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _report(self, report: Report) -> None:
        self._reports.put(report)
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_write_fd, b"\0")

    def _read(self, stream: str, source: Source) -> None:
        segmenter = Segmenter(self._config.vad, self._config.segment)
        failure = None
        try:
            self._hear(stream, source, segmenter)
            while not self._resumed.is_set() and not self._stopped.is_set():
                self._put(stream, source, segmenter.flush(), 0.0)
                self._hold(stream)
                self._hear(stream, source, segmenter)
        except SadstreamError as error:  # is said when all that came before it is analysed
            failure = error
        self._put(stream, source, segmenter.flush(), 0.0)
        self._inbox.put(Ended(stream, failure))

    def _hear(self, stream: str, source: Source, segmenter: Segmenter) -> None:
        """Take what the source gives until its end, or until a pause where it is live."""

        def stopped() -> bool:
            self._alive_s[stream] = time.monotonic()
            return self._stopped.is_set() or (source.live and not self._resumed.is_set())

        items: Iterator[Item] = source.listen(stopped)
        if self._pace_realtime and source.speed is not None:
            items = paced(items, stopped, source.speed)
        health, offset, record = SignalHealth(), DcOffset(), SignalRecord()
        try:
            for item in items:
                if isinstance(item, AudioFrame):
                    if source.live:
                        self._feel(stream, item, health, offset)
                    else:
                        record.feed(item)
                    self._take(stream, source, item, segmenter)
                    continue
                lost = item.state == "no-device"
                self._put(stream, source, segmenter.flush() if lost else [], 0.0)
                self._report(Changed(stream, item))
                if lost and health.reason != "none":
                    self._report(Felt(stream, "none"))
                if lost:
                    health, offset = SignalHealth(), DcOffset()  # what comes next may be another device
        finally:
            for sentence in record.sentences():
                self._report(Noticed(stream, sentence))

    def _take(self, stream: str, source: Source, frame: AudioFrame, segmenter: Segmenter) -> None:
        self._heard_s[stream] = self._alive_s[stream] = time.monotonic()
        if frame.gap:
            self._report(Gap(stream, frame.index / SAMPLE_RATE))
        start = time.perf_counter()
        segments = segmenter.feed(frame)
        self._put(stream, source, segments, 1000 * (time.perf_counter() - start))
        if not source.live:
            self._hold(stream)

    def _feel(self, stream: str, frame: AudioFrame, health: SignalHealth, offset: DcOffset) -> None:
        """Say each change of what a live stream's audio shows."""
        felt, stood = health.reason, offset.share
        if health.feed(frame) != felt:
            self._report(Felt(stream, health.reason))
        if health.reason in ("muted", "constant"):
            return
        share = offset.feed(frame)
        if share and not stood:
            self._report(Noticed(stream, f"{offset_of(share)}: it is taken out"))
        elif stood and not share:
            self._report(Noticed(stream, "the constant offset is gone"))

    def _hold(self, stream: str) -> None:
        """Wait until the end of a pause."""
        while not self._resumed.wait(POLL_S) and not self._stopped.is_set():
            self._alive_s[stream] = time.monotonic()

    def _put(self, stream: str, source: Source, segments: list[Segment], vad_ms: float) -> None:
        for segment in segments:
            while not self._pace_realtime and not self._inbox.wait_for_room(stream, POLL_S):
                self._heard_s[stream] = self._alive_s[stream] = time.monotonic()  # it is the analyser that is slow
            late_s = max(0.0, time.monotonic() - segment.arrived_s)
            if self._inbox.put(Queued(stream, segment, vad_ms, boottime(), late_s, source.live)):
                self._report(Dropped(stream, stale=False))

    def _analyze_all(self) -> None:
        loaded = self._load(self._degraded)
        self._report(loaded.ready)
        while items := self._inbox.take(BATCH_SEGMENTS):
            batch = [item for item in items if isinstance(item, Queued) and not self._stale(item)]
            if batch:
                self._busy_since_s = time.monotonic()
                self._analyze(loaded.analyzer, batch)
                self._busy_since_s = None
            for item in items:
                if isinstance(item, Ended):
                    self._report(item)

    def _stale(self, item: Queued) -> bool:
        """Too old to be scored as new, and said to be."""
        stale = item.live and self._pace_realtime and boottime() - item.put_s + item.late_s > MAX_AGE_S
        if stale:
            self._report(Dropped(item.stream, stale=True))
        return stale

    def _analyze(self, analyzer: BatchAnalyzer, batch: Sequence[Queued]) -> None:
        start, start_boot_s = time.monotonic(), boottime()

        def report(number: int, analysis: Analysis) -> None:
            item, end = batch[number], time.monotonic()
            segment = replace(item.segment, number=item.segment.number - self._rejected[item.stream])
            timing = Timing(1000 * (start_boot_s - item.put_s), item.vad_ms, item.segment.arrived_s, end)
            waiting = self._inbox.waiting(item.stream)
            busy_s = (end - start) / len(batch)
            self._report(Analyzed(item.stream, segment, analysis, timing, busy_s, waiting))

        early = report if self._config.publish.provisional else None
        answers = analyzer.many([item.segment for item in batch], early)
        suspended = boottime() - start_boot_s - (time.monotonic() - start) > SUSPENDED_S
        for number, (item, answer) in enumerate(zip(batch, answers, strict=True)):
            if item.live and suspended:
                self._report(Dropped(item.stream, stale=True))
            elif isinstance(answer, Unscored):
                self._rejected[item.stream] += 1
                self._report(Rejected(item.stream, self._inbox.waiting(item.stream), answer.stranger))
            else:
                report(number, answer)

    def _degraded(self, report: Degraded) -> None:
        if self._busy_since_s is not None:
            self._busy_since_s = time.monotonic()  # other models are loaded now: that is progress
        self._report(report)


class Aside:
    """A thread for work that may be slow and must delay nobody, such as writing to a disk.

    What is put is handed to `work` in order, as many as wait at a time, and every RETRY_S at least; then `done` is
    called. More than ASIDE_ITEMS push the oldest out.
    """

    def __init__(self, name: str, work: Callable[[Sequence[Score]], None], done: Callable[[], None]) -> None:
        self._work = work
        self._done = done
        self._waiting: deque[Score] = deque(maxlen=ASIDE_ITEMS)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "Aside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(ASIDE_STOP_S)

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
