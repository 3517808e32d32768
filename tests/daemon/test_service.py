"""The daemon's life with a fake analyser: what it says in which state, and how it ends."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from fakes import READY, FakeSource, analysis, config, fake_load, slow, spoken, talk
from wilson import line

from sadstream.audio.filters.framing import Framer
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.sources.source import Item, SourceChange
from sadstream.base.errors import BusyError, DataError, StalledError, UnavailableError
from sadstream.base.logs import set_up
from sadstream.base.samples import AudioFrame, to_pcm
from sadstream.config import Config
from sadstream.daemon.messages import AudioGap, Load, LoadedAnalyzer, ModelsReleased, ModelsRestored
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.service import RELEASED, BugError, RunOptions, Service
from sadstream.events import Episode, Score, Status
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.mood.mood import MoodPlan

FAKES = [sys.executable, str(Path(__file__).parents[1].joinpath("fakes.py")), "run"]
TALK = to_pcm(talk(4))
RUNNING = sorted(path for part in ("audio", "daemon") for path in Path("sadstream", part).rglob("*.py"))
STOPS = int(os.environ.get("STOPS", "100"))


def service(
    folder: Path, sources: list[FakeSource], load: Load, settings: Config | None = None, **options: Any
) -> tuple[Service, list[Score | Status | AudioGap]]:
    """A service, and a list of all that it will have said."""
    said: list[Score | Status | AudioGap] = []
    settings = settings or config(folder)
    chosen = RunOptions(**({"observers": (said.append,)} | options))
    return Service(settings, sources, load, chosen, Publisher(settings.publish.endpoint)), said


def scores(said: list[Any]) -> list[Score]:
    return [event for event in said if isinstance(event, Score)]


def states(said: list[Any]) -> list[tuple[str, str]]:
    """States and reasons in turn, without heartbeats."""
    found: list[tuple[str, str]] = []
    for event in said:
        if isinstance(event, Status) and (event.state, event.reason) not in found[-1:]:
            found.append((event.state, event.reason))
    return found


class TestLife:
    def test_a_recording_is_scored_to_its_end(self, tmp_path: Path) -> None:
        daemon, said = service(tmp_path, [FakeSource(spoken(TALK), live=False)], fake_load(), pace_realtime=False)

        assert daemon.run()
        assert states(said) == [("starting", "none"), ("listening", "none"), ("stopping", "none")]
        assert [score.segment for score in scores(said)] == [0, 1, 2, 3]
        assert [score.seq for score in scores(said)] == [0, 1, 2, 3]

    def test_a_provisional_score_comes_first_where_it_is_asked_for_under_the_same_segment(self, tmp_path: Path) -> None:
        class SoundFirst:
            def many(self, segments: Sequence[Segment], early: Any = None) -> list[Analysis | UnscoredSegment]:
                for number, segment in enumerate(segments):
                    early(number, replace(analysis(segment), provisional=True))
                return [analysis(segment, "so sad") for segment in segments]

        settings = config(tmp_path, publish={"endpoint": f"ipc://{tmp_path}/pub", "provisional": True})
        source = FakeSource(spoken(TALK), live=False)
        daemon, said = service(
            tmp_path, [source], lambda _: LoadedAnalyzer(SoundFirst(), READY), settings, pace_realtime=False
        )
        daemon.run()

        assert [(s.segment, s.provisional, s.text_used) for s in scores(said)] == [
            step for n in range(4) for step in ((n, True, False), (n, None, True))
        ]
        assert [s.seq for s in scores(said)] == list(range(8))

    def test_models_that_were_let_go_are_a_note_of_the_status_and_a_line_each(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "sadstream")
        daemon, said = service(tmp_path, [FakeSource(spoken(TALK))], fake_load())
        for report in (ModelsReleased(), ModelsRestored(took_s=0.5)):
            daemon._take(report)
            assert (RELEASED in daemon._answer("status").notes) == isinstance(report, ModelsReleased)

        assert [record.getMessage() for record in caplog.records] == [
            RELEASED, "the models are back, somebody speaks: loaded in 0.5 s",
        ]  # fmt: skip
        assert states(said) == []

    def test_status_comes_as_often_as_the_heartbeat(self, tmp_path: Path) -> None:
        settings = config(tmp_path, service={"heartbeat_s": 0.3})

        def patient() -> Iterator[Item]:
            yield SourceChange("listening", "none")
            time.sleep(1.5)

        daemon, said = service(tmp_path, [FakeSource(patient)], fake_load(), settings)
        daemon.run()
        times = [event.monotonic_s for event in said if isinstance(event, Status)]

        assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.6
        assert len(times) >= 5

    def test_overload_is_said_counted_and_over_when_the_queue_is_empty(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield from spoken(TALK)()
            time.sleep(4.0)

        daemon, said = service(tmp_path, [FakeSource(items)], fake_load(slow(0.8)))
        daemon.run()

        assert ("overloaded", "slow") in states(said)
        assert states(said)[-2] == ("listening", "none")
        assert scores(said)[-1].dropped + len(scores(said)) == 4

    def test_a_loss_of_the_device_is_said_with_its_reason(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield SourceChange("no-device", "device-absent", "none there")
            yield from spoken(TALK)()
            yield SourceChange("no-device", "device-lost", "gone")

        daemon, said = service(tmp_path, [FakeSource(items)], fake_load())
        daemon.run()

        assert [state for state in states(said) if state[0] not in ("overloaded", "stopping")][:4] == [
            ("starting", "none"), ("no-device", "device-absent"), ("listening", "none"), ("no-device", "device-lost")
        ]  # fmt: skip

    def test_its_log_says_every_change_of_state_and_cuts_off_repetitions(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """After a long absence, three more losses; each has its line."""

        def items() -> Iterator[Item]:
            for number in range(75):
                yield SourceChange("no-device", "device-absent", f"tried {number} times")
            for _ in range(3):
                yield SourceChange("listening", "none", "open")
                yield SourceChange("no-device", "device-lost", "killed")

        set_up()
        daemon, _ = service(tmp_path, [FakeSource(items)], fake_load())
        daemon.run()
        said = capfd.readouterr().err

        assert said.count("mic: listening (none) open") == 3
        assert said.count("mic: no-device (device-lost) killed") == 3
        assert 10 <= said.count("mic: no-device (device-absent)") <= 11
        assert "stopping (none)" in said

    def test_a_required_device_that_is_absent_ends_it_with_69(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield SourceChange("no-device", "device-absent", "no capture device")
            time.sleep(5)

        daemon, _ = service(tmp_path, [FakeSource(items)], fake_load(), require_device=True)
        with pytest.raises(UnavailableError, match="no capture device"):
            daemon.run()

    def test_a_broken_recording_ends_it_after_what_was_good(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield from spoken(TALK)()
            raise DataError("talk.wav: truncated")

        daemon, said = service(tmp_path, [FakeSource(items, live=False)], fake_load(), pace_realtime=False)
        with pytest.raises(DataError, match="truncated"):
            daemon.run()
        assert len(scores(said)) == 4
        assert states(said)[-1][0] == "stopping"

    def test_an_analyser_that_hangs_ends_it_with_75(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield from spoken(TALK)()
            while True:
                time.sleep(0.03)
                yield AudioFrame(bytes(960), 0, time.monotonic())

        settings = config(tmp_path, service={"hang_s": 1.0})
        daemon, said = service(tmp_path, [FakeSource(items)], fake_load(slow(4.0)), settings)
        start = time.monotonic()

        with pytest.raises(StalledError, match="the analyser has hung for 1 s"):
            daemon.run()
        assert time.monotonic() - start < 5.0
        assert states(said)[-1][0] == "stopping"

    def test_a_reader_that_hangs_ends_it_with_75(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield SourceChange("listening", "none")
            time.sleep(4.0)

        settings = config(tmp_path, service={"hang_s": 1.0})
        daemon, _ = service(tmp_path, [FakeSource(items)], fake_load(), settings)
        with pytest.raises(StalledError, match="mic: its reader has hung for 1 s"):
            daemon.run()

    def test_no_device_for_long_is_no_hang(self, tmp_path: Path) -> None:
        def items() -> Iterator[Item]:
            yield SourceChange("no-device", "device-absent")

        settings = config(tmp_path, service={"hang_s": 1.0})
        daemon, said = service(tmp_path, [FakeSource(items, stays=True)], fake_load(), settings)
        _after(2.5, lambda: os.kill(os.getpid(), signal.SIGTERM))

        assert daemon.run()
        assert states(said)[-1] == ("stopping", "signal")

    def test_an_unexpected_exception_hides_its_message(self, tmp_path: Path) -> None:
        def fail(_: object) -> Any:
            raise ValueError("the secret words")

        daemon, _ = service(tmp_path, [FakeSource(spoken(TALK))], fake_load(fail))
        with pytest.raises(BugError) as raised:
            daemon.run()
        assert isinstance(raised.value.args[0], ValueError)

    def test_a_second_one_at_the_same_endpoint_is_refused_and_the_first_is_unharmed(self, tmp_path: Path) -> None:
        refused = []

        def items() -> Iterator[Item]:
            yield SourceChange("listening", "none")
            second, _ = service(tmp_path, [FakeSource(spoken(TALK))], fake_load())
            try:
                second.run()
            except (BusyError, ValueError) as error:
                refused.append(error)
            yield from Framer().feed(TALK, time.monotonic())

        daemon, said = service(tmp_path, [FakeSource(items, live=False)], fake_load(), pace_realtime=False)
        daemon.run()

        assert [BusyError] == [type(error) for error in refused]
        assert len(scores(said)) == 4


class TestClocks:
    def test_a_wall_clock_that_jumps_by_an_hour_either_way_changes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = itertools.cycle((3600.0, -3600.0))
        wall = time.time
        monkeypatch.setattr(time, "time", lambda: wall() + next(steps))
        daemon, said = service(tmp_path, [FakeSource(spoken(TALK), live=False)], fake_load(), pace_realtime=False)

        assert daemon.run()
        assert [score.segment for score in scores(said)] == [0, 1, 2, 3]
        assert max(score.latency_ms.total for score in scores(said)) < 5000
        assert states(said) == [("starting", "none"), ("listening", "none"), ("stopping", "none")]

    @pytest.mark.parametrize("path", RUNNING, ids=str)
    def test_nothing_that_runs_asks_for_the_wall_clock(self, path: Path) -> None:
        text = path.read_text()

        assert "time.time(" not in text
        assert "datetime" not in text


class TestReload:
    def test_a_new_threshold_holds_from_the_next_score_on(self, tmp_path: Path) -> None:
        path = tmp_path / "new"

        def items() -> Iterator[Item]:
            yield from spoken(to_pcm(talk(1)))()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.5)
            yield from Framer().feed(to_pcm(talk(1)), time.monotonic())

        def read_again() -> Config:
            path.touch()
            return config(tmp_path, model={"threshold": 0.9}, whisper={"model": "other"})

        daemon, said = service(tmp_path, [FakeSource(items)], fake_load(), read_again=read_again)
        daemon.run()

        assert path.exists()
        assert [score.threshold for score in scores(said)] == [0.5, 0.9]

    def test_a_bad_file_changes_nothing(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def items() -> Iterator[Item]:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.5)
            yield from spoken(TALK)()

        def read_again() -> Config:
            return config(tmp_path, model={"threshold": 7.0})

        source = FakeSource(items, live=False)
        daemon, said = service(tmp_path, [source], fake_load(), pace_realtime=False, read_again=read_again)
        daemon.run()

        assert {0.5} == {score.threshold for score in scores(said)}
        assert "stays as it was: test: model.threshold = 7.0" in caplog.text


# --- as its user runs it ----------------------------------------------------------------------------------------


@contextmanager
def process(fake: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A whole daemon with a fake analyser, ended at the end."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
    daemon = subprocess.Popen([*FAKES, fake, *arguments], **options)
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.communicate()


def wait_for(endpoint: str, enough: Callable[[dict[str, Any]], bool], limit_s: float = 15.0) -> dict[str, Any]:
    """The first event that is enough."""
    return list(_events(endpoint, enough, limit_s))[-1]


def _events(endpoint: str, enough: Callable[[dict[str, Any]], bool], limit_s: float) -> Iterator[dict[str, Any]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.subscribe(b"sad.")
        socket.connect(endpoint)
        until = time.monotonic() + limit_s
        while True:
            assert socket.poll(max(0, int(1000 * (until - time.monotonic())))), "no such event"
            event = json.loads(socket.recv().partition(b" ")[2])
            yield event
            if enough(event):
                return


def in_state(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event.get("state") == state


class TestProcess:
    @pytest.mark.parametrize(
        ("fake", "state"),
        [
            ("load=60", "starting"),
            ("capture=good", "listening"),
            ("capture=good,busy=60", "listening"),
            ("capture=absent", "no-device"),
            ("capture=level:100", "degraded"),
        ],
        ids=["loading", "listening", "scoring", "no-device", "constant"],
    )
    def test_sigterm_ends_it_within_two_seconds_with_0_and_a_last_status(
        self, endpoint: str, fake: str, state: str
    ) -> None:
        with process(fake, "--publish", endpoint) as daemon:
            wait_for(endpoint, in_state(state))
            ended: list[float] = []

            def end() -> None:
                time.sleep(0.5)
                daemon.send_signal(signal.SIGTERM)
                start = time.monotonic()
                daemon.wait(10)
                ended.append(time.monotonic() - start)

            ender = threading.Thread(target=end)
            ender.start()
            last = wait_for(endpoint, in_state("stopping"))
            ender.join()

            assert (last["state"], last["reason"]) == ("stopping", "signal")
            assert daemon.returncode == 0
            assert ended[0] < 2.0

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_sigterm_at_random_moments_ends_it_within_two_seconds(self, endpoint: str) -> None:
        """STOPS of them, in any state from the bound socket on: loading, listening, scoring, no device."""
        moments, took = random.Random(3), []
        for _ in range(STOPS):
            fake = moments.choice(["load=60", "capture=good", "capture=good,busy=60", "capture=absent", "capture=hang"])
            with process(fake, "--publish", endpoint) as daemon:
                wait_for(endpoint, in_state("starting"))
                time.sleep(moments.uniform(0.0, 2.5))
                start = time.monotonic()
                daemon.send_signal(signal.SIGTERM)
                daemon.communicate(timeout=10)
                took.append(time.monotonic() - start)
                assert daemon.returncode == 0, fake
        good = sum(seconds < 2.0 for seconds in took)
        print(
            "\n" + line("SIGTERM", good, STOPS, f"at most {max(took):.2f} s, median {sorted(took)[STOPS // 2]:.2f} s")
        )

        assert good == STOPS

    def test_a_hang_of_the_analyser_is_exit_75_in_one_line(self, endpoint: str, tmp_path: Path) -> None:
        path = tmp_path / "a.toml"
        path.write_text("[service]\nhang_s = 1\n")
        arguments = ("--publish", endpoint, "--config", str(path))
        with process("capture=good,hang-at=0", *arguments) as daemon:
            _, errors = daemon.communicate(timeout=30)

        assert daemon.returncode == 75
        assert b"Traceback" not in errors

    def test_a_bug_is_exit_1_with_where_it_was_but_not_what_was_said(self, endpoint: str) -> None:
        with process("capture=good,fail-at=0,words=canary", "--publish", endpoint) as daemon:
            _, errors = daemon.communicate(timeout=30)

        assert daemon.returncode == 1
        assert b"ValueError" in errors
        assert b"fakes.py" in errors
        assert b"canary" not in errors

    def test_a_second_daemon_is_exit_73_and_the_first_goes_on(self, endpoint: str) -> None:
        with process("capture=good", "--publish", endpoint) as first:
            wait_for(endpoint, in_state("listening"))
            start = time.monotonic()
            with process("", "--publish", endpoint) as second:
                _, errors = second.communicate(timeout=30)
            took_s = time.monotonic() - start

            assert second.returncode == 73
            assert len([line for line in errors.splitlines() if b"INFO" not in line]) == 1
            assert took_s < 5.0  # a Python start on a busy machine
            assert wait_for(endpoint, lambda event: event["type"] == "score")["segment"] >= 0
            assert first.poll() is None

    def test_a_required_device_that_is_absent_is_exit_69(self, endpoint: str) -> None:
        with process("capture=absent", "--publish", endpoint, "--require-device") as daemon:
            _, errors = daemon.communicate(timeout=30)

        assert daemon.returncode == 69
        assert b"no capture device (--require-device)" in errors

    def test_a_full_disk_under_standard_error_does_not_stop_it(self, endpoint: str) -> None:
        with Path("/dev/full").open("wb") as full, process("capture=good", "--publish", endpoint, stderr=full):
            assert wait_for(endpoint, lambda event: event["type"] == "score")["segment"] >= 0

    @pytest.mark.parametrize("pace", ["fast", "realtime"])
    def test_raw_audio_on_a_pipe_is_scored_without_loss(self, endpoint: str, pace: str) -> None:
        """At real-time pace too: a pipe that gives more than that is held back."""
        arguments = ("--source", "-", "--pace", pace, "--publish", endpoint, "--wait-subscriber", "20")
        read_fd, write_fd = os.pipe()
        with process("busy=0.1", *arguments, stdin=read_fd) as daemon:
            os.close(read_fd)
            feeder = threading.Thread(target=_feed, args=(write_fd, to_pcm(talk(2))))
            feeder.start()
            events = list(_events(endpoint, in_state("stopping"), 30.0))
            feeder.join()
            daemon.wait(10)

        assert [event["segment"] for event in events if event["type"] == "score"] == [0, 1]
        assert events[-1]["dropped"] == 0
        assert daemon.returncode == 0

    def test_raw_audio_in_a_file_on_standard_input_is_a_recording(self, endpoint: str, tmp_path: Path) -> None:
        path = tmp_path / "talk.raw"
        path.write_bytes(TALK)
        with path.open("rb") as stdin:
            arguments = ("--source", "-", "--pace", "fast", "--publish", endpoint, "--wait-subscriber", "20")
            with process("busy=0.05", *arguments, stdin=stdin):
                events = list(_events(endpoint, in_state("stopping"), 30.0))

        assert [event["segment"] for event in events if event["type"] == "score"] == [0, 1, 2, 3]

    def test_closed_standard_input_is_exit_66_in_one_line(self, endpoint: str) -> None:
        command = " ".join([*FAKES, "''", "--source", "-", "--publish", endpoint, "<&-"])
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)

        assert done.returncode == 66
        assert "standard input: closed" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_what_it_hears_keeps_and_sends_is_the_first_line(self, endpoint: str) -> None:
        with process("load=60", "--publish", endpoint) as daemon:
            assert daemon.stderr is not None
            line = daemon.stderr.readline().decode()

        assert f"hears mic; keeps nothing; sends numbers only, no words, to {endpoint}" in line


def _feed(fd: int, pcm: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(fd, "wb") as pipe:
        pipe.write(pcm)


def _after(seconds: float, act: Callable[[], None]) -> None:
    threading.Timer(seconds, act).start()


class TestSpeechAndMood:
    def test_what_holds_no_speech_is_counted_and_leaves_no_hole(self, tmp_path: Path) -> None:
        def every_second(segment: Segment) -> Analysis | UnscoredSegment:
            return UnscoredSegment(0.01) if segment.number % 2 == 0 else analysis(segment)

        source = FakeSource(spoken(to_pcm(talk(6))), live=False)
        daemon, said = service(tmp_path, [source], fake_load(every_second), pace_realtime=False)
        daemon.run()
        heard = scores(said)

        assert [score.segment for score in heard] == [0, 1, 2]
        assert [score.seq for score in heard] == [0, 1, 2]
        assert heard[0].t_start > 3.0
        assert [event.dropped for event in said if isinstance(event, Status)][-1] == 0
        assert daemon._streams["mic"].facts.no_speech == 3

    def test_what_others_say_is_counted_apart_and_leaves_no_hole(self, tmp_path: Path) -> None:
        def every_third(segment: Segment) -> Analysis | UnscoredSegment:
            return UnscoredSegment(0.9, stranger=True) if segment.number % 3 == 1 else analysis(segment)

        source = FakeSource(spoken(to_pcm(talk(6))), live=False)
        daemon, said = service(tmp_path, [source], fake_load(every_third), pace_realtime=False)
        daemon.run()

        assert [score.segment for score in scores(said)] == [0, 1, 2, 3]
        assert (daemon._streams["mic"].facts.strangers, daemon._streams["mic"].facts.no_speech) == (2, 0)

    def test_an_episode_starts_goes_on_and_ends_with_the_recording(self, tmp_path: Path) -> None:
        def sad(segment: Segment) -> Analysis:
            return replace(analysis(segment), bias_logit=-2.2, audio_logit=2.5)

        told: list[Episode] = []

        class Told(Publisher):
            def send(self, event: Any, lost: bool = False) -> Any:
                if isinstance(event, Episode):
                    told.append(event)
                return super().send(event, lost)

        settings = config(tmp_path)
        options = RunOptions(
            pace_realtime=False, plan=MoodPlan(threshold=2.0, false_alarms_h=1.0), observers=((said := []).append,)
        )
        source = FakeSource(spoken(to_pcm(talk(10))), live=False)
        Service(settings, [source], fake_load(sad), options, Told(settings.publish.endpoint)).run()
        heard = scores(said)

        assert [event.phase for event in told if event.phase != "update"] == ["start", "end"]
        assert told[0].first_score_seq == 0
        assert told[-1].last_score_seq == heard[-1].seq
        assert told[-1].mood == heard[-1].mood
        assert {event.false_alarms_h for event in told} == {1.0}
        assert [event.seq for event in told] == list(range(len(told)))

    def test_a_calibrated_voice_is_a_part_of_every_score(self, tmp_path: Path) -> None:
        source = FakeSource(spoken(TALK), live=False)
        plan = MoodPlan("calibrated", offset_logit=-1.5)
        daemon, said = service(tmp_path, [source], fake_load(), pace_realtime=False, plan=plan)
        daemon.run()

        assert [score.offset_logit for score in scores(said)] == [-1.5] * 4
