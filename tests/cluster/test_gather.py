"""Many rooms at one endpoint: nothing is changed, nothing is lost in silence, nobody speaks for another."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from daemon import run, start
from supervisor import Supervisor
from wire import (
    a_score,
    assert_true_to_contract,
    free_tcp,
    program,
    ready,
    resident_kib,
    say_score,
    say_status,
)

from sadstream.base.errors import ConfigError
from sadstream.client import Gap, Restart, subscribe
from sadstream.cluster.gather.gatherer import LONGEST_FRAME, Gatherer
from sadstream.config import Config, parse
from sadstream.daemon.publishing import uplink
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.publishing.replay_buffer import ReplayBuffer
from sadstream.daemon.publishing.sockets import Sockets
from sadstream.daemon.publishing.uplink import Uplink
from sadstream.events import STALE_S, Score, from_wire, to_wire
from sadstream.events.keys import allow, client_curve, new_key

WAIT_S = 20.0
FAKE_RUN = [sys.executable, str(Path(__file__).parents[1].joinpath("fakes.py")), "run"]


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, str]:
    """Where rooms dial in, and where it all leaves."""
    return free_tcp(), f"ipc://{tmp_path}/all"


def settings(place: tuple[str, str], **tables: dict[str, Any]) -> Config:
    given = {"gather": {"listen": place[0]}, "publish": {"endpoint": place[1]}}
    for name, keys in tables.items():
        given[name] = given.get(name, {}) | keys
    return parse(given, "test")


@contextmanager
def gathering(place: tuple[str, str], *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A gatherer as its users run it."""
    process = start("gather", "--listen", place[0], "--publish", place[1], *options)
    assert process.stderr is not None
    try:
        assert "gathers at" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


class Rooms:
    """A gatherer and rooms in this thread; the test turns all their cranks."""

    def __init__(self, folder: Path, place: tuple[str, str], open_things: ExitStack) -> None:
        self._folder, self._place, self._open = folder, place, open_things
        self.gatherer = open_things.enter_context(Gatherer(settings(place)))
        self.rooms: list[Publisher] = []
        self._context = open_things.enter_context(zmq.Context())

    def room(self, **options: Any) -> Publisher:
        """One more room, which dials in."""
        path = f"ipc://{self._folder}/room{len(self.rooms)}"
        made = Publisher(path, uplink=Uplink(self._place[0]), **options)
        self.rooms.append(self._open.enter_context(made))
        return made

    def socket(self, kind: int, endpoint: str, *prefixes: str) -> Any:
        """A plain socket, connected."""
        socket = self._open.enter_context(self._context.socket(kind))
        socket.setsockopt(zmq.LINGER, 0)
        for prefix in prefixes:
            socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        socket.connect(endpoint)
        return socket

    def turn(self, true: Callable[[], Any], ahead_s: float = 0.0) -> None:
        """Turn until it is so."""
        until = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < until
            self.gatherer.turn(5, ahead_s=ahead_s)
            for room in self.rooms:
                room.wait(5)

    def rest(self, ahead_s: float = 0.0) -> None:
        """Turn for a moment."""
        end = time.monotonic() + 0.4
        self.turn(lambda: time.monotonic() > end, ahead_s)

    def heard(self, socket: Any, ahead_s: float = 0.0) -> list[bytes]:
        """What has arrived there after a moment, without the note."""
        self.rest(ahead_s)
        frames = []
        while socket.poll(0):
            frames.append(socket.recv())
        return [frame for frame in frames if from_wire(frame) is not None]


@pytest.fixture
def rooms(tmp_path: Path, place: tuple[str, str]) -> Iterator[Rooms]:
    """A gatherer, and no room yet."""
    with ExitStack() as open_things:
        yield Rooms(tmp_path, place, open_things)


def numbers(frames: list[bytes], stream: str = "mic") -> list[int]:
    """Of the scores of one stream."""
    events = [from_wire(frame) for frame in frames]
    return [event.seq for event in events if isinstance(event, Score) and event.stream == stream]


# --- what listeners hear ----------------------------------------------------------------------------------------


