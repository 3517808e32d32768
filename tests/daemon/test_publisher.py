"""The daemon's end of the wire: joins answered, a slow reader harms nobody, garbage is shrugged off."""

import json
import math
import os
import random
import signal
import socket
import statistics
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from wire import (
    an_episode,
    assert_true_to_contract,
    free_tcp,
    program,
    ready,
    resident_kib,
    say_score,
    say_status,
    score_fields,
)

from sadstream.base.errors import BusyError, ConfigError
from sadstream.client import subscribe
from sadstream.client.follower import Gap
from sadstream.daemon.publishing.publisher import EVENTS_WAITING, Publisher
from sadstream.events import Episode, Score, from_wire
from sadstream.events.query import Query

GREETING = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00NULL" + b"\x00" * 16 + b"\x00" + b"\x00" * 31


@pytest.fixture
def publisher(endpoint: str) -> Iterator[Publisher]:
    """A publisher in this thread; the test turns its crank."""
    with Publisher(endpoint) as made:
        yield made


@pytest.fixture
def subscriber() -> Iterator[Any]:
    """Makes plain SUB sockets."""
    context = zmq.Context()
    made: list[Any] = []

    def make() -> Any:
        made.append(context.socket(zmq.SUB))
        return made[-1]

    yield make
    for one in made:
        one.close(linger=0)
    context.term()


def joined(publisher: Publisher, socket: Any, *prefixes: str) -> list[bytes]:
    """Subscribe, turn the crank, and give what came at once."""
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
    socket.connect(publisher.endpoint)
    for _ in range(10):
        publisher.wait(20)
    return drained(socket)


def drained(socket: Any, wait_ms: int = 200) -> list[bytes]:
    frames = []
    while socket.poll(wait_ms):
        frames.append(socket.recv())
    return frames


def ask(publisher: Publisher, *frames: bytes) -> list[bytes]:
    """What the memory answers to one request."""
    context = zmq.Context()
    with context.socket(zmq.REQ) as asking:
        asking.connect(publisher.replay)
        asking.send_multipart(frames)
        for _ in range(100):
            publisher.wait(20)
            if asking.poll(0):
                break
        answer: list[bytes] = asking.recv_multipart(zmq.NOBLOCK)
    context.term()
    return answer


def test_a_joiner_gets_the_status_and_the_last_score_of_each_stream_at_once(
    publisher: Publisher, subscriber: Any
) -> None:
    for stream in ("mic", "door"):
        say_status(publisher, stream)
    for number in range(3):
        say_score(publisher, number)
    events = [from_wire(frame) for frame in joined(publisher, subscriber(), "sad.")]

    assert [(event.stream, event.type, event.seq) for event in events if event] == [
        ("mic", "score", 2), ("mic", "status", 0), ("door", "status", 0)
    ]  # fmt: skip


def test_nothing_comes_before_what_a_joiner_is_told_first(publisher: Publisher, subscriber: Any) -> None:
    """An event between its knock and its greeting would hide from it where the past is, and so the past."""
    say_status(publisher)
    socket = subscriber()
    socket.setsockopt(zmq.SUBSCRIBE, b"sad.")
    socket.connect(publisher.endpoint)
    time.sleep(0.3)  # it has knocked, and nobody has looked
    for number in range(3):
        say_score(publisher, number)
    for _ in range(10):
        publisher.wait(20)

    events = [from_wire(frame) for frame in drained(socket)]
    assert [(event.type, event.seq) for event in events if event] == [("score", 2), ("status", 0)]


def test_somebody_listens_until_the_last_has_left(publisher: Publisher, subscriber: Any) -> None:
    first, second = subscriber(), subscriber()
    for one in (first, second):
        joined(publisher, one, "sad.score.")
    first.close(linger=0)
    for _ in range(10):
        publisher.wait(20)
    assert publisher.has_score_subscriber
    second.close(linger=0)
    for _ in range(10):
        publisher.wait(20)
    assert not publisher.has_score_subscriber


