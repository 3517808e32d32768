"""A stream's own thread: it waits for the source's next frame, and cuts what it hears into segments."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sadstream.audio.health import DcOffset, SignalHealth, SignalRecord, offset_of
from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.sources.clock import boottime
from sadstream.audio.sources.source import POLL_S, Item, Source, gathered, paced
from sadstream.base.errors import SadstreamError
from sadstream.base.samples import SAMPLE_RATE, AudioFrame
from sadstream.config import Config
from sadstream.daemon.messages import (
    AudioGap,
    DroppedSegment,
    QueuedSegment,
    Report,
    SignalFault,
    SignalNote,
    SourceChanged,
    SourceEnded,
)
from sadstream.daemon.pipeline.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Switches:
    """What the main thread asks of every reader."""

    stopped: threading.Event = field(default_factory=threading.Event)
    resumed: threading.Event = field(default_factory=threading.Event)  # not set: paused


class StreamReader:
    """One stream from its source to the inbox; `run` is its thread's, all else may be asked by any."""

    def __init__(
        self,
        stream: str,
        source: Source,
        config: Config,
        inbox: Inbox,
        report: Callable[[Report], None],
        switches: Switches,
        pace_realtime: bool,
    ) -> None:
        self.stream = stream
        self._source = source
        self._config = config
        self._inbox = inbox
        self._report = report
        self._switches = switches
        self._pace_realtime = pace_realtime
        self._paused = False  # its source was told to end for a pause, which may be over before it has ended
        self._heard_s: float | None = None  # when it last had a frame
        self._alive_s: float | None = None  # when it last gave a sign of life

    def starts(self) -> None:
        """From now on it has to give signs of life."""
        self._heard_s = self._alive_s = time.monotonic()

    def resumes(self) -> None:
        """A pause is over: what it did not hear meanwhile is no silence of its source."""
        if self._heard_s is not None:
            self._heard_s = time.monotonic()

    def silent_s(self, frames_due: bool) -> float:
        """How long it has had no frame, or where none is due, given no sign of life."""
        since_s = self._heard_s if frames_due else self._alive_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def run(self) -> None:
        """Listen to the source's end; a failure of it is said when all that came before it is analysed."""
        segmenter = Segmenter(self._config.vad, self._config.segment)
        failure = None
        try:
            self._hear(segmenter)
            while self._paused and not self._switches.stopped.is_set():
                self._paused = False
                self._put(segmenter.flush(), 0.0)
                self._hold()
                self._hear(segmenter)
        except SadstreamError as error:
            failure = error
        self._put(segmenter.flush(), 0.0)
        self._inbox.put(SourceEnded(self.stream, failure))

    def _stopped(self) -> bool:
        self._alive_s = time.monotonic()
        self._paused |= self._source.live and not self._switches.resumed.is_set()
        return self._switches.stopped.is_set() or self._paused

    def _hear(self, segmenter: Segmenter) -> None:
        """Take what the source gives until its end, or until a pause where it is live."""
        source = self._source
        items: Iterator[Item] = source.listen(self._stopped)
        if self._pace_realtime and source.speed is not None:
            items = paced(items, self._stopped, source.speed)
        items = gathered(items, lambda: segmenter.is_open)
        health, offset, record = SignalHealth(), DcOffset(), SignalRecord()
        try:
            for item in items:
                if isinstance(item, AudioFrame):
                    if source.live:
                        self._feel(item, health, offset)
                    else:
                        record.feed(item)
                    self._take(item, segmenter)
                    continue
                lost = item.state == "no-device"
                self._put(segmenter.flush() if lost else [], 0.0)
                self._report(SourceChanged(self.stream, item))
                if lost and health.reason != "none":
                    self._report(SignalFault(self.stream, "none"))
                if lost:
                    health, offset = SignalHealth(), DcOffset()  # what comes next may be another device
        finally:
            for sentence in record.sentences():
                self._report(SignalNote(self.stream, sentence))

    def _take(self, frame: AudioFrame, segmenter: Segmenter) -> None:
        self._heard_s = self._alive_s = time.monotonic()
        if frame.gap:
            self._report(AudioGap(self.stream, frame.index / SAMPLE_RATE))
        start, was_open = time.perf_counter(), segmenter.is_open
        segments = segmenter.feed(frame)
        if segmenter.is_open and not was_open:
            self._inbox.rouse()  # models that were let go are back before it ends
        self._put(segments, 1000 * (time.perf_counter() - start))
        if not self._source.live:
            self._hold()

    def _feel(self, frame: AudioFrame, health: SignalHealth, offset: DcOffset) -> None:
        """Say each change of what a live stream's audio shows."""
        signal_fault, stood = health.reason, offset.share
        if health.feed(frame) != signal_fault:
            self._report(SignalFault(self.stream, health.reason))
        if health.reason in ("muted", "constant"):
            return
        share = offset.feed(frame)
        if share and not stood:
            self._report(SignalNote(self.stream, f"{offset_of(share)}: it is taken out"))
        elif stood and not share:
            self._report(SignalNote(self.stream, "the constant offset is gone"))

    def _hold(self) -> None:
        """Wait until the end of a pause."""
        while not self._switches.resumed.wait(POLL_S) and not self._switches.stopped.is_set():
            self._alive_s = time.monotonic()

    def _put(self, segments: list[Segment], vad_ms: float) -> None:
        for segment in segments:
            while not self._pace_realtime and not self._inbox.wait_for_room(self.stream, POLL_S):
                self._heard_s = self._alive_s = time.monotonic()  # it is the analyser that is slow
            late_s = max(0.0, time.monotonic() - segment.arrived_s)
            if self._inbox.put(QueuedSegment(self.stream, segment, vad_ms, boottime(), late_s, self._source.live)):
                self._report(DroppedSegment(self.stream, stale=False))