def test_two_daemons_are_heard_at_one_endpoint_as_they_are_beside_them(
    tmp_path: Path, place: tuple[str, str], scene: Path
) -> None:
    """Every frame is equal byte for byte, in the order of its room."""
    found: dict[str, list[bytes]] = {"all": []}
    with ExitStack() as stack:
        stack.enter_context(gathering(place))
        context = stack.enter_context(zmq.Context())
        poller, sockets = zmq.Poller(), {}
        for name, end in (("all", place[1]), *((name, f"ipc://{tmp_path}/{name}") for name in ("kitchen", "hall"))):
            sockets[name] = stack.enter_context(context.socket(zmq.SUB))
            sockets[name].setsockopt(zmq.SUBSCRIBE, b"sad.")
            sockets[name].connect(end)
            poller.register(sockets[name], zmq.POLLIN)
        for name in ("kitchen", "hall"):
            config = tmp_path / f"{name}.toml"
            config.write_text(f'[publish]\nendpoint = "ipc://{tmp_path}/{name}"\nto = "{place[0]}"\n')
            command = [*FAKE_RUN, "", "--config", str(config), "--source", str(scene), "--stream", name]
            daemon = subprocess.Popen([*command, "--pace", "fast", "--wait-subscriber", "60"], stderr=subprocess.PIPE)
            stack.callback(daemon.communicate)
            stack.callback(daemon.kill)
        until = time.monotonic() + 60
        while sum(b"stopping" in frame for frames in found.values() for frame in set(frames)) < 4:
            assert time.monotonic() < until, found
            for socket, _ in poller.poll(100):
                (name,) = (name for name, one in sockets.items() if one is socket)
                found.setdefault(name, []).append(socket.recv())

    for name in ("kitchen", "hall"):
        for kind in ("score", "status", "episode"):
            here, there = (
                list(dict.fromkeys(frame for frame in found[end] if frame.startswith(f"sad.{kind}.{name} ".encode())))
                for end in (name, "all")
            )
            assert there[len(there) - len(here) :] == here  # who listens beside a room may have joined a moment later
            assert there or kind == "episode"
        assert len(numbers(found["all"], name)) >= 8


def test_listen_hears_all_rooms_and_the_past_of_each(place: tuple[str, str]) -> None:
    """The past is the gatherer's to tell: no room has a port that could be asked."""
    with ExitStack() as stack:
        stack.enter_context(gathering(place))
        for name in ("kitchen", "hall"):
            room = program("publish", free_tcp(), "--stream", name, "--to", place[0], "--total", "30")
            ready(stack.enter_context(room))
        time.sleep(1.0)
        done = run("listen", place[1], "--json", "--replay", "100", "--count", "60", "--timeout", "20")

    assert done.returncode == 0, done.stderr
    events = [assert_true_to_contract(line) for line in done.stdout.splitlines()]
    for name in ("kitchen", "hall"):
        assert [e["seq"] for e in events if e["stream"] == name and e["type"] == "score"] == list(range(30))
    assert "lost" not in done.stderr


def test_who_joins_late_is_told_the_last_of_each_room(rooms: Rooms, place: tuple[str, str]) -> None:
    for name in ("kitchen", "hall"):
        room = rooms.room()
        for number in range(3):
            say_score(room, number, stream=name)
        say_status(room, name)
    rooms.turn(lambda: rooms.gatherer.events == 8)
    listener = rooms.socket(zmq.SUB, place[1], "sad.")
    rooms.turn(lambda: listener.poll(0))
    frames = rooms.heard(listener)

    for name in ("kitchen", "hall"):
        events = [event for event in map(from_wire, frames) if event and event.stream == name]
        assert [(event.type, event.seq) for event in events] == [("score", 2), ("status", 0)]


def test_nobody_is_told_that_a_room_lives_which_is_gone(rooms: Rooms, place: tuple[str, str]) -> None:
    for name in ("kitchen", "hall"):
        say_status(rooms.room(), name)
    rooms.turn(lambda: rooms.gatherer.events == 2)
    rooms.rest(ahead_s=STALE_S + 1)
    say_status(rooms.rooms[1], "hall")
    frames = rooms.heard(rooms.socket(zmq.SUB, place[1], "sad."), ahead_s=STALE_S + 1)

    assert {event.stream for event in map(from_wire, frames) if event} == {"hall"}


def test_what_a_later_version_says_is_passed_on_too(rooms: Rooms, place: tuple[str, str]) -> None:
    listener = rooms.socket(zmq.SUB, place[1], "sad.weather.")
    rooms.rest()
    frame = b'sad.weather.mic {"v":2,"type":"weather","stream":"mic","session":"s","seq":0,"rain":[1,2]}'
    rooms.socket(zmq.DEALER, place[0]).send(frame)
    rooms.turn(lambda: listener.poll(0))

    assert listener.recv() == frame


