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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue

from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.clock import boottime
from sadstream.audio.sources.source import Source
from sadstream.config import Config
from sadstream.daemon.messages import (
    AnalyzedSegment,
    DroppedSegment,
    Load,
    ModelsDegraded,
    ModelsReleased,
    ModelsRestored,
    QueuedSegment,
    RejectedSegment,
    Releasable,
    Report,
    SourceEnded,
    ThreadFailed,
)
from sadstream.daemon.pipeline.inbox import Inbox
from sadstream.daemon.pipeline.reader import StreamReader, Switches
from sadstream.scoring.analysis import Analysis, LostSegment, SegmentAnalyzer, Timing

BATCH_SEGMENTS = 4  # at most this many streams are analysed at once
ASKED_SEGMENTS = 16  # at most this many are asked about elsewhere at once
MAX_AGE_S = 6.0  # a live segment that waited longer since its last sample is not scored as new
RESTORE_S = 60.0  # that loading models again may take longer than a segment may: 17 s were seen on a busy machine
SUSPENDED_S = 1.0  # the boot clock runs ahead of the monotonic one by this much only in a suspend


class Pipeline:
    """The running threads; reports come out of `reports()` and `wake_fd` says when to look."""

    def __init__(self, config: Config, sources: Sequence[Source], load: Load, pace_realtime: bool) -> None:
        self._load = load
        self._early = config.publish.provisional
        self._most = ASKED_SEGMENTS if config.compute.device == "remote" else BATCH_SEGMENTS
        self._pace_realtime = pace_realtime
        self._inbox = Inbox([stream.name for stream in config.stream])
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._switches = Switches()
        self._switches.resumed.set()
        self._readers = {
            stream.name: StreamReader(
                stream.name, source, config, self._inbox, self._report, self._switches, pace_realtime
            )
            for stream, source in zip(config.stream, sources, strict=True)
        }
        self._threads: list[threading.Thread] = []
        self._busy_since_s: float | None = None
        self._loading = False  # models: they take as long as they take
        self._release_after_s = config.compute.release_after_s
        self._restored_s = 0.0  # boot time at which models that had been let go were back
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
        for name, reader in self._readers.items():
            reader.starts()
            self._start(f"reader {name}", reader.run, private=False)

    def pause(self) -> None:
        """Close every microphone; what is said until `resume` is not heard, also not later."""
        self._switches.resumed.clear()

    def resume(self) -> None:
        """Listen again."""
        for reader in self._readers.values():
            reader.resumes()
        self._switches.resumed.set()

    def release_after(self, seconds: float | None) -> None:
        """Let models go that nobody needed for this long; those that were let go for another time come back."""
        if seconds != self._release_after_s:
            self._release_after_s = seconds
            self._inbox.rouse()

    def busy_s(self) -> float:
        """How long the analyser has been at one segment, or too long at its models; 0 while it waits for one."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None or self._loading else max(0.0, time.monotonic() - since_s)

    def silent_s(self, stream: str, frames_due: bool) -> float:
        """How long a stream's reader has given no frame, or where none is due, no sign of life."""
        return self._readers[stream].silent_s(frames_due)

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
        self._switches.stopped.set()
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
                self._report(ThreadFailed(error, private))

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _report(self, report: Report) -> None:
        self._reports.put(report)
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_write_fd, b"\0")

    def _analyze_all(self) -> None:
        loaded = self._load(self._degraded)
        self._report(loaded.ready)
        while items := self._next(loaded.models):
            batch = [item for item in items if isinstance(item, QueuedSegment) and not self._stale(item)]
            if batch:
                self._busy_since_s = time.monotonic()
                self._analyze(loaded.analyzer, batch)
                self._busy_since_s = None
            for item in items:
                if isinstance(item, SourceEnded):
                    self._report(item)

    def _next(self, models: Releasable | None) -> Sequence[QueuedSegment | SourceEnded]:
        """The segments to analyse; until there are any, models that nobody needs for long leave memory."""
        while models is not None and self._inbox.is_empty:
            if not self._inbox.wait(self._release_after_s):
                self._rest(models)
        return self._inbox.take(self._most)

    def _rest(self, models: Releasable) -> None:
        """Let the models go until a segment is under way: they are loaded while it is still being said."""
        models.release()
        self._report(ModelsReleased())
        self._inbox.wait(None)
        if self._switches.stopped.is_set():
            return
        start_s = time.monotonic()
        self._busy_since_s = start_s + RESTORE_S
        models.restore()
        self._busy_since_s = None
        self._restored_s = boottime()
        self._report(ModelsRestored(time.monotonic() - start_s))

    def _stale(self, item: QueuedSegment) -> bool:
        """Too old to be scored as new, and said to be; a segment that waited for its models is not."""
        age_s = boottime() - item.put_s + item.late_s
        stale = item.live and self._pace_realtime and item.put_s > self._restored_s and age_s > MAX_AGE_S
        if stale:
            self._report(DroppedSegment(item.stream, stale=True))
        return stale

    def _analyze(self, analyzer: SegmentAnalyzer, batch: Sequence[QueuedSegment]) -> None:
        start, start_boot_s = time.monotonic(), boottime()

        def report(number: int, analysis: Analysis) -> None:
            item, end = batch[number], time.monotonic()
            segment = replace(item.segment, number=item.segment.number - self._rejected[item.stream])
            timing = Timing(1000 * (start_boot_s - item.put_s), item.vad_ms, item.segment.arrived_s, end)
            waiting = self._inbox.waiting(item.stream)
            busy_s = (end - start) / len(batch)
            self._report(AnalyzedSegment(item.stream, segment, analysis, timing, busy_s, waiting))

        early = report if self._early else None
        answers = analyzer.many([item.segment for item in batch], early)
        suspended = boottime() - start_boot_s - (time.monotonic() - start) > SUSPENDED_S
        for number, (item, answer) in enumerate(zip(batch, answers, strict=True)):
            if item.live and suspended:
                self._report(DroppedSegment(item.stream, stale=True))
            elif isinstance(answer, LostSegment):
                self._report(DroppedSegment(item.stream, stale=False, away=answer.why))
            elif isinstance(answer, UnscoredSegment):
                self._rejected[item.stream] += 1
                self._report(RejectedSegment(item.stream, self._inbox.waiting(item.stream), answer.stranger))
            else:
                report(number, answer)

    def _degraded(self, report: ModelsDegraded) -> None:
        if report.loading is not None:
            self._loading = report.loading
        if self._busy_since_s is not None and report.compute is None:
            self._busy_since_s = time.monotonic()  # other models are loaded now: that is progress
        self._report(report)