def test_a_joiner_of_64_streams_gets_every_one(publisher: Publisher, subscriber: Any) -> None:
    """192 frames at once; ZeroMQ throws away what does not fit."""
    fields = {name: getattr(an_episode(), name) for name in Episode.__slots__}
    for number in range(64):
        stream = f"room{number}"
        publisher.send(Episode(**publisher.opening(stream, "episode"), **fields))
        publisher.send(Score(**publisher.opening(stream, "score"), **score_fields()))
        say_status(publisher, stream)
    frames = joined(publisher, subscriber(), "sad.")

    assert len(set(frames)) == 3 * 64


def test_a_joiner_gets_the_running_episode_too(publisher: Publisher, subscriber: Any) -> None:
    fields = {name: getattr(an_episode(), name) for name in Episode.__slots__}
    publisher.send(Episode(**publisher.opening("mic", "episode"), **fields))

    assert [from_wire(frame).type for frame in joined(publisher, subscriber(), "sad.episode.")] == ["episode"]  # type: ignore[union-attr]


def test_only_what_was_asked_for_is_answered(publisher: Publisher, subscriber: Any) -> None:
    """The topic's trailing space keeps room1 apart from room10."""
    for stream in ("room1", "room10"):
        say_status(publisher, stream)
    frames = joined(publisher, subscriber(), "sad.status.room1 ", "sad.score.room1 ")

    assert [from_wire(frame).stream for frame in frames] == ["room1"]  # type: ignore[union-attr]


def test_many_who_join_at_once_are_answered_once(publisher: Publisher, subscriber: Any) -> None:
    """An answer goes to all who listen, so that a hundred joins must not make a hundred repetitions for each."""
    say_status(publisher)
    first = subscriber()
    joined(publisher, first, "sad.")
    for _ in range(30):
        other = subscriber()
        other.setsockopt(zmq.SUBSCRIBE, b"sad.")
        other.connect(publisher.endpoint)
    time.sleep(0.3)
    publisher.wait(50)

    assert len(drained(first)) <= 2


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_of_300_joins_under_load_none_misses_anything(endpoint: str, scheme: str) -> None:
    """A score every 2 ms; each joiner has status and score at once and then every number."""
    endpoint = endpoint if scheme == "ipc" else free_tcp()
    waits_ms = []
    with program("publish", endpoint, "--every-ms", "2") as process:
        ready(process)
        for _ in range(150):
            began = time.monotonic()
            seqs: list[int] = []
            status = 0
            for item in subscribe(endpoint, timeout_s=10.0):
                assert not isinstance(item, Gap)
                if not seqs:
                    waits_ms.append(1000 * (time.monotonic() - began))
                if isinstance(item, Score):
                    seqs.append(item.seq)
                status += item.type == "status"
                if len(seqs) >= 8 and status:
                    break
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
            assert status, "no status at the join"
    print(f"join to first event, {scheme}: median {statistics.median(waits_ms):.1f} ms, max {max(waits_ms):.1f} ms")


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_one_of_ten_stopped_harms_nobody(endpoint: str, scheme: str) -> None:
    """An hour of scores (1,200, one per 3 s) in 4 s; one subscriber is frozen, nine lose nothing and wait no longer."""
    endpoint = endpoint if scheme == "ipc" else free_tcp()
    listeners = []
    with program("publish", endpoint, "--every-ms", "3.3", "--total", "1500") as process:
        ready(process)
        try:
            listeners = [program("listen", endpoint) for _ in range(10)]
            ends = [listener.__enter__() for listener in listeners]
            for end in ends:
                ready(end)
            ends[0].send_signal(signal.SIGSTOP)
            assert process.stdout is not None
            sent = json.loads(process.stdout.readline())
            reports = [json.loads(end.stdout.readline()) for end in ends[1:] if end.stdout]
            ends[0].send_signal(signal.SIGCONT)
        finally:
            for listener in listeners:
                listener.__exit__(None, None, None)

    assert [report["missed"] for report in reports] == [0] * 9
    assert sent["grown_kib"] < 5 * 1024
    print(f"{scheme}: publisher grew {sent['grown_kib']} KiB; p99 {[report['p99_ms'] for report in reports]} ms")


