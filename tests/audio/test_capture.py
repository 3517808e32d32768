"""The microphone: who is chosen, and what the daemon hears when its capture process misbehaves."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sadstream.audio.sources.capture import Device, choose
from sadstream.audio.sources.microphone import Microphone
from sadstream.audio.sources.source import Item, SourceChange
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, AudioFrame
from sadstream.config.tables import ServiceConfig

FAKE = [sys.executable, str(Path(__file__).parents[1].joinpath("capturing.py"))]
HDA = Device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)", "ALSA", 2, 48_000.0, default=False)
PULSE = Device(4, "pulse", "ALSA", 32, 44_100.0, default=True)
USB = Device(7, "Blue Yeti: USB Audio (hw:2,0)", "ALSA", 2, 48_000.0, default=False)


class TestChoice:
    def test_without_a_name_it_is_the_default(self) -> None:
        assert choose([HDA, PULSE, USB], None) == PULSE

    def test_without_a_default_it_is_the_first(self) -> None:
        assert choose([HDA, USB], None) == HDA

    @pytest.mark.parametrize("part", ["yeti", "YETI", "usb audio"])
    def test_a_part_of_the_name_in_any_case_is_enough(self, part: str) -> None:
        assert choose([HDA, PULSE, USB], part) == USB

    def test_a_name_that_nothing_has_is_an_error_that_lists_what_is_there(self) -> None:
        with pytest.raises(UnavailableError, match=r"'Røde': expected one of Blue Yeti.*, HDA Intel.*, pulse"):
            choose([HDA, PULSE, USB], "Røde")

    def test_no_device_at_all_is_an_error(self) -> None:
        with pytest.raises(UnavailableError, match="no capture device"):
            choose([], None)


def heard(behaviour: str, until: Callable[[list[Item]], bool], limit_s: float = 12.0, **options: float) -> list[Item]:
    """What a microphone gives whose capture process behaves like this, up to `until`."""
    items: list[Item] = []
    end_s = time.monotonic() + limit_s
    service = ServiceConfig(**({"retry_s": 0.2, "stall_s": 1.5} | options))
    source = Microphone(None, service, command=[*FAKE, behaviour])
    fill(items, source.listen(lambda: time.monotonic() > end_s or until(items)))
    assert time.monotonic() < end_s, f"{behaviour}: only {changes(items)}"
    return items


def fill(items: list[Item], source: Iterator[Item]) -> None:
    """One by one, so that the source's stop can look at what it gave."""
    for item in source:
        items.append(item)  # noqa: PERF402


def changes(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.state, item.reason) for item in items if isinstance(item, SourceChange)]


def frames(items: list[Item]) -> list[AudioFrame]:
    return [item for item in items if isinstance(item, AudioFrame)]


def said(count: int) -> Callable[[list[Item]], bool]:
    return lambda items: len(changes(items)) >= count


def long(seconds: float) -> Callable[[list[Item]], bool]:
    return lambda items: len(frames(items)) * FRAME_SAMPLES >= seconds * SAMPLE_RATE


