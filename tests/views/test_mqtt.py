"""`sadstream mqtt` between real daemons and a real broker with password and TLS; both come and go."""

import json
import os
import random
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sandbox
from daemon import SADSTREAM, run, start
from supervisor import Supervisor
from test_dashboard import made_pair
from test_service import FAKES
from wire import assert_true_to_contract, free_tcp, say_score, say_status

from sadstream.daemon.publishing.publisher import Publisher
from sadstream.testing.story import LOST

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
USER, PASSWORD, OTHER = "sad", "not a word", "another"
PATIENCE_S = 30.0
KILLS = int(os.environ.get("KILLS", "30"))  # of the long form (`make test-slow`)

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto on this machine")


class Broker:
    """A mosquitto of the test's own, that keeps nothing over a restart; with a certificate it speaks TLS alone."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self.port = int(free_tcp().rpartition(":")[2])
        self.ca = tls[0] if tls else None
        self.password_file = folder / "password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"{PASSWORD}\n")
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {folder}/users"]
        lines += ["persistence false", f"user {os.environ.get('USER', 'root')}"]
        lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"] if tls else []
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self, password: str = PASSWORD) -> None:
        users = ["mosquitto_passwd", "-c", "-b", str(self.folder / "users"), USER, password]
        subprocess.run(users, check=True, capture_output=True)
        self.process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self.folder / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the broker does not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def options(self) -> list[str]:
        """What `sadstream mqtt` is told of it."""
        tls = ["--tls-ca", str(self.ca)] if self.ca else []
        who = ["--username", USER, "--password-file", str(self.password_file)]
        return ["--broker", f"localhost:{self.port}", *who, *tls]


class Listener:
    """Whoever listens at the broker, as Home Assistant does."""

    def __init__(self, broker: Broker) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, str]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.username_pw_set(USER, PASSWORD)
        if broker.ca:
            self.client.tls_set_context(ssl.create_default_context(cafile=broker.ca))
        self.client.on_message = lambda _c, _u, one: self.heard.append((one.topic, one.payload.decode()))
        self.client.connect("localhost", broker.port)
        self.client.subscribe("#", qos=1)

    def last(self, topic: str) -> Any:
        """What was said there last: JSON, or a word."""
        found = [payload for heard, payload in self.heard if heard == topic]
        return None if not found else json.loads(found[-1]) if found[-1].startswith("{") else found[-1]

    def until(self, done: Callable[[], object], daemon: Publisher | None = None) -> None:
        """Hear, and let a daemon of the test's own answer who joins it."""

        def heard() -> object:
            self.client.loop(0.02)
            if daemon is not None:
                daemon.wait(20)
            return done()

        wait_until(heard, "not heard")

    def until_said(self, topic: str, wanted: str, daemon: Publisher | None = None) -> None:
        self.until(lambda: self.last(topic) == wanted, daemon)

    def until_state(self, topic: str, daemon: Publisher | None = None, **wanted: object) -> None:
        self.until(lambda: wanted.items() <= (self.last(topic) or {}).items(), daemon)


