"""The daemon's end of a browser's microphone: never deaf without saying so, and never a sample of another time."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from chromium import free_port
from fakes import config as fake_config
from wire import a_score, a_status

from sadstream.audio.sources.browser import (
    AUDIO,
    CLOSED,
    OPENED,
    TOO_LATE,
    WRONG_RATE,
    BrowserMicrophone,
    BrowserServer,
)
from sadstream.audio.sources.opening import open_source
from sadstream.audio.sources.source import Item, SourceChange
from sadstream.base.errors import ConfigError
from sadstream.base.samples import SAMPLE_RATE, AudioFrame
from sadstream.config import Config, parse
from sadstream.config.tables import ServiceConfig, StreamConfig

SERVICE = ServiceConfig(stall_s=0.5)
FRAME_S = 0.1
TONE = b"\x01\x02" * 1600  # 100 ms


class Sender:
    """What the page's server puts into the daemon's socket, and a clock that a frame moves on by its length."""

    def __init__(self) -> None:
        self.near, self.line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.now_s = 100.0
        self.source = BrowserMicrophone(self.near, SERVICE, self.clock)
        self.ended = False
        self.items = self.listen()

    def clock(self) -> float:
        """It goes on with each look."""
        self.now_s += FRAME_S
        return self.now_s

    def listen(self) -> Iterator[Item]:
        """The source from its start, or again after a pause."""
        return self.source.listen(lambda: self.ended)

    def send(self, *messages: bytes) -> None:
        """Put them in."""
        for message in messages:
            self.line.send(message)

    def heard(self, changes: int) -> tuple[list[str], list[AudioFrame]]:
        """What the source says until it has said so many changes."""
        said: list[Item] = []
        while len(told(said)) < changes:
            said.append(next(self.items))
        return told(said), [item for item in said if isinstance(item, AudioFrame)]


def told(items: list[Item]) -> list[str]:
    """The changes in words."""
    return [f"{item.state} {item.reason}" for item in items if isinstance(item, SourceChange)]


@pytest.fixture
def sender() -> Iterator[Sender]:
    """One to a source that has said that nobody sends."""
    made = Sender()
    assert made.heard(1)[0] == ["no-device device-absent"]
    yield made
    made.line.close()
    made.near.close()


def test_a_sender_is_heard_until_it_goes(sender: Sender) -> None:
    sender.send(OPENED + b"a page", *[AUDIO + TONE] * 10, CLOSED + b"it went")

    changes, frames = sender.heard(2)

    assert changes == ["listening none", "no-device device-lost"]
    assert b"".join(frame.pcm for frame in frames) == (TONE * 10)[: len(frames) * 960]
    assert [frame.index for frame in frames] == [480 * n for n in range(33)]


def test_one_that_sends_nothing_is_stalled_then_goes_on_where_the_clock_is(sender: Sender) -> None:
    sender.send(OPENED + b"a page", *[AUDIO + TONE] * 10)
    changes, _ = sender.heard(2)
    sender.send(*[AUDIO + TONE] * 3)
    again, _ = sender.heard(1)
    frame = next(sender.items)

    assert changes + again == ["listening none", "no-device stalled", "listening none"]
    assert isinstance(frame, AudioFrame)
    assert frame.gap
    assert frame.index / SAMPLE_RATE == pytest.approx(1.0 + SERVICE.stall_s, abs=0.21)


def test_what_comes_faster_than_it_is_spoken_is_refused_until_another_one_comes(sender: Sender) -> None:
    sender.send(OPENED + b"a program", *[AUDIO + TONE * 10] * 5)

    changes, frames = sender.heard(2)
    refused = sender.line.recv(200).decode()
    more = threading.Thread(target=sender.send, args=(OPENED + b"a page", *[AUDIO + TONE] * 70))
    more.start()
    again, _ = sender.heard(1)
    sender.ended = True
    more.join()

    assert changes == ["listening none", "no-device rate"]
    assert refused == f"{WRONG_RATE} expected 16000 samples a second"
    assert len(frames) <= 4 * 34  # seconds
    assert again == ["listening none"]
    assert sender.now_s > 100 + 6  # it was looked at first


def test_what_comes_two_seconds_late_is_refused(sender: Sender) -> None:
    sender.send(OPENED + b"a page", *[AUDIO + TONE] * 2)
    assert sender.heard(1)[0] == ["listening none"]
    sender.now_s += 2.5
    changes, _ = sender.heard(1)

    assert changes == ["no-device stalled"]
    assert sender.line.recv(200).decode().startswith(f"{TOO_LATE} the sound is 2.")


def test_what_was_sent_in_a_pause_is_not_heard_after_it(sender: Sender) -> None:
    sender.send(OPENED + b"a page", *[AUDIO + TONE] * 5)
    sender.heard(1)
    sender.send(*[AUDIO + b"\x7f\x7f" * 1600] * 20)
    sender.now_s += 30.0
    sender.items = sender.listen()
    absent, _ = sender.heard(1)
    sender.send(*[AUDIO + TONE] * 2)
    again, _ = sender.heard(1)
    frame = next(sender.items)

    assert absent + again == ["no-device device-lost", "listening none"]
    assert isinstance(frame, AudioFrame)
    assert frame.pcm == TONE[:960]
    assert frame.index > 30 * SAMPLE_RATE


def test_neither_words_nor_names_reach_the_process_that_faces_the_network(tmp_path: Path) -> None:
    made = fake_config(tmp_path)
    config = Config(stream=(StreamConfig(source="browser"),), publish=made.publish)
    written = tmp_path / "told"
    listener = f"""import socket, sys
line, written = socket.socket(fileno=int(sys.argv[-2].split("=")[1])), open({str(written)!r}, "wb", buffering=0)
line.send(b"rx")
while True:
    written.write(line.recv(9999) + b"\\n")
"""
    server = BrowserServer(config, [sys.executable, "-c", listener])
    assert server.start() == "x"
    server.tell(a_score(text="a secret", speaker="anna"))
    server.tell(a_score(provisional=True))
    server.tell(a_status())
    until_s = time.monotonic() + 10
    while written.read_bytes().count(b"\n") < 2 and time.monotonic() < until_s:
        time.sleep(0.05)
    server.close()
    said = [json.loads(line) for line in written.read_bytes().splitlines()]

    assert [one["type"] for one in said] == ["score", "status"]
    assert said[0].keys().isdisjoint({"text", "speaker"})


def servers() -> list[psutil.Process]:
    """The processes of ours that serve a page."""
    ours = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in ours if "sadstream.views.microphone" in one.cmdline()]


def test_a_server_that_hangs_is_ended_and_started_again() -> None:
    config = parse({"stream": [{"source": "browser"}], "web": {"microphone_port": free_port()}}, "test")
    server = BrowserServer(config, hang_s=1.0)
    server.start()
    (first,) = servers()
    first.suspend()
    begun_s = time.monotonic()
    while first.is_running() and first.status() != psutil.STATUS_ZOMBIE:
        server.tell(a_status())
        assert time.monotonic() - begun_s < 20
        time.sleep(0.1)
    lasted_s = time.monotonic() - begun_s
    until_s = begun_s + 4.0
    while time.monotonic() < until_s:  # the next one answers, and stays
        server.tell(a_status())
        time.sleep(0.1)
    running = servers()
    server.close()

    assert lasted_s >= 1.0
    assert len(running) == 1


def test_no_other_command_hears_a_page() -> None:
    with pytest.raises(ConfigError, match="expected mic or a recording"):
        open_source(StreamConfig(source="browser"), Config())
