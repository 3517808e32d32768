"""Who scores what, and what a death costs: without a process, a file or a clock."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sadstream.cluster.archive.messages import (
    LinesScored,
    ModelsLoaded,
    RecordingOpened,
    RecordingRefused,
    RecordingScored,
    RecordingUnseen,
    WorkerEnded,
    WorkerMessage,
    WorkerReady,
    WorkerUnable,
)
from sadstream.cluster.archive.plan import ArchivedRecording, FailedRecording
from sadstream.cluster.archive.schedule import ArchiveRemark, FinishedRecording, RetiredWorker, Schedule, ScheduleEvent

OPENED, LOADED, ENDED = RecordingOpened(10.0), ModelsLoaded(()), WorkerEnded("killed by signal 9")
SCORED = RecordingScored("ab", 10, 10.0, (), "")


def recordings(count: int) -> list[ArchivedRecording]:
    return [ArchivedRecording(Path(f"{n}.wav"), f"{n}.wav", 10 + n, Path(f"{n}.jsonl")) for n in range(count)]


def schedule(count: int = 2, workers: int = 1) -> Schedule:
    made = Schedule(recordings(count), range(workers))
    for worker in range(workers):
        made.hear(worker, WorkerReady("here"))
    return made


def said(made: Schedule, *messages: WorkerMessage, worker: int = 0) -> list[ScheduleEvent]:
    return [event for message in messages for event in made.hear(worker, message)]


def test_the_largest_recording_is_begun_first() -> None:
    assert [recording.file for _, recording in schedule(3, workers=2).hand_out()] == ["2.wav", "1.wav"]


def test_nobody_is_given_anything_before_it_is_ready() -> None:
    assert Schedule(recordings(1), range(1)).hand_out() == []


def test_what_a_dead_worker_had_scored_is_scored_again_from_the_start() -> None:
    made = schedule(1)
    made.hand_out()
    said(made, OPENED, LOADED, LinesScored(3.0, ("a",)), ENDED, WorkerReady("here"))
    made.hand_out()
    (event,) = said(made, OPENED, LOADED, LinesScored(3.0, ("a",)), LinesScored(6.0, ("b",)), SCORED)

    assert isinstance(event, FinishedRecording)
    assert event.lines == ("a", "b")
    assert made.is_done


def test_a_recording_that_takes_three_workers_with_it_has_failed_and_the_rest_goes_on() -> None:
    made = schedule(2)
    events = []
    while not made.is_done:
        ((_, recording),) = made.hand_out()
        events += said(made, OPENED, LOADED, *([ENDED, WorkerReady("here")] if recording.file == "1.wav" else [SCORED]))
    scored, failed = events

    assert isinstance(scored, FinishedRecording)
    assert scored.recording.file == "0.wav"
    assert failed == FailedRecording("1.wav", 69, "its worker ended 3 times: killed by signal 9")


def test_a_worker_that_dies_while_it_loads_is_no_recordings_fault() -> None:
    made = schedule(1, workers=2)
    events = []
    for _ in range(3):
        ((worker, _),) = made.hand_out()
        events += said(made, OPENED, ENDED, WorkerReady("here"), worker=worker)
    while not any(isinstance(event, RetiredWorker) for event in events):
        ((worker, _),) = made.hand_out()
        events += said(made, OPENED, ENDED, WorkerReady("here"), worker=worker)
    ((other, _),) = made.hand_out()

    assert other != worker
    assert isinstance(said(made, OPENED, LOADED, SCORED, worker=other)[0], FinishedRecording)


def test_a_machine_that_does_not_see_the_recordings_says_so_and_gets_no_more() -> None:
    made = schedule(2, workers=2)
    made.hand_out()
    retired, remark = said(made, RecordingUnseen("attic", "no such file"), worker=1)
    said(made, OPENED, LOADED, SCORED)

    assert isinstance(retired, RetiredWorker)
    assert isinstance(remark, ArchiveRemark)
    assert remark.line.startswith("attic: 0.wav: no such file; every machine has to see")
    assert [recording.file for _, recording in made.hand_out()] == ["0.wav"]
    assert made.has_workers


def test_nobody_is_left_where_no_worker_can_score() -> None:
    made = schedule(2, workers=2)
    made.hand_out()
    for worker in range(2):
        said(made, OPENED, WorkerUnable(69, "no model"), worker=worker)

    assert not made.has_workers
    assert not made.is_done


def test_what_loading_has_to_say_is_said_once() -> None:
    made = schedule(2, workers=2)
    made.hand_out()
    warned = ModelsLoaded(("words are off",))

    assert said(made, OPENED, warned) == [ArchiveRemark("words are off")]
    assert said(made, OPENED, warned, worker=1) == []


def test_a_recording_that_changes_while_it_is_read_is_begun_three_times_at_most() -> None:
    made = schedule(1)
    events = []
    while not made.is_done:
        made.hand_out()
        events += made.once_more(0, "changes")

    assert events == [FailedRecording("0.wav", 65, "changes")]


def test_progress_counts_what_is_at_hand_by_its_share() -> None:
    made = schedule(1)
    made.hand_out()
    said(made, OPENED, LOADED, LinesScored(5.0, ("a",)))

    assert (made.heard_s, made.share) == (5.0, 0.5)
    said(made, SCORED)
    assert (made.heard_s, made.share) == (10.0, 1.0)


@given(st.integers(1, 8), st.integers(1, 4), st.randoms(use_true_random=False), st.floats(0.0, 0.6))
def test_every_recording_comes_out_once_whoever_is_killed_when(
    count: int, workers: int, random: object, deadly: float
) -> None:
    made, found = schedule(count, workers), Counter[str]()
    while not made.is_done and made.has_workers:
        for worker, _ in made.hand_out():
            for message in (OPENED, LOADED, LinesScored(1.0, ("a",)), SCORED):
                dead = random.random() < deadly  # type: ignore[attr-defined]
                refused = not dead and random.random() < 0.1  # type: ignore[attr-defined]
                last = RecordingRefused(65, "bad") if refused else message
                for event in made.hear(worker, ENDED if dead else last):
                    if isinstance(event, FinishedRecording):
                        found[event.recording.file] += 1
                    elif isinstance(event, FailedRecording):
                        found[event.file] += 1
                if dead:
                    made.hear(worker, WorkerReady("here"))
                if dead or refused:
                    break

    assert set(found.values()) <= {1}
    assert len(found) == count or not made.has_workers
