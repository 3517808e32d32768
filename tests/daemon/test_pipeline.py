"""The threads: what is lost and what is not, who waits for whom, and how all of it ends."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from fakes import READY, FakeSource, analysis, config, fake_load, quiet, slow, spoken, talk, voice

from sadstream.audio.filters.framing import Framer
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.clock import boottime
from sadstream.audio.sources.source import Item, SourceChange, Stopped
from sadstream.base.errors import DataError
from sadstream.base.samples import to_pcm
from sadstream.daemon.messages import (
    AnalyzedSegment,
    AudioGap,
    DroppedSegment,
    Load,
    LoadedAnalyzer,
    ModelsReady,
    QueuedSegment,
    RejectedSegment,
    Report,
    SignalFault,
    SourceChanged,
    SourceEnded,
    ThreadFailed,
)
from sadstream.daemon.pipeline.inbox import QUEUE_SEGMENTS, Inbox
from sadstream.daemon.pipeline.pipeline import MAX_AGE_S, Pipeline
from sadstream.scoring.analysis import Analysis, Early

TALK = to_pcm(talk(6))
T = TypeVar("T")


@contextmanager
def running(
    folder: Path, sources: list[FakeSource], load: Load, pace_realtime: bool, names: tuple[str, ...] = ("mic",)
) -> Iterator[tuple[Pipeline, list[Report]]]:
    """A pipeline that listens, and everything that it has reported."""
    reports: list[Report] = []
    pipeline = Pipeline(config(folder, names), sources, load, pace_realtime)
    pipeline.start_analyzer()
    pipeline.start_readers()
    yield pipeline, reports
    assert pipeline.stop(5.0)


def collect(pipeline: Pipeline, reports: list[Report], enough: Callable[[], bool], limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not enough():
        reports.extend(pipeline.reports())
        assert time.monotonic() < until, [type(report).__name__ for report in reports]
        time.sleep(0.01)


def of(reports: list[Report], kind: type[T]) -> list[T]:
    return [report for report in reports if isinstance(report, kind)]


class TestInbox:
    @staticmethod
    def queued(stream: str, number: int, put_s: float = 0.0) -> QueuedSegment:
        segment = Segment(number, np.zeros(0, dtype=np.float32), 0.0, 1.0, 1.0, 0.0)
        return QueuedSegment(stream, segment, 0.0, put_s or boottime(), 0.0, live=True)

    def test_it_holds_two_segments_and_the_oldest_makes_room(self) -> None:
        inbox = Inbox(["mic"])

        assert [inbox.put(self.queued("mic", n)) for n in range(4)] == [False, False, True, True]
        assert inbox.waiting("mic") == QUEUE_SEGMENTS
        (first,) = inbox.take(1)
        assert isinstance(first, QueuedSegment)
        assert first.segment.number == 2

    def test_the_stream_that_waits_longest_is_served_first(self) -> None:
        inbox = Inbox(["a", "b"])
        for stream, put_s in (("a", 2.0), ("b", 1.0), ("a", 3.0)):
            inbox.put(self.queued(stream, 0, put_s))

        assert [item.stream for _ in range(3) for item in inbox.take(1)] == ["b", "a", "a"]

    def test_a_batch_holds_one_segment_of_each_stream_and_no_more_than_asked_for(self) -> None:
        inbox = Inbox(["a", "b", "c"])
        for stream, number, put_s in (("a", 0, 2.0), ("a", 1, 2.5), ("b", 0, 1.0), ("c", 0, 3.0)):
            inbox.put(self.queued(stream, number, put_s))

        assert [item.stream for item in inbox.take(2)] == ["b", "a"]
        assert [item.stream for item in inbox.take(4)] == ["a", "c"]

    def test_a_lone_segment_waits_for_nobody(self) -> None:
        inbox = Inbox(["a", "b"])
        inbox.put(self.queued("b", 0))
        start = time.monotonic()

        assert [item.stream for item in inbox.take(4)] == ["b"]
        assert time.monotonic() - start < 0.1

    def test_a_full_stream_takes_nothing_from_another(self) -> None:
        inbox = Inbox(["a", "b"])
        inbox.put(self.queued("a", 0))
        inbox.put(self.queued("a", 1))

        assert not inbox.put(self.queued("b", 0))

    def test_when_closed_it_lets_everybody_go(self) -> None:
        inbox = Inbox(["mic"])
        for n in range(QUEUE_SEGMENTS):
            inbox.put(self.queued("mic", n))
        inbox.close()

        assert inbox.wait_for_room("mic", 0.0)
        assert inbox.take(1) == []


class TestPipeline:
    def test_a_recording_at_fast_pace_waits_for_the_analyser_and_loses_nothing(self, tmp_path: Path) -> None:
        source = FakeSource(spoken(TALK), live=False)
        with running(tmp_path, [source], fake_load(slow(0.05)), pace_realtime=False) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert list(range(6)) == [report.segment.number for report in of(reports, AnalyzedSegment)]
        assert not of(reports, DroppedSegment)

    def test_a_live_source_loses_its_oldest_segments_and_each_is_counted(self, tmp_path: Path) -> None:
        source = FakeSource(spoken(TALK))
        with running(tmp_path, [source], fake_load(slow(0.4)), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        scored = [report.segment.number for report in of(reports, AnalyzedSegment)]
        assert len(scored) + len(of(reports, DroppedSegment)) == 6
        assert scored[-2:] == [4, 5]
        assert max(report.waiting for report in of(reports, AnalyzedSegment)) <= QUEUE_SEGMENTS

    def test_the_first_report_is_that_the_models_are_ready(self, tmp_path: Path) -> None:
        pipeline = Pipeline(config(tmp_path), [FakeSource(spoken(b""))], fake_load(load_s=0.1), True)
        reports: list[Report] = []
        pipeline.start_analyzer()
        collect(pipeline, reports, lambda: bool(reports))

        assert isinstance(reports[0], ModelsReady)
        assert pipeline.stop(1.0)

    def test_several_streams_are_told_apart(self, tmp_path: Path) -> None:
        names = ("left", "right")
        sources = [FakeSource(spoken(to_pcm(talk(turns))), live=False) for turns in (2, 3)]
        with running(tmp_path, sources, fake_load(), False, names) as (pipeline, reports):
            collect(pipeline, reports, lambda: len(of(reports, SourceEnded)) == 2)

        for name, turns in zip(names, (2, 3), strict=True):
            numbers = [report.segment.number for report in of(reports, AnalyzedSegment) if report.stream == name]
            assert list(range(turns)) == numbers

    @pytest.mark.parametrize("fault", ["dead", "hung", "gone"])
    def test_one_streams_fault_never_delays_anothers_score(self, tmp_path: Path, fault: str) -> None:
        """One device raises, hangs in a read, or says that it is lost; the other's segments wait no longer for it."""
        hung = threading.Event()

        def faulty() -> Iterator[Item]:
            yield SourceChange("listening", "none")
            yield from Framer().feed(to_pcm(np.concatenate([quiet(0.5), voice(1.0)])), time.monotonic())
            if fault == "dead":
                raise DataError("device: read failed")
            if fault == "hung":
                hung.wait(10.0)
            yield SourceChange("no-device", "device-lost")

        sound = FakeSource(spoken(TALK), live=False)
        with running(tmp_path, [FakeSource(faulty), sound], fake_load(slow(0.02)), False, ("bad", "good")) as (
            pipeline,
            reports,
        ):
            collect(
                pipeline, reports, lambda: any(end.stream == "good" for end in of(reports, SourceEnded)), limit_s=5.0
            )
            hung.set()

        good = [report for report in of(reports, AnalyzedSegment) if report.stream == "good"]
        assert list(range(6)) == [report.segment.number for report in good]
        assert max(report.timing.queue_ms for report in good) < 500
        assert not of(reports, ThreadFailed)

    def test_streams_that_wait_are_analysed_together_each_with_its_own_answer(self, tmp_path: Path) -> None:
        batches: list[list[int]] = []

        class EverySecond:
            def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | UnscoredSegment]:
                assert early is None
                time.sleep(0.0 if batches else 1.5)  # meanwhile every stream has one that waits
                batches.append([segment.number for segment in segments])
                return [analysis(s) if s.number % 2 == 0 else UnscoredSegment(0.0) for s in segments]

        names = ("a", "b", "c")
        sources = [FakeSource(spoken(TALK), live=False) for _ in names]
        with running(tmp_path, sources, lambda _: LoadedAnalyzer(EverySecond(), READY), False, names) as (
            pipeline,
            reports,
        ):
            collect(pipeline, reports, lambda: len(of(reports, SourceEnded)) == 3)

        assert max(map(len, batches)) == 3
        for name in names:
            assert [r.segment.number for r in of(reports, AnalyzedSegment) if r.stream == name] == [
                0,
                1,
                2,
            ]  # without a hole
            assert len([r for r in of(reports, RejectedSegment) if r.stream == name]) == 3

    def test_an_old_segment_of_a_live_source_is_dropped_not_scored(self, tmp_path: Path) -> None:
        """As after a SIGSTOP of the whole daemon."""

        def stale() -> Iterator[Item]:
            yield SourceChange("listening", "none")
            yield from Framer().feed(to_pcm(talk(1)), time.monotonic() - MAX_AGE_S - 1)

        with running(tmp_path, [FakeSource(stale)], fake_load(), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert [report.stale for report in of(reports, DroppedSegment)] == [True]
        assert not of(reports, AnalyzedSegment)

    def test_a_lost_device_closes_the_segment_in_hand(self, tmp_path: Path) -> None:
        def lost() -> Iterator[Item]:
            framer = Framer()
            yield SourceChange("listening", "none")
            yield from framer.feed(to_pcm(np.concatenate([quiet(0.5), voice(1.0)])), time.monotonic())
            yield SourceChange("no-device", "device-lost")
            framer.skip(160_000)
            yield SourceChange("listening", "none")
            yield from framer.feed(to_pcm(np.concatenate([voice(1.0), quiet(0.5)])), time.monotonic())

        with running(tmp_path, [FakeSource(lost)], fake_load(), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        before, after = (report.segment for report in of(reports, AnalyzedSegment))
        assert before.t_end < 1.6
        assert after.t_start > 11.0
        assert after.t_end - after.t_start < 3.0
        assert [pytest.approx(11.49, abs=0.05)] == [report.t for report in of(reports, AudioGap)]
        assert [report.change.state for report in of(reports, SourceChanged)] == ["listening", "no-device", "listening"]

    def test_a_failure_in_a_source_is_said_after_all_that_came_before_it(self, tmp_path: Path) -> None:
        def broken() -> Iterator[Item]:
            yield from spoken(to_pcm(talk(2)))()
            raise DataError("talk.wav: truncated")

        source = FakeSource(broken, live=False)
        with running(tmp_path, [source], fake_load(slow(0.1)), pace_realtime=False) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert len(of(reports, AnalyzedSegment)) == 2
        assert isinstance(reports[-1], SourceEnded)
        assert str(reports[-1].failure) == "talk.wav: truncated"

    @pytest.mark.parametrize("where", ["load", "analyse", "source"])
    def test_an_exception_that_nobody_expected_is_reported(self, tmp_path: Path, where: str) -> None:
        def raise_(*_: object) -> Analysis:
            raise ZeroDivisionError

        def broken() -> Iterator[Item]:
            yield from spoken(TALK)()
            raise_()

        load: Load = fake_load(raise_) if where == "analyse" else fake_load()
        source = FakeSource(broken if where == "source" else spoken(TALK), live=False)
        with running(tmp_path, [source], raise_ if where == "load" else load, False) as (pipeline, reports):  # type: ignore[arg-type]
            collect(pipeline, reports, lambda: bool(of(reports, ThreadFailed)))

        (failed,) = of(reports, ThreadFailed)
        assert isinstance(failed.error, ZeroDivisionError)
        assert failed.private == (where != "source")

    def test_a_muted_microphone_is_felt_and_its_end_too(self, tmp_path: Path) -> None:
        pcm = bytes(2 * 16_000 * 11) + to_pcm(quiet(0.1))
        with running(tmp_path, [FakeSource(spoken(pcm))], fake_load(), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert [report.reason for report in of(reports, SignalFault)] == ["muted", "none"]

    def test_a_device_that_comes_back_is_not_muted_by_what_was_before(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            framer = Framer()
            for _ in range(2):
                yield SourceChange("listening", "none")
                yield from framer.feed(bytes(2 * 16_000 * 11), time.monotonic())
                yield SourceChange("no-device", "device-lost")

        with running(tmp_path, [FakeSource(items)], fake_load(), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert [report.reason for report in of(reports, SignalFault)] == ["muted", "none"] * 2

    def test_a_pause_closes_a_live_source_and_a_resume_opens_it_again(self, tmp_path: Path) -> None:
        source = FakeSource(spoken(to_pcm(talk(1))), stays=True)
        with running(tmp_path, [source], fake_load(), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: len(of(reports, AnalyzedSegment)) == 1)
            pipeline.pause()
            time.sleep(0.3)
            assert len(of(reports, SourceChanged)) == 1
            pipeline.resume()
            collect(pipeline, reports, lambda: len(of(reports, AnalyzedSegment)) == 2)

        assert len(of(reports, SourceChanged)) == 2

    def test_a_pause_that_is_over_before_its_device_has_closed_ends_no_stream(self, tmp_path: Path) -> None:
        """Closing a device takes a moment, and a busy machine a longer one."""
        listened: list[int] = []
        pipelines: list[Pipeline] = []

        class Slow(FakeSource):
            def listen(self, stopped: Stopped) -> Iterator[Item]:
                listened.append(1)
                yield SourceChange("listening", "none")
                while not stopped():
                    time.sleep(0.01)
                pipelines[0].resume()

        with running(tmp_path, [Slow(spoken(b""))], fake_load(), True) as (pipeline, reports):
            pipelines.append(pipeline)
            collect(pipeline, reports, lambda: len(listened) == 1)
            pipeline.pause()
            collect(pipeline, reports, lambda: len(listened) == 2)
            assert not of(reports, SourceEnded)

    def test_a_pause_holds_a_recording_and_loses_nothing(self, tmp_path: Path) -> None:
        source = FakeSource(spoken(TALK), live=False)
        with running(tmp_path, [source], fake_load(slow(0.02)), pace_realtime=False) as (pipeline, reports):
            pipeline.pause()
            time.sleep(0.3)
            reports.extend(pipeline.reports())
            assert not of(reports, SourceEnded)
            pipeline.resume()
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert list(range(6)) == [report.segment.number for report in of(reports, AnalyzedSegment)]

    def test_a_stop_does_not_wait_for_an_analyser_that_hangs(self, tmp_path: Path) -> None:
        pipeline = Pipeline(config(tmp_path), [FakeSource(spoken(TALK))], fake_load(slow(3.0)), True)
        reports: list[Report] = []
        pipeline.start_analyzer()
        pipeline.start_readers()
        collect(pipeline, reports, lambda: pipeline.busy_s() > 0)
        start = time.monotonic()

        assert not pipeline.stop(0.3)
        assert time.monotonic() - start < 0.6

    def test_it_knows_how_long_the_analyser_is_at_it_and_how_long_a_source_is_silent(self, tmp_path: Path) -> None:
        source = FakeSource(spoken(to_pcm(talk(1))), stays=True)
        with running(tmp_path, [source], fake_load(slow(0.5)), pace_realtime=True) as (pipeline, reports):
            collect(pipeline, reports, lambda: pipeline.busy_s() > 0.3)
            collect(pipeline, reports, lambda: bool(of(reports, AnalyzedSegment)))

            assert pipeline.busy_s() == 0.0
            assert pipeline.silent_s("mic", frames_due=True) > 0.3
            assert pipeline.silent_s("mic", frames_due=False) < 0.2

    def test_a_segment_that_spans_a_suspend_is_not_scored_as_new(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offset = [0.0]
        for module in ("pipeline", "reader"):
            monkeypatch.setattr(f"sadstream.daemon.pipeline.{module}.boottime", lambda: time.monotonic() + offset[0])

        def sleeps(segment: Segment) -> Analysis:
            offset[0] += 3600.0
            return analysis(segment)

        with running(tmp_path, [FakeSource(spoken(TALK))], fake_load(sleeps), True) as (pipeline, reports):
            collect(pipeline, reports, lambda: bool(of(reports, SourceEnded)))

        assert not of(reports, AnalyzedSegment)
        assert len(of(reports, DroppedSegment)) == 6