def test_an_answer_about_the_past_of_many_rooms_is_bounded(rooms: Rooms, place: tuple[str, str]) -> None:
    room = rooms.room()
    for number in range(40):
        for stream in range(30):
            say_score(room, number, stream=f"room{stream}")
    rooms.turn(lambda: rooms.gatherer.events == 1200)
    rooms.gatherer.memory.most = 300
    asking = rooms.socket(zmq.REQ, str(rooms.gatherer.replay))
    asking.send(b'{"v":1,"last":100}')
    rooms.turn(lambda: asking.poll(0))
    head, *frames = asking.recv_multipart()

    assert json.loads(head)["events"] == 300
    assert all(numbers(frames, f"room{stream}") == list(range(30, 40)) for stream in range(30))


# --- what happens to rooms and gatherer -------------------------------------------------------------------------


def test_a_gatherer_that_is_killed_and_comes_back_costs_nothing(place: tuple[str, str]) -> None:
    """kill -9; the room says each change once, and who asks for the past has every number."""
    found: list[int] = []
    with ExitStack() as stack:
        gatherer = stack.enter_context(gathering(place))
        room = program("publish", free_tcp(), "--to", place[0], "--every-ms", "20", stderr=subprocess.PIPE)
        process = stack.enter_context(room)
        ready(process)
        for item in subscribe(place[1], timeout_s=40.0, types=("score", "gap", "restart"), replay=1):
            assert not isinstance(item, Gap | Restart), item
            found.append(item.seq)
            if len(found) == 50:
                gatherer.kill()
                gatherer.wait()
                time.sleep(0.5)
                gatherer = stack.enter_context(gathering(place))
            if len(found) == 300:
                break
        process.kill()
        _, log = process.communicate()

    assert found == list(range(found[0], found[0] + 300))
    assert log.count(": connected") == 2
    assert log.count("the connection is lost; the room goes on") == 1


