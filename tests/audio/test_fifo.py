"""A named pipe comes and goes as a microphone does."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import talk
from supervisor import Supervisor
from test_container import VOICE, encoded
from test_service import FAKES, in_state, process, wait_for

from sadstream.audio.sources.fifo import NamedPipe, is_pipe
from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.source import Item, SourceChange
from sadstream.base.samples import FRAME_SAMPLES, AudioFrame, to_pcm
from sadstream.config import Config
from sadstream.config.tables import ServiceConfig, StreamConfig

WAV, FLAC = encoded("WAV", "PCM_16"), encoded("FLAC", "PCM_16")
SETTINGS = Config(service=ServiceConfig(retry_s=0.1, stall_s=0.5))


def write(path: Path, frames: int) -> None:
    with path.open("r+b", buffering=0) as writer:
        writer.write(bytes(frames * 960))


def items(source: NamedPipe, steps: list[tuple[Callable[[list[Item]], bool], Callable[[], None]]]) -> list[Item]:
    """What it gives while each step is done as soon as it is due, until after the last."""
    given: list[Item] = []
    until = time.monotonic() + 10.0

    def stopped() -> bool:
        if steps and steps[0][0](given):
            steps.pop(0)[1]()
        assert time.monotonic() < until, given[-5:]
        return not steps

    for item in source.listen(stopped):
        given.append(item)  # noqa: PERF402  `stopped` looks at it
    return given


def ends_with(*wanted: str) -> Callable[[list[Item]], bool]:
    return lambda given: (
        tuple(item.reason for item in given if isinstance(item, SourceChange))[-len(wanted) :] == wanted
    )


def frames(given: list[Item]) -> list[AudioFrame]:
    return [item for item in given if isinstance(item, AudioFrame)]


def count(number: int) -> Callable[[list[Item]], bool]:
    return lambda given: len(frames(given)) >= number


def nothing() -> None:
    pass


def pipe(path: Path) -> NamedPipe:
    source = open_source(StreamConfig(source=str(path)), SETTINGS)
    assert isinstance(source, NamedPipe)
    return source


def test_its_writers_come_and_go(tmp_path: Path) -> None:
    """What each of two writes is heard, and the pipe has no end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    write_ = lambda: write(path, 3)  # noqa: E731
    given = items(pipe(path), [(ends_with("none"), write_), (count(3), write_), (count(6), nothing)])

    assert [frame.index for frame in frames(given)] == [n * FRAME_SAMPLES for n in range(6)]


def test_one_that_is_not_there_yet_is_absent_and_heard_as_soon_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "later" / "pipe"

    def make() -> None:
        path.parent.mkdir()
        os.mkfifo(path)

    steps = [(ends_with("device-absent", "device-absent"), make), (ends_with("none"), lambda: write(path, 3))]
    given = items(pipe(path), [*steps, (count(3), nothing)])

    assert (given[0].state, given[0].reason) == ("no-device", "device-absent")  # type: ignore[union-attr]
    assert "No such file or directory" in given[0].detail  # type: ignore[union-attr]


def test_one_that_is_taken_away_is_lost_and_its_successor_is_heard_with_the_numbers_going_on(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    given = items(
        pipe(path),
        [
            (ends_with("none"), lambda: write(path, 3)),
            (count(3), path.unlink),
            (ends_with("device-lost", "device-absent"), lambda: os.mkfifo(path)),
            (ends_with("device-absent", "none"), lambda: write(path, 3)),
            (count(6), nothing),
        ],
    )

    assert [frame.index for frame in frames(given)] == [n * FRAME_SAMPLES for n in range(6)]
    assert [frame.gap for frame in frames(given)] == [False, False, False, True, False, False]


def test_something_else_in_its_place_is_said(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    given = items(pipe(path), [(ends_with("device-absent"), path.touch), (said("not a named pipe"), nothing)])

    assert {item.state for item in given if isinstance(item, SourceChange)} == {"no-device"}


def said(part: str) -> Callable[[list[Item]], bool]:
    return lambda given: any(isinstance(item, SourceChange) and part in item.detail for item in given)


@pytest.mark.parametrize(
    ("name", "pipe_"), [("room.pcm", True), ("room", True), ("room.WAV", False), ("a.flac", False), ("a.m4a", False)]
)
def test_what_is_not_there_is_a_pipe_unless_it_is_called_as_a_recording(tmp_path: Path, name: str, pipe_: bool) -> None:
    assert is_pipe(tmp_path / name) == pipe_


def test_the_daemon_is_ready_without_it_and_listens_when_it_comes(endpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "pcm"
    with Supervisor(tmp_path, [*FAKES, "", "--source", str(path), "--publish", endpoint]) as supervisor:
        supervisor.until(lambda: supervisor.said("READY=1"))
        assert wait_for(endpoint, in_state("no-device"))["reason"] == "device-absent"
        os.mkfifo(path)
        wait_for(endpoint, in_state("listening"))

    assert supervisor.exits == [0]


@pytest.fixture
def twice(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    first, second = (source.format(tmp_path) for source in request.param)
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "a.toml"
    path.write_text(f"[[stream]]\nname = 'one'\nsource = '{first}'\n[[stream]]\nname = 'two'\nsource = '{second}'\n")
    return path


@pytest.mark.parametrize(
    "twice",
    [("-", "-"), ("-", "/dev/stdin"), ("{}/pipe", "{}/pipe"), ("{}/none", "{}/none")],
    indirect=True,
)
def test_two_streams_cannot_read_one_pipe(twice: Path, endpoint: str) -> None:
    with process("", "--config", str(twice), "--publish", endpoint) as daemon:
        _, errors = daemon.communicate(timeout=30)

    assert daemon.returncode == 78
    assert b"read by 'one' and by 'two'" in errors
    assert len(errors.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_said_and_the_next_writer_is_heard(tmp_path: Path) -> None:
    """What follows at once, and what follows after a while, with a header or without."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    slow = b"RIFF" + WAV[4:24] + b"\1\0\0\0" + WAV[28:]

    def send(content: bytes) -> Callable[[], None]:
        return lambda: threading.Thread(target=path.write_bytes, args=(content,)).start()

    given = items(
        pipe(path),
        [
            (ends_with("none"), send(slow)),
            (said("the next writer is heard"), send(slow + FLAC)),
            (count(100), send(to_pcm(VOICE[:4800]))),
            (count(110), nothing),
        ],
    )

    faults = [item.detail for item in given if isinstance(item, SourceChange) and "1 Hz" in item.detail]
    assert len(faults) == 2
    assert all(fault.startswith(str(path)) for fault in faults)
    assert "what follows is read" in faults[1]
    assert [frame.index for frame in frames(given)] == [n * FRAME_SAMPLES for n in range(110)]


@pytest.mark.parametrize("form", ["FLAC", "WAV"])
def test_two_files_in_a_named_pipe_come_out_of_the_daemon_as_one_stream(
    endpoint: str, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = encoded(form, "PCM_16", talk(1))
    with process("", "--source", str(path), "--publish", endpoint) as daemon:
        wait_for(endpoint, in_state("listening"))
        with path.open("wb") as writer:  # taken as fast as it is played
            writer.write(content + content)
        last = wait_for(endpoint, lambda event: event["type"] == "score" and event["segment"] == 1)
        daemon.terminate()
        daemon.communicate(timeout=10)

    assert last["t_start"] == pytest.approx(4.0 + 1.0, abs=0.5)