class TestMicrophone:
    def test_it_listens_and_its_frames_follow_each_other(self) -> None:
        items = heard("good", long(1.0))

        assert changes(items) == [("listening", "none")]
        assert "open 'fake'" in next(item.detail for item in items if isinstance(item, SourceChange))
        assert [n * FRAME_SAMPLES for n in range(len(frames(items)))] == [frame.index for frame in frames(items)]
        assert not any(frame.gap for frame in frames(items))

    def test_an_absent_device_is_said_and_tried_again(self) -> None:
        items = heard("absent", lambda items: changes(items).count(("no-device", "device-absent")) == 2)

        assert {state for state, _ in changes(items)} == {"no-device"}

    def test_a_process_that_waits_for_its_device_is_left_alone_and_says_what_it_misses(self) -> None:
        items = heard("waits", lambda items: isinstance(items[-1:][0] if items else None, AudioFrame), retry_s=0.5)

        assert changes(items) == [("no-device", "device-absent")] * 2 + [
            ("no-device", "device-lost"), ("listening", "none")
        ]  # fmt: skip
        assert [item.detail for item in items if isinstance(item, SourceChange)][:1] == ["no capture device"]

    def test_a_capture_process_that_dies_is_a_lost_device_and_starts_again(self) -> None:
        items = heard("crash", said(4))

        assert changes(items)[:4] == [("listening", "none"), ("no-device", "device-lost")] * 2

    def test_after_a_loss_the_time_of_the_stream_has_moved_on_with_the_clock(self) -> None:
        items = heard("crash", lambda items: said(3)(items) and isinstance(items[-1], AudioFrame))
        first, first_again = frames(items)[0], next(frame for frame in frames(items) if frame.gap)

        passed_s = first_again.arrived_s - first.arrived_s
        assert abs(passed_s - (first_again.index - first.index) / SAMPLE_RATE) < 0.5
        assert first_again.index > len(frames(items)) * FRAME_SAMPLES

    def test_a_read_that_never_returns_is_a_stall_within_two_seconds(self) -> None:
        items = heard("hang", said(3))
        last = [frame.arrived_s for frame in frames(items) if not frame.gap][-1]

        assert changes(items)[:3] == [("listening", "none"), ("no-device", "stalled"), ("listening", "none")]
        assert last > 0

    def test_a_device_that_opens_and_stays_silent_is_said_within_two_seconds(self) -> None:
        start = time.monotonic()

        assert changes(heard("mute-start", said(1))) == [("no-device", "stalled")]
        assert time.monotonic() - start < 2.5

    def test_errors_that_nobody_reads_do_not_stop_the_audio(self) -> None:
        """A pipe holds 64 KiB; this process complains for ten times that."""
        assert changes(heard("noisy", long(1.0))) == [("listening", "none")]

    @pytest.mark.parametrize("factor", [0.5, 3.0])
    def test_a_wrong_sample_rate_is_said(self, factor: float) -> None:
        items = heard(f"speed:{factor}", said(2))

        assert changes(items)[:2] == [("listening", "none"), ("no-device", "rate")]

    def test_after_a_wrong_rate_nothing_is_heard_until_it_is_right(self) -> None:
        items = heard("speed:3.0", said(4))

        assert changes(items)[1:] == [("no-device", "rate")] * 3
        assert len(frames(items)) * FRAME_SAMPLES < 4 * SAMPLE_RATE

    def test_a_stop_ends_the_process(self) -> None:
        before = _children()
        heard("good", long(0.2))

        assert before == _children()

    def test_audio_from_before_a_suspend_is_not_taken_for_new(self) -> None:
        """The boot clock goes on while the machine sleeps: what then comes is an hour late."""
        offset = [0.0]
        items: list[Item] = []
        source = Microphone(
            None, ServiceConfig(retry_s=0.2), command=[*FAKE, "good"], now=lambda: time.monotonic() + offset[0]
        )
        for item in source.listen(lambda: len(changes(items)) >= 3 and isinstance(items[-1], AudioFrame)):
            items.append(item)
            if len(frames(items)) == 20:
                offset[0] = 3600.0

        assert changes(items) == [("listening", "none"), ("no-device", "stalled"), ("listening", "none")]
        assert frames(items)[-1].gap
        assert frames(items)[-1].index / SAMPLE_RATE > 3600

    def test_a_pause_and_a_resume_give_one_stream(self) -> None:
        """`listen` again goes on where the clock is, not at zero."""
        source = Microphone(None, ServiceConfig(retry_s=0.2), command=[*FAKE, "good"])
        first: list[Item] = []
        fill(first, source.listen(lambda: long(0.3)(first)))
        time.sleep(0.5)
        again: list[Item] = []
        fill(again, source.listen(lambda: long(0.1)(again)))

        assert frames(again)[0].gap
        assert frames(again)[0].index - frames(first)[-1].index > 0.5 * SAMPLE_RATE


class TestProcess:
    def test_it_dies_with_its_daemon(self) -> None:
        """kill -9 leaves no process that holds the device."""
        program = (
            "import sys, time\n"
            "from sadstream.config.tables import ServiceConfig\n"
            "from sadstream.audio.sources.microphone import Microphone\n"
            f"for item in Microphone(None, ServiceConfig(), command={FAKE!r} + ['good']).listen(lambda: False):\n"
            "    print('x', flush=True)\n"
        )
        daemon = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert daemon.stdout is not None
        daemon.stdout.readline()
        (capture,) = _children(daemon.pid)
        daemon.kill()
        daemon.wait()
        daemon.stdout.close()
        until = time.monotonic() + 5
        while Path(f"/proc/{capture}").exists() and _state(capture) != "Z":
            assert time.monotonic() < until
            time.sleep(0.02)

    def test_it_waits_for_a_device_with_one_line_a_try(self) -> None:
        waiting = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sadstream.audio.sources.capture",
                "--device",
                "no such device anywhere",
                "--wait",
                "0.1",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PULSE_SERVER": "unix:/nonexistent"},
        )
        assert waiting.stderr is not None
        lines = [waiting.stderr.readline() for _ in range(3)]
        lives = waiting.poll() is None
        waiting.kill()
        waiting.communicate()

        assert lives
        assert all(line.startswith("absent: ") for line in lines)

    def test_without_a_device_it_says_so_in_one_line_and_ends_with_69(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "sadstream.audio.sources.capture", "--device", "no such device anywhere"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=os.environ | {"PULSE_SERVER": "unix:/nonexistent"},
        )

        assert done.returncode == 69
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("capture: ")


def _children(pid: int | None = None) -> list[int]:
    """Process numbers of the children of a process (zombies too)."""
    found = Path(f"/proc/{pid or os.getpid()}/task").glob("*/children")
    return sorted(int(child) for path in found for child in path.read_text().split())


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    before = _children()
    yield
    assert before == _children()