def test_a_room_whose_gatherer_is_not_there_yet_says_so_once_and_is_heard_later(
    tmp_path: Path, place: tuple[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uplink, "SLOW_S", 0.1)
    caplog.set_level("INFO")
    with ExitStack() as stack:
        room = stack.enter_context(Publisher(f"ipc://{tmp_path}/room", uplink=Uplink(place[0])))
        for number in range(20):
            say_score(room, number)
            room.wait(10)
        assert [record.message for record in caplog.records if "cannot be reached" in record.message] == [
            f"gatherer {place[0]}: it cannot be reached; the room goes on, and it is tried again"
        ]
        rooms = Rooms(tmp_path, place, stack)
        rooms.rooms.append(room)
        rooms.turn(lambda: rooms.gatherer.events == 20)

    assert "connected" in caplog.records[-1].message


def test_what_the_memory_forgot_is_counted_and_said(
    tmp_path: Path, place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        room = Publisher(f"ipc://{tmp_path}/room", replay_events=10, uplink=Uplink(place[0]))
        stack.enter_context(room)
        for number in range(25):
            say_score(room, number)
        rooms = Rooms(tmp_path, place, stack)
        rooms.rooms.append(room)
        listener = rooms.socket(zmq.SUB, place[1], "sad.score.")
        rooms.turn(lambda: rooms.gatherer.events == 10)

        assert numbers(rooms.heard(listener))[-1] == 24
    assert "15 events were forgotten" in caplog.text


def test_a_gatherer_that_takes_nothing_delays_no_event_and_costs_a_bounded_amount(
    tmp_path: Path, place: tuple[str, str]
) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as stalled:
        stalled.setsockopt(zmq.RCVHWM, 1)
        stalled.bind(place[0])
        with Publisher(f"ipc://{tmp_path}/room", replay_events=100, uplink=Uplink(place[0])) as room:
            while not room.has_score_subscriber:
                room.wait(10)
            for number in range(8_000):
                say_score(room, number)
            before, slowest = resident_kib(), 0.0
            for number in range(8_000):
                began = time.perf_counter()
                say_score(room, number)
                slowest = max(slowest, time.perf_counter() - began)

            assert resident_kib() - before < 3 * 1024
            assert slowest < 0.5


def test_a_room_that_is_killed_and_started_again_is_a_restart_and_no_duplicate(place: tuple[str, str]) -> None:
    with gathering(place) as gatherer:
        found: list[Any] = []
        room = ("publish", free_tcp(), "--to", place[0], "--every-ms", "20")
        with program(*room) as first:
            ready(first)
            for item in subscribe(place[1], timeout_s=WAIT_S, types=("score", "gap", "restart")):
                found.append(item)
                if len(found) == 20:
                    break
        with program(*room) as second:
            ready(second)
            again = next(iter(subscribe(place[1], timeout_s=WAIT_S, replay=500, types=("restart",))))
            began = next(iter(subscribe(place[1], timeout_s=WAIT_S, replay=500, types=("score",), stream="mic")))
        gatherer.terminate()
        _, log = gatherer.communicate()

    assert isinstance(again, Restart)
    assert again.previous == found[0].session
    assert isinstance(began, Score)
    assert "refused while" not in log
    assert "mic: started again" in log


def test_a_second_room_of_a_name_is_refused_and_both_ends_say_so(
    rooms: Rooms, place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The first goes on undisturbed; when it is gone, the name is the second's."""
    listener = rooms.socket(zmq.SUB, place[1], "sad.")
    first, second = rooms.room(), rooms.room()
    say_score(first, 0)
    rooms.turn(lambda: rooms.gatherer.events == 1)
    for number in range(5):
        say_score(second, number)
        say_score(first, 1 + number)
    rooms.turn(lambda: rooms.gatherer.refused == 5)
    sessions = {event.session for event in map(from_wire, rooms.heard(listener)) if event}

    assert sessions == {first.session}
    assert [record.message for record in caplog.records if "a second room" in record.message] == [
        f"mic: a second room of this name, at 127.0.0.1 (session {second.session}), "
        f"is refused while session {first.session} speaks; rename one"
    ]
    assert sum("it hears another room called mic" in record.message for record in caplog.records) == 1
    rooms.rooms.remove(first)
    first.__exit__(None, None, None)
    rooms.rest()
    say_score(second, 5)
    assert numbers(rooms.heard(listener)) == [5]


# --- who may, and what is no event --------------------------------------------------------------------------------


def test_garbage_is_counted_said_once_and_disturbs_nobody(
    rooms: Rooms, place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    listener = rooms.socket(zmq.SUB, place[1], "")
    room, broken = rooms.room(), rooms.socket(zmq.DEALER, place[0])
    good = to_wire(a_score(0, stream="broken"))
    bad = [
        b"",
        b"\xff" * 300,
        b"sad.score.broken {",
        b"sad.score.broken " + b"[" * 5000,
        good.replace(b'"p_sad":', b'"p_sad":NaN,"x":'),
        good.replace(b"sad.score.broken", b"sad.score.mic"),
        good.replace(b'"broken"', b'"Broken"'),
        good.replace(b'"seq":0', b'"seq":-1'),
        b'sad.weather.mic {"v":2,"type":"weather","stream":"mic"}',
    ]
    for number in range(20):
        say_score(room, number)
        for frame in bad:
            broken.send(frame)
        broken.send_multipart([good, b"more"])
    rooms.turn(lambda: rooms.gatherer.garbage == 20 * (len(bad) + 1) and rooms.gatherer.events == 20)
    broken.send(b"x" * (LONGEST_FRAME + 1))
    say_score(room, 20)
    frames = list(dict.fromkeys(rooms.heard(listener)))  # a joiner may be told what it was told already

    assert numbers(frames) == list(range(21))
    assert len(frames) == 21
    assert sum("is left out" in record.message for record in caplog.records) == 1


def test_garbage_over_a_local_path_is_told_apart_too(
    tmp_path: Path, place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        rooms = Rooms(tmp_path, (f"ipc://{tmp_path}/in", place[1]), stack)
        rooms.socket(zmq.DEALER, f"ipc://{tmp_path}/in").send(b"hello")
        rooms.turn(lambda: rooms.gatherer.garbage == 1)

    assert re.search(r"localhost:\d+:\d+:\d+: what it sends is left out: not JSON; said once", caplog.text)


@pytest.mark.parametrize("to", ["tcp://*:5557", "tcp://a host:5557"])
def test_what_cannot_be_dialled_is_named(endpoint: str, to: str, keys: dict[str, tuple[Path, str]]) -> None:
    curve = client_curve(keys["gatherer"][1], keys["room"][0])

    with pytest.raises(ConfigError, match=r"publish.to = .*: cannot be dialled"):
        Publisher(endpoint, uplink=Uplink(to, curve)).__enter__()


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Key files and their public halves: of the gatherer, a room, a listener, a stranger."""
    made = {name: tmp_path / f"{name}.key" for name in ("gatherer", "room", "listener", "stranger")}
    return {name: (path, new_key(path)) for name, path in made.items()}


def test_a_strangers_key_gets_nothing_in_and_nothing_out(
    tmp_path: Path, keys: dict[str, tuple[Path, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor may a listener speak, nor a room listen: there is a list for each. A key that is added counts at once."""
    caplog.set_level("INFO")
    inward, outward = free_tcp(), free_tcp()
    secret, public = keys["gatherer"]
    for kind in ("room", "listener"):
        allow(tmp_path / f"{kind}s.keys", keys[kind][1], kind)
    lists = ("--allow", str(tmp_path / "listeners.keys"), "--allow-rooms", str(tmp_path / "rooms.keys"))
    place = (inward.replace("127.0.0.1", "0.0.0.0"), outward.replace("127.0.0.1", "0.0.0.0"))

    def room(name: str) -> Publisher:
        curve = client_curve(public, keys[name][0]) if name else None
        return Publisher(f"ipc://{tmp_path}/{name or 'open'}", uplink=Uplink(inward, curve))

    def heard(name: str, timeout_s: float) -> list[str]:
        options = {"server_key": public, "secret_key": keys[name][0]} if name else {}
        items = subscribe(outward, timeout_s=timeout_s, types=("score",), **options)
        return [item.stream for item in items]

    with gathering(place, "--secret-key", str(secret), *lists), ExitStack() as stack:
        made = {name: stack.enter_context(room(name)) for name in ("room", "stranger", "listener", "")}
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            for name, one in made.items():
                one.wait(10)
                if time.monotonic() < until - 2.5:
                    say_score(one, 0, stream=name or "open")

        assert set(heard("listener", 1.5)) == {"room"}
        assert [heard(name, 0.7) for name in ("stranger", "room", "")] == [[], [], []]
        assert sum("does not know our key" in record.message for record in caplog.records) == 2
        allow(tmp_path / "rooms.keys", keys["stranger"][1], "no longer one")
        until = time.monotonic() + WAIT_S
        while not made["stranger"].has_score_subscriber:
            assert time.monotonic() < until
            made["stranger"].wait(50)


@pytest.mark.parametrize(
    ("publish", "says"),
    [
        ({"to": "tcp://192.0.2.9:5557"}, "publish.to = 'tcp://192.0.2.9:5557': others could listen in"),
        ({"to": "192.0.2.9"}, "publish.to = '192.0.2.9': expected ipc"),
        ({"to": "tcp://192.0.2.9:5557", "to_server_key": "short"}, "publish.to_server_key = 'short': expected the 40"),
        ({"to": "tcp://192.0.2.9:5557", "to_server_key": "0" * 40}, "expected our own key too"),
        ({"to_server_key": "0" * 40}, "expected the gatherer's endpoint in to"),
    ],
)
def test_a_room_that_could_not_dial_starts_nothing(publish: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse({"publish": publish}, "test")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--listen", "tcp://0.0.0.0:5557"], 78, "gather.allow"),
        (["--publish", "tcp://0.0.0.0:5556"], 78, "publish.allow"),
        (["--listen", "nonsense"], 78, "gather.listen"),
        (["--secret-key", "none.key", "--allow-rooms", "none.keys"], 78, "none.key: no such key"),
        (["--config", "none.toml"], 66, "none.toml"),
        (["--nonsense"], 2, "nonsense"),
    ],
)
def test_a_gatherer_that_cannot_be_is_one_line(options: list[str], code: int, says: str) -> None:
    done = run("gather", *options)

    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gatherer_dials_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[publish]\nto = "tcp://127.0.0.1:5558"\n')
    done = run("gather", "--config", str(tmp_path / "a.toml"))

    assert done.returncode == 78
    assert "publish.to: expected none" in done.stderr


def test_an_address_in_use_is_73_at_either_end(place: tuple[str, str]) -> None:
    with gathering(place):
        for listen, publish, says in (
            (place[0], free_tcp(), "--listen"), (free_tcp(), place[1], "another sadstream")
        ):  # fmt: skip
            done = run("gather", "--listen", listen, "--publish", publish)
            assert done.returncode == 73, done.stderr
            assert says in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_a_service_manager_hears_of_it(tmp_path: Path, place: tuple[str, str]) -> None:
    """READY once it is bound, the watchdog fed, a kill mended, SIGTERM a clean end."""
    command = [sys.executable, "-m", "sadstream", "gather", "--listen", place[0], "--publish", place[1]]
    with Supervisor(tmp_path, command, watchdog_s=2.0) as manager:
        manager.until(lambda: manager.said("READY=1"))
        manager.until(lambda: manager.said("WATCHDOG=1") >= 3)
        manager.until(lambda: manager.said("STATUS=0 streams"))
        subprocess.run(["kill", "-KILL", str(manager.pid)], check=True)
        manager.until(lambda: manager.said("READY=1") == 2)
        subprocess.run(["kill", "-HUP", str(manager.pid)], check=True)
        time.sleep(0.3)
        subprocess.run(["kill", "-TERM", str(manager.pid)], check=True)
        manager.until(lambda: len(manager.exits) >= 2)

    assert manager.exits[:2] == [-signal.SIGKILL, 0]
    assert manager.missed == 0
    assert manager.said("STOPPING=1") >= 1


# --- a thousand -------------------------------------------------------------------------------------------------

ROOMS = 1000
SCORES = 20
EVERY_S = 3.0  # as people talk


@pytest.mark.slow
def test_a_thousand_rooms_lose_nothing_over_a_kill(tmp_path: Path, keys: dict[str, tuple[Path, str]]) -> None:
    """A CURVE connection and a score per 3 s each; after half of them the gatherer is killed and started again."""
    secret, public = keys["gatherer"]
    for kind in ("room", "listener"):
        allow(tmp_path / "allowed.keys", keys[kind][1], kind)
    place, options = (free_tcp(), free_tcp()), ("--secret-key", str(secret), "--allow", str(tmp_path / "allowed.keys"))
    with ExitStack() as stack:
        gatherer = stack.enter_context(gathering(place, *options))
        heard = stack.enter_context((tmp_path / "heard").open("w+"))
        counted = ("--json", "--replay", "50", "--count", str(ROOMS * SCORES), "--timeout", "150")
        key = ("--server-key", public, "--key", str(keys["listener"][0]))
        listener = start("listen", place[1], *counted, *key, stdout=heard)
        stack.callback(listener.kill)
        time.sleep(2.0)
        rooms = dialled(stack, ROOMS, place[0], client_curve(public, keys["room"][0]))
        began = time.monotonic()
        turned(rooms, lambda: all(room.connected for room, _ in rooms))
        connected_s = time.monotonic() - began
        back_s, began = 0.0, time.monotonic()
        for number in range(ROOMS * SCORES):
            room, memory = rooms[number % ROOMS]
            event = a_score(number // ROOMS, stream=f"room{number % ROOMS}")
            memory.keep(event, to_wire(event))
            turned([(room, memory)], lambda: time.monotonic() >= began + EVERY_S * number / ROOMS)  # noqa: B023
            if number == ROOMS * SCORES // 2:
                gatherer.kill()
                gatherer.wait()
                killed = time.monotonic()
                gatherer = stack.enter_context(gathering(place, *options))
                turned(rooms, lambda: all(room.connected for room, _ in rooms))
                back_s = time.monotonic() - killed
        for _ in range(100):
            turned(rooms, lambda: True)
            time.sleep(0.01)
        _, errors = listener.communicate(timeout=120)
        kib = resident_kib(gatherer.pid)
        heard.seek(0)
        found = [json.loads(line) for line in heard]

    scores = [(event["stream"], event["seq"]) for event in found]
    print(f"{len(scores)} of {ROOMS * SCORES} events; {ROOMS} rooms connected in {connected_s:.1f} s, again "
          f"{back_s:.1f} s after the kill; {kib / 1024:.0f} MiB resident")  # fmt: skip
    assert len(scores) == len(set(scores)) == ROOMS * SCORES
    assert "lost" not in errors


def dialled(stack: ExitStack, count: int, endpoint: str, curve: Any) -> list[tuple[Uplink, ReplayBuffer]]:
    """So many rooms' ways to a gatherer, in one process."""
    sockets = stack.enter_context(Sockets(None))
    sockets._context.set(zmq.MAX_SOCKETS, 8 * count)
    rooms = [(Uplink(endpoint, curve), ReplayBuffer(100)) for _ in range(count)]
    for room, memory in rooms:
        room.dial(sockets, memory)
    return rooms


def turned(rooms: list[tuple[Uplink, ReplayBuffer]], true: Callable[[], Any]) -> None:
    """Turn their cranks until it is so."""
    until = time.monotonic() + 2 * WAIT_S
    while True:
        for room, _ in rooms:
            room.pump()
        if true():
            return
        assert time.monotonic() < until
        time.sleep(0.001)