def wait_until(done: Callable[[], object], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until, what
        time.sleep(0.01)


@contextmanager
def bridging(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """The command, killed at the end, and what it has said so far."""
    said = folder / "said"
    with said.open("w") as err:
        process = subprocess.Popen([*SADSTREAM, "mqtt", *arguments], stderr=err)
        try:
            yield process, said.read_text
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def tls_broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path, made_pair(tmp_path))
    found.start()
    yield found
    found.stop()


def test_everything_reaches_a_broker_with_password_and_tls(tls_broker: Broker, tmp_path: Path) -> None:
    """Events as they are, what was lost, who is there; and a goodbye."""
    listener, endpoint = Listener(tls_broker), free_tcp()
    with bridging(tmp_path, *tls_broker.options, "--endpoint", f"hall={endpoint}") as (bridge, said):
        listener.until_said("sadstream/hall/bridge", "online")
        fake = start("fake", "--publish", endpoint, "--speed", "60", "--rounds", "1")
        try:
            listener.until_said("sadstream/hall/mic/availability", "offline")
        finally:
            fake.kill()
            fake.communicate()
        bridge.terminate()
        assert bridge.wait(10) == 0
        log = said()
    listener.until_said("sadstream/hall/bridge", "offline")
    passed = {"score", "status", "episode"}
    events = [assert_true_to_contract(text) for topic, text in listener.heard if topic.rpartition("/")[2] in passed]
    lost = [json.loads(text) for topic, text in listener.heard if topic == "sadstream/hall/mic/lost"]
    config = listener.last("homeassistant/device/sadstream_hall_mic/config")

    assert {event["type"] for event in events} == passed
    assert LOST in [one["missed"] for one in lost if one["type"] == "score"]
    assert f"{LOST} score events lost" in log
    assert {"score", "mood", "state", "sad", "episode", "connected", "pause"} == set(config["components"])
    assert PASSWORD not in log
    assert "ERROR" not in log


def test_a_killed_bridge_is_known_by_its_last_will(broker: Broker, tmp_path: Path) -> None:
    listener, endpoint = Listener(broker), f"ipc://{tmp_path}/pub"
    with bridging(tmp_path, *broker.options, "--endpoint", f"hall={endpoint}") as (bridge, _):
        listener.until_said("sadstream/hall/bridge", "online")
        bridge.kill()
        listener.until_said("sadstream/hall/bridge", "offline")


def test_broker_and_daemon_restart_and_nothing_stays_wrong(broker: Broker, tmp_path: Path) -> None:
    """The broker has forgotten all; the daemon is another one, with one more stream."""
    endpoint = f"ipc://{tmp_path}/pub"
    state = "sadstream/hall/mic/state"
    with bridging(tmp_path, *broker.options, "--endpoint", f"hall={endpoint}") as (_, said):
        with Publisher(endpoint) as first:
            say_status(first)
            listener = Listener(broker)
            listener.until_state(state, first, state="listening", p_sad=None)
            broker.stop()
            score = say_score(first, 8)
            wait_until(
                lambda: (first.wait(20), "not heard" not in said() and "Connection refused" in said())[1], "silent"
            )
            broker.start()
            listener = Listener(broker)
            listener.until_state(state, first, p_sad=score.p_sad)
            listener.until_said("sadstream/hall/bridge", "online", first)
            assert listener.last("homeassistant/device/sadstream_hall_mic/config") is not None
        with Publisher(endpoint) as second:
            say_status(second, state="no-device", reason="device-absent")
            say_status(second, "door")
            listener.until_state(state, second, state="no-device", p_sad=None)
            listener.until_state("sadstream/hall/door/state", second, state="listening")
        log = said()

    assert log.count("tried again until it answers") <= 3  # the end, then why it cannot be reached
    assert "messages before it are lost or in doubt, the newest states are sent" in log
    assert "the daemon is a new one" in log


def test_two_daemons_are_two_devices(broker: Broker, tmp_path: Path) -> None:
    listener = Listener(broker)
    hall, attic = (f"ipc://{tmp_path}/{name}" for name in ("hall", "attic"))
    with (
        Publisher(hall) as first,
        Publisher(attic) as second,
        bridging(tmp_path, *broker.options, "--endpoint", f"hall={hall}", "--endpoint", f"attic={attic}"),
    ):
        say_status(first)
        say_status(second, state="paused", reason="user")
        listener.until(lambda: (second.wait(5), listener.last("sadstream/attic/mic/state"))[1], first)
        listener.until_state("sadstream/hall/mic/state", first, state="listening", paused=False)

    assert listener.last("sadstream/attic/mic/state")["paused"] is True
    names = [listener.last(f"homeassistant/device/sadstream_{one}_mic/config")["device"] for one in ("hall", "attic")]
    assert [one["name"] for one in names] == ["sadstream hall mic", "sadstream attic mic"]


def test_the_switch_pauses_a_real_daemon_and_what_is_no_command_is_left_out(broker: Broker, tmp_path: Path) -> None:
    listener, endpoint = Listener(broker), f"ipc://{tmp_path}/pub"
    command, state = "sadstream/hall/pause/set", "sadstream/hall/mic/state"
    daemon = subprocess.Popen([*FAKES, "capture=good", "--publish", endpoint], stderr=subprocess.DEVNULL)
    try:
        with bridging(tmp_path, *broker.options, "--endpoint", f"hall={endpoint}") as (_, said):
            listener.until_state(state, state="listening")
            config = "homeassistant/device/sadstream_hall_mic/config"
            listener.until(lambda: "pause" in listener.last(config)["components"])
            listener.client.publish(command, "boom\n", qos=1)
            listener.client.publish(command, "ON", qos=1)
            listener.until_state(state, state="paused", paused=True)
            listener.client.publish(command, "OFF", qos=1)
            listener.until_state(state, state="listening", paused=False)
            log = said()
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(10)

    assert "command boom\\n left out: expected ON or OFF" in log
    assert "hall: pause, as the broker said" in log


def test_a_command_that_the_broker_kept_is_not_obeyed_and_without_pause_none_is(broker: Broker, tmp_path: Path) -> None:
    listener, endpoint = Listener(broker), f"ipc://{tmp_path}/pub"
    listener.client.publish("sadstream/hall/pause/set", "ON", qos=1, retain=True)
    listener.until_said("sadstream/hall/pause/set", "ON")
    with Publisher(endpoint) as daemon:
        say_status(daemon)
        with bridging(tmp_path, *broker.options, "--endpoint", f"hall={endpoint}") as (_, said):
            listener.until(lambda: "command ON left out: kept by the broker from before" in said(), daemon)
        with bridging(tmp_path, *broker.options, "--no-pause", "--endpoint", f"hall={endpoint}") as (_, said):
            listener.until(lambda: "connected" in said(), daemon)
            config = "homeassistant/device/sadstream_hall_mic/config"
            gone = {"platform": "switch"}  # by which Home Assistant removes it
            listener.until(
                lambda: (listener.last(config) or {"components": {}})["components"].get("pause") == gone, daemon
            )
            assert "left out" not in said()


def test_a_wrong_password_at_the_start_is_the_end_in_one_line(broker: Broker, tmp_path: Path) -> None:
    broker.password_file.write_text(OTHER)
    done = run("mqtt", *broker.options, "--endpoint", f"ipc://{tmp_path}/pub")

    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert f"localhost:{broker.port}: refuses {USER}: Not authorized; look at --username and --password-file" in line
    assert OTHER not in done.stderr


def test_a_password_refused_later_is_said_and_tried_again(broker: Broker, tmp_path: Path) -> None:
    with bridging(tmp_path, *broker.options, "--endpoint", f"hall=ipc://{tmp_path}/pub") as (bridge, said):
        wait_until(lambda: "connected" in said(), "not connected")
        broker.stop()
        broker.start(OTHER)
        wait_until(lambda: "refuses" in said(), "not refused")
        broker.stop()
        broker.start()
        wait_until(lambda: said().count(": connected") == 2, "not connected again")
        assert bridge.poll() is None


def test_a_dead_port_is_said_at_once_and_tried_until_a_broker_is_there(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    with bridging(tmp_path, *broker.options, "--endpoint", f"hall=ipc://{tmp_path}/pub") as (_, said):
        wait_until(lambda: "is a broker there?" in said(), "silent")
        assert f"localhost:{broker.port}: Connection refused; is a broker there? (tried again" in said()
        broker.start()
        try:
            wait_until(lambda: ": connected" in said(), "not connected")
        finally:
            broker.stop()
    assert said().count("Connection refused") == 1


def test_a_broker_that_cannot_be_trusted_gets_no_password(tls_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    tls_broker.ca = made_pair(tmp_path / "other")[0]
    done = run("mqtt", *tls_broker.options, "--endpoint", f"ipc://{tmp_path}/pub")

    assert done.returncode == 69
    assert "its certificate is not to be trusted" in done.stderr


def test_without_tls_a_broker_that_wants_it_is_said_to(tls_broker: Broker, tmp_path: Path) -> None:
    tls_broker.ca = None
    with bridging(tmp_path, *tls_broker.options, "--endpoint", f"hall=ipc://{tmp_path}/pub") as (_, said):
        wait_until(lambda: "does it want --tls-ca?" in said(), "silent")


def test_a_table_says_the_same_as_options(broker: Broker, tmp_path: Path) -> None:
    config = tmp_path / "sadstream.toml"
    config.write_text(
        f'[publish]\nendpoint = "ipc://{tmp_path}/sadstream-attic/pub"\n[mqtt]\nbroker = "localhost:{broker.port}"\n'
        f'username = "{USER}"\npassword_file = "{broker.password_file}"\ntopic = "house/sad"\n'
    )
    listener = Listener(broker)
    with bridging(tmp_path, "--config", str(config)):
        wait_until(lambda: (listener.client.loop(0.02), listener.heard)[1], "nothing")

    assert listener.heard[0] == (f"house/sad/{socket.gethostname().lower()}-attic/bridge", "online")


@pytest.mark.skipif(sandbox.missing() is not None, reason=f"no sandbox: {sandbox.missing()} is missing")
def test_it_carries_events_under_its_units_filter_and_is_ready_once_the_broker_answered(
    tls_broker: Broker, tmp_path: Path
) -> None:
    """System calls and address families as the unit has them."""
    endpoint, unit = f"ipc://{tmp_path}/pub", Path(__file__).parents[2] / "systemd" / "sadstream-mqtt.service"
    command = [sys.executable, sandbox.__file__, str(unit), *SADSTREAM, "mqtt", *tls_broker.options]
    listener = Listener(tls_broker)
    with (
        Publisher(endpoint) as daemon,
        Supervisor(tmp_path, [*command, "--endpoint", f"hall={endpoint}"], watchdog_s=2.0) as supervisor,
    ):
        say_status(daemon)
        listener.until_state("sadstream/hall/mic/state", daemon, state="listening")
        assert supervisor.said("READY=1") == 1
        supervisor.until(lambda: supervisor.said("WATCHDOG=1") > 2)

    assert supervisor.said("STOPPING=1") == 1
    assert supervisor.exits == [0]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "no broker; name one with --broker HOST, or [mqtt] broker"),
        (["--broker", "192.0.2.1"], 78, "expected --tls-ca FILE, or --insecure"),
        (["--broker", "localhost", "--topic", "#"], 78, "mqtt.topic = '#'"),
        (["--broker", "localhost", "--username", "sad", "--password-file", "none"], 66, "none: no such password"),
        (["--broker", "localhost", "--endpoint", "nowhere"], 2, "--endpoint nowhere: expected ipc:///path"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_code(words: list[str], code: int, text: str) -> None:
    done = run("mqtt", *words, *([] if "--endpoint" in words else ["--endpoint", "ipc:///nowhere/pub"]))

    assert done.returncode == code
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_dead_daemon_is_offline_within_twelve_seconds(broker: Broker, tmp_path: Path) -> None:
    listener, endpoint = Listener(broker), free_tcp()
    with bridging(tmp_path, *broker.options, "--endpoint", f"hall={endpoint}"):
        fake = start("fake", "--publish", endpoint, "--speed", "60")
        listener.until_said("sadstream/hall/mic/availability", "online")
        fake.kill()
        fake.communicate()
        died_s = time.monotonic()
        listener.until_said("sadstream/hall/mic/availability", "offline")

    assert 10.0 < time.monotonic() - died_s < 13.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_broker_and_daemon_are_killed_many_times_and_all_is_right_again(tls_broker: Broker, tmp_path: Path) -> None:
    """With -9, one of them or both, at random moments; the broker has forgotten everything each time."""
    rng, endpoint, took = random.Random(7), f"ipc://{tmp_path}/pub", []
    fake = start("fake", "--publish", endpoint, "--speed", "30")
    with bridging(tmp_path, *tls_broker.options, "--endpoint", f"hall={endpoint}") as (bridge, said):
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.0, 1.5))
            killed = rng.choice([("broker",), ("daemon",), ("broker", "daemon")])
            if "broker" in killed:
                tls_broker.process.kill()
                tls_broker.process.wait()
            if "daemon" in killed:
                fake.kill()
                fake.communicate()
            time.sleep(rng.random())
            since_s = time.monotonic()
            if "daemon" in killed:
                fake = start("fake", "--publish", endpoint, "--speed", "30")
            if "broker" in killed:
                tls_broker.start()
            all_right(Listener(tls_broker))
            took.append(time.monotonic() - since_s)
        fake.kill()
        fake.communicate()
        assert bridge.poll() is None
    print(f"{KILLS} kills; all right again after {statistics.median(took):.1f} s, at most {max(took):.1f} s")

    assert "ERROR" not in said()


def all_right(listener: Listener) -> None:
    """Wait until the broker holds what it should, and scores come."""
    topics = ("sadstream/hall/bridge", "sadstream/hall/mic/availability")
    listener.until(lambda: [listener.last(topic) for topic in topics] == ["online", "online"])
    listener.until(lambda: listener.last("homeassistant/device/sadstream_hall_mic/config"))
    listener.until(lambda: listener.last("sadstream/hall/mic/score"))
    listener.client.disconnect()