@pytest.mark.slow
def test_a_frozen_subscriber_over_tcp_is_cut_and_counts_its_loss_when_it_wakes() -> None:
    """28 s frozen, 14,000 events: it reads what the kernel kept, is told exactly what it lost, and joins again."""
    endpoint = free_tcp()
    with program("publish", endpoint, "--every-ms", "2", "--total", "14000") as process:
        ready(process)
        with program("listen", endpoint) as end:
            ready(end)
            end.send_signal(signal.SIGSTOP)
            assert process.stdout is not None
            assert end.stdout is not None
            sent = json.loads(process.stdout.readline())
            end.send_signal(signal.SIGCONT)
            report = json.loads(end.stdout.readline())

    assert sent["grown_kib"] < 5 * 1024
    assert report["scores"] < 2000
    assert 0 <= 14_000 - report["scores"] - report["missed"] < 1000  # those before it joined


def test_a_subscriber_that_never_reads_costs_a_bounded_amount_and_no_time(endpoint: str, subscriber: Any) -> None:
    """20,000 events are 16 hours; nothing blocks, and no more than the high-water mark is kept."""
    with Publisher(endpoint) as publisher:
        joined(publisher, subscriber(), "sad.")
        for number in range(1000):
            say_score(publisher, number)
        before = resident_kib()
        slowest = 0.0
        for number in range(10_000):
            began = time.perf_counter()
            say_score(publisher, number)
            slowest = max(slowest, time.perf_counter() - began)

        assert resident_kib() - before < 3 * 1024
        assert slowest < 0.5
        assert EVENTS_WAITING <= 1000


def test_the_memory_answers_what_was_asked(publisher: Publisher) -> None:
    say_status(publisher)
    for number in range(30):
        say_score(publisher, number)
    head, *frames = ask(publisher, Query(stream="mic", type="score", first_seq=7, last_seq=9).to_json())

    assert json.loads(head) == {"v": 1, "events": 3}
    assert [assert_true_to_contract(frame.partition(b" ")[2])["seq"] for frame in frames] == [7, 8, 9]
    assert len(ask(publisher, Query(last=5).to_json())) == 1 + 5 + 1
    assert json.loads(ask(publisher, Query(session="b" * 16).to_json())[0])["events"] == 0


def test_heartbeats_push_no_scores_out_of_the_memory(endpoint: str) -> None:
    with Publisher(endpoint, replay_events=10) as publisher:
        for number in range(12):
            say_score(publisher, number)
        for _ in range(100):
            say_status(publisher)
        frames = ask(publisher, Query(type="score").to_json())

        assert [from_wire(frame).seq for frame in frames[1:]] == list(range(2, 12))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "request_frames",
    [[b""], [b"\xff"], [b"{}"], [b'{"v":1,"last":-1}'], [b'{"v":1,"type":"weather"}'], [b"[" * 4000], [b'{"v":9}']],
    ids=lambda frames: frames[0][:20],
)
def test_a_bad_request_is_told_so(publisher: Publisher, request_frames: list[bytes]) -> None:
    assert "error" in json.loads(ask(publisher, *request_frames)[0])


def test_replay_can_be_switched_off(endpoint: str) -> None:
    with Publisher(endpoint, replay="off") as publisher:
        assert publisher.replay is None
        assert say_status(publisher).replay is None


def test_where_no_second_socket_fits_the_daemon_goes_on_without_replay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A unix socket's path holds 107 bytes; the one beside it is longer."""
    long_name = "x" * (107 - len(str(tmp_path)) - 1)
    with Publisher(f"ipc://{tmp_path}/{long_name}") as publisher:
        assert publisher.replay is None
    assert "no replay" in caplog.text


def test_a_second_publisher_is_refused_and_the_first_undisturbed(publisher: Publisher) -> None:
    with pytest.raises(BusyError, match="another sadstream"), Publisher(publisher.endpoint):
        pass
    say_score(publisher, 0)


@pytest.mark.parametrize("argument", ["endpoint", "replay"])
def test_a_publisher_that_others_could_reach_needs_keys(endpoint: str, argument: str) -> None:
    with pytest.raises(ConfigError, match="other machines"):
        Publisher(**({"endpoint": endpoint} | {argument: "tcp://0.0.0.0:5556"}))  # type: ignore[arg-type]


def test_an_ipc_socket_is_its_owners_alone(endpoint: str) -> None:
    """Whoever may not write to a unix socket may not connect to it."""
    before = os.umask(0o022)
    try:
        with Publisher(endpoint) as publisher:
            for path in (endpoint, str(publisher.replay)):
                assert not Path(path.removeprefix("ipc://")).stat().st_mode & 0o022
    finally:
        os.umask(before)


def garbage(rng: random.Random, number: int) -> bytes:
    """Something that no peer should send: noise, half a greeting, lying lengths, true greetings with noise after."""
    noise = rng.randbytes(rng.choice([1, 9, 64, 300, 5000]))
    ready_command = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03" + rng.choice([b"SUB", b"REQ", b"XXX"])
    return [
        noise,
        GREETING[: rng.randrange(1, 64)],
        GREETING + noise,
        GREETING + ready_command + noise,
        GREETING + ready_command + b"\x02" + struct.pack(">Q", 2**62) + noise,
        GREETING + ready_command + b"\x00\xff" + b"\x01" * 255,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GREETING.replace(b"NULL", b"CURV") + noise,
    ][number % 8]


def test_garbage_on_every_socket_neither_kills_nor_slows(tmp_path: Path) -> None:
    """400 connections with garbage on the two sockets, while a healthy subscriber hears every number in time."""
    endpoint = free_tcp()
    rng = random.Random(5)
    with program("publish", endpoint, "--every-ms", "5") as process:
        ready(process)
        items = iter(subscribe(endpoint, timeout_s=60.0))
        status = next(item for item in items if item.type == "status")
        targets = [status.replay, endpoint]
        delays, opened = [], []
        for number in range(400):
            host, port = targets[number % 2].removeprefix("tcp://").split(":")
            peer = socket.create_connection((host, int(port)), timeout=5)
            peer.sendall(garbage(rng, number))
            opened.append(peer) if number % 3 == 0 else peer.close()
            item = next(item for item in items if item.type in ("score", "gap"))
            assert isinstance(item, Score), item
            delays.append(time.monotonic() - item.monotonic_s)
        for peer in opened:
            peer.close()
        assert process.poll() is None
        past = list(subscribe(endpoint, timeout_s=2.0, replay=5, types=("score",)))
        assert past, "the memory does not answer any more"
    assert statistics.median(delays) < 0.1


def test_a_flood_of_subscriptions_is_taken_in_small_bites(endpoint: str) -> None:
    """XPUB also relays what peers send upstream; none of it may pile up or be mistaken for a join."""
    with Publisher(endpoint) as publisher:
        say_status(publisher)
        context = zmq.Context()
        with context.socket(zmq.XSUB) as peer:
            peer.connect(endpoint)
            for number in range(300):
                peer.send(b"\x01" + b"x" * 500 + b"%d" % number)
                peer.send(b"hello")
                peer.send_multipart([b"\x01sad.", b"more"])
            peer.send(b"\x01sad.score.")
            until = time.monotonic() + 10
            longest = 0.0
            while not publisher.has_score_subscriber and time.monotonic() < until:
                began = time.monotonic()
                publisher.wait(50)
                longest = max(longest, time.monotonic() - began)
            assert publisher.has_score_subscriber
            assert longest < 1.0
        context.term()


def test_a_stop_waits_half_a_second_for_a_reader_that_hangs_and_no_longer(endpoint: str) -> None:
    with program("listen", endpoint) as reader:
        with Publisher(endpoint) as publisher:
            for _ in range(100):
                publisher.wait(20)
                say_score(publisher, 0)
                if publisher.has_score_subscriber:
                    break
            ready(reader)
            reader.send_signal(signal.SIGSTOP)
            for number in range(3000):
                say_score(publisher, number)
            began = time.monotonic()
        assert time.monotonic() - began < 1.0
        reader.send_signal(signal.SIGCONT)


def test_what_is_sent_last_is_not_lost(endpoint: str) -> None:
    """The last status of a daemon that stops arrives, 20 times out of 20."""
    for _ in range(20):
        with program("publish", endpoint, "--total", "30", "--every-ms", "2") as process:
            ready(process)
            last = None
            for item in subscribe(endpoint, timeout_s=10.0, types=("score", "status", "gap")):
                assert not isinstance(item, Gap)
                last = item
                if item.type == "status" and item.state == "stopping":
                    break
            assert last is not None
            assert last.type == "status"
            assert math.isfinite(last.monotonic_s)
