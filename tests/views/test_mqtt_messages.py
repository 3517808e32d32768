"""What a daemon's events come to on an MQTT broker: devices of Home Assistant, their states, never the words."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import jinja2
import pytest
import yaml
from wire import a_score, a_status, an_episode

from sadstream.base.errors import ConfigError, MissingFileError, SadstreamError, UsageError
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item
from sadstream.config.tables import MqttConfig
from sadstream.events import State, from_json
from sadstream.views.mqtt.known_stream import QUIET_S
from sadstream.views.mqtt.options import PASSWORD_CREDENTIAL, bridge_options
from sadstream.views.mqtt.topics import MqttMessage, Topics, daemon_name
from sadstream.views.mqtt.translation import Translation

TOPICS = Topics("sadstream", "homeassistant", "kitchen")
CONFIG = "homeassistant/device/sadstream_kitchen_mic/config"
STATE, AVAILABILITY = "sadstream/kitchen/mic/state", "sadstream/kitchen/mic/availability"
# What Home Assistant's schema of a device has at its root, and refuses anything beside.
ROOT = {"device", "origin", "components"}


class Kitchen:
    """A daemon called kitchen, and what the broker was told of it."""

    def __init__(self, words: bool = False, pausable: tuple[str, ...] = ("kitchen",)) -> None:
        self.translation = Translation(TOPICS, words, pausable)
        self.sent: list[MqttMessage] = []
        self.kept: dict[str, str] = {}

    def says(self, *items: Item) -> "Kitchen":
        for item in items:
            self.take(self.translation.feed("kitchen", item))
        return self

    def take(self, messages: Iterable[MqttMessage]) -> "Kitchen":
        for message in messages:
            self.sent.append(message)
            if message.retain:
                self.kept[message.topic] = message.payload
        return self

    @property
    def entities(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self.kept[CONFIG])["components"]
        return found

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kept[STATE])
        return found

    def shown(self, entity: str) -> str:
        """What Home Assistant makes of the state: its templates are Jinja's."""
        template = jinja2.Environment(autoescape=False).from_string(self.entities[entity]["value_template"])
        return template.render(value_json=self.state)

    def attributes(self, entity: str) -> Any:
        """What Home Assistant adds to it."""
        template = jinja2.Environment(autoescape=False).from_string(self.entities[entity]["json_attributes_template"])
        return json.loads(template.render(value_json=self.state))


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


def stale(stream: str | None = "mic") -> Stale:
    return Stale(stream=stream, silent_s=11.1, last_state=None)


def test_a_stream_is_one_device_of_home_assistant(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_score(mood=0.4))
    config = json.loads(kitchen.kept[CONFIG])
    real = {name: entity for name, entity in kitchen.entities.items() if len(entity) > 1}

    assert set(config) == ROOT
    assert config["device"]["identifiers"] == ["sadstream_kitchen_mic"]
    assert {name: entity["platform"] for name, entity in real.items()} == {
        "score": "sensor", "mood": "sensor", "state": "sensor",
        "sad": "binary_sensor", "episode": "binary_sensor", "connected": "binary_sensor",
    }  # fmt: skip
    assert {entity["qos"] for entity in real.values()} == {1}  # at the root not all versions read it
    assert len({entity["unique_id"] for entity in real.values()}) == len(real)
    assert kitchen.entities["state"]["options"] == list(get_args(State))


def test_the_page_names_the_entities_that_there_are(kitchen: Kitchen) -> None:
    felt = a_score(mood=0.4, emotions={"sad": 1.0}, valence=0.0, arousal=0.0)
    kitchen.says(a_status(), felt).take(kitchen.translation.controlled("kitchen"))
    page = Path("docs/home-assistant.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", page, re.M)
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (automation,) = yaml.safe_load(block)["automation"]
    device = json.loads(kitchen.kept[CONFIG])["device"]["name"].replace("kitchen", "pi").replace(" ", "_")

    assert dict(rows) == {name: entity["platform"].replace("_", " ") for name, entity in kitchen.entities.items()}
    assert automation["triggers"][0]["entity_id"] == f"binary_sensor.{device}_episode"


def test_what_the_heartbeat_refreshes_expires_and_hangs_on_both_ends(kitchen: Kitchen) -> None:
    kitchen.says(a_status()).take(kitchen.translation.controlled("kitchen"))
    both = [{"topic": "sadstream/kitchen/bridge"}, {"topic": AVAILABILITY}]

    for name, entity in kitchen.entities.items():
        assert entity.get("expire_after") == (None if name in ("connected", "pause") else 11)
        assert entity["availability"] == (both[:1] if name == "connected" else both)
        assert entity["availability_mode"] == "all"
    assert kitchen.entities["connected"]["state_topic"] == AVAILABILITY


def test_each_entity_shows_what_was_said_last(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_score(1, audio_logit=2.0, mood=0.25), an_episode())

    assert float(kitchen.shown("score")) == pytest.approx(0.731, abs=0.001)
    assert [kitchen.shown(name) for name in ("mood", "state", "sad", "episode")] == ["0.25", "listening", "ON", "ON"]
    kitchen.says(an_episode(seq=1, phase="end"), a_status(1, state="no-device", reason="device-lost"))
    assert [kitchen.shown(name) for name in ("state", "episode")] == ["no-device", "OFF"]
    assert kitchen.state["reason"] == "device-lost"


def test_what_is_not_known_yet_is_unknown_and_not_a_number(kitchen: Kitchen) -> None:
    kitchen.says(a_status())

    assert kitchen.shown("score") == "None"
    assert "mood" not in kitchen.entities
    assert "mood" in kitchen.says(a_score(mood=0.4)).entities


def test_what_is_heard_beside_sad_is_there_once_a_score_tells_it(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_score())
    assert not {"emotion", "valence", "arousal"} & set(kitchen.entities)
    assert not {"emotion", "emotions", "valence", "arousal"} & set(kitchen.state)

    kitchen.says(a_score(1, emotions={"sad": 0.25, "calm": 0.75}, arousal=-0.5))
    assert [kitchen.shown(name) for name in ("emotion", "arousal")] == ["calm", "-0.5"]
    assert "valence" not in kitchen.entities
    assert kitchen.attributes("emotion") == {"sad": 0.25, "calm": 0.75}
    kitchen.says(a_score(2))
    assert [kitchen.shown(name) for name in ("emotion", "arousal")] == ["None", "None"]
    assert kitchen.attributes("emotion") == {}


def test_nothing_is_a_device_before_its_state_is_known(kitchen: Kitchen) -> None:
    kitchen.says(a_score())
    assert CONFIG not in kitchen.kept
    kitchen.says(a_status())
    assert set(kitchen.kept) >= {CONFIG, STATE, AVAILABILITY}


def test_sad_ends_when_nobody_has_talked_for_a_while(kitchen: Kitchen) -> None:
    """By the daemon's own clock: a heartbeat says how old the last score is."""
    score = a_score(audio_logit=2.0)
    kitchen.says(a_status(), score)
    last_s = score.monotonic_s
    kitchen.says(replace(a_status(1), monotonic_s=last_s + QUIET_S))
    assert kitchen.shown("sad") == "ON"
    kitchen.says(replace(a_status(2), monotonic_s=last_s + QUIET_S + 1))
    assert kitchen.shown("sad") == "OFF"
    assert kitchen.state["p_sad"] == score.p_sad


def test_an_old_score_is_not_news_to_a_bridge_that_joins(kitchen: Kitchen) -> None:
    kitchen.says(a_score(audio_logit=2.0), replace(a_status(), monotonic_s=3600.0))

    assert [json.loads(one.payload)["sad"] for one in kitchen.sent if one.topic == STATE] == [False]


def test_a_provisional_score_is_passed_on_and_counted_by_no_entity(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_score(audio_logit=2.0, provisional=True))

    assert kitchen.shown("score") == "None"
    assert kitchen.sent[-1].topic == "sadstream/kitchen/mic/score"


def test_words_leave_only_when_switched_on() -> None:
    said = a_score(text="a secret")
    silent, open_one = Kitchen().says(a_status(), said), Kitchen(words=True).says(a_status(), said)

    assert not [message for message in silent.sent if "secret" in message.payload]
    assert [message.topic for message in open_one.sent if "secret" in message.payload] == [
        "sadstream/kitchen/mic/score"
    ]


def test_events_are_passed_on_as_they_are(kitchen: Kitchen) -> None:
    events = [a_status(), a_score(), an_episode()]
    kitchen.says(*events)
    passed = [message for message in kitchen.sent if message.topic.rpartition("/")[2] in ("status", "score", "episode")]

    assert [from_json(message.payload) for message in passed] == events
    assert not any(message.retain for message in passed)


def test_what_was_lost_is_said_and_counted(kitchen: Kitchen) -> None:
    gap = Gap(stream="mic", session="a" * 16, event_type="score", first_seq=3, last_seq=5)
    kitchen.says(a_status(), gap)

    assert json.loads(kitchen.sent[-1].payload) == {"type": "score", "missed": 3, "first": 3, "last": 5}
    assert kitchen.says(a_score(6)).state["lost"] == 3


def test_a_daemon_that_ends_or_falls_silent_is_offline_until_it_speaks(kitchen: Kitchen) -> None:
    there = [
        kitchen.says(item).kept[AVAILABILITY]
        for item in (a_status(), stale(), a_status(1), a_status(2, state="stopping"), a_status(0, session="b" * 16))
    ]

    assert there == ["online", "offline", "online", "offline", "online"]
    kitchen.says(stale(None))  # of an endpoint where nothing was ever heard


def test_a_new_daemon_is_not_told_of_the_old_ones_sadness(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_score(audio_logit=2.0), an_episode())
    kitchen.says(Restart(stream="mic", session="b" * 16, previous="a" * 16), a_status(0, session="b" * 16))

    assert [kitchen.shown(name) for name in ("score", "sad", "episode")] == ["None", "OFF", "OFF"]


def test_the_switch_is_there_once_the_daemon_answered_and_stays(kitchen: Kitchen) -> None:
    """Taken away while the daemon restarts it would lose the name and the room that its user gave it."""
    assert "pause" not in kitchen.says(a_status()).entities
    kitchen.take(kitchen.translation.controlled("kitchen"))
    assert kitchen.entities["pause"]["command_topic"] == "sadstream/kitchen/pause/set"
    assert [kitchen.shown("pause"), kitchen.says(a_status(1, state="paused")).shown("pause")] == ["OFF", "ON"]
    kitchen.says(stale(), Restart(stream="mic", session="b" * 16, previous="a" * 16), a_status(0, session="b" * 16))
    assert kitchen.shown("pause") == "OFF"


def test_a_daemon_that_is_never_to_be_paused_loses_the_switch_of_before() -> None:
    kitchen = Kitchen(pausable=()).says(a_status())

    assert kitchen.entities["pause"] == {"platform": "switch"}  # by which Home Assistant removes it


def test_discovery_is_said_again_only_when_it_changes(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_status(1), a_score(), a_status(2))

    assert [message.topic for message in kitchen.sent].count(CONFIG) == 1


def test_a_broker_that_forgot_is_told_all_that_it_should_keep(kitchen: Kitchen) -> None:
    kitchen.says(a_status(), a_score(mood=0.3), an_episode())
    again = list(kitchen.translation.standing())

    assert {message.topic: message.payload for message in again} == kitchen.kept | {
        "sadstream/kitchen/bridge": "online"
    }
    assert all(message.retain for message in again)


def test_a_stream_of_before_that_nobody_heard_since_is_offline(kitchen: Kitchen) -> None:
    kitchen.says(a_status())
    before = "sadstream/kitchen/{}/availability"
    for name in ("mic", "cellar", "Not A Stream"):
        kitchen.take(kitchen.translation.remembered("kitchen", before.format(name), "online"))

    assert kitchen.kept[AVAILABILITY] == "online"
    assert kitchen.kept[before.format("cellar")] == "offline"
    assert before.format("Not A Stream") not in kitchen.kept


def test_daemons_and_streams_never_share_a_topic(kitchen: Kitchen) -> None:
    for daemon in ("kitchen", "hall"):
        for stream in ("mic", "door"):
            kitchen.take(kitchen.translation.feed(daemon, a_status(stream=stream)))

    assert len({topic for topic in kitchen.kept if topic.endswith("config")}) == 4
    assert len(kitchen.kept) == 4 * 3


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("tcp://127.0.0.1:5556", "pi-4"),
        ("ipc:///run/sadstream/pub", "pi-4"),
        ("ipc:///run/user/1000/sadstream/pub", "pi-4"),
        ("ipc:///run/sadstream-room1/pub", "pi-4-room1"),
        ("ipc:///tmp/my socket", "pi-4-tmp-my-socket"),
        ("tcp://127.0.0.1:6000", "pi-4-6000"),
        ("tcp://hall.example:5556", "hall-example"),
        ("tcp://[2001:db8::7]:6000", "2001-db8-7-6000"),
    ],
)
def test_a_daemon_has_the_same_name_at_every_start(endpoint: str, name: str) -> None:
    assert daemon_name(endpoint, "Pi 4") == name


# What is asked for.


def asked(*endpoints: str, **table: Any) -> Any:
    return bridge_options(MqttConfig(**table), endpoints or ("tcp://127.0.0.1:5556",), "pi")


def a_password(folder: Path, content: bytes = b"secret word\n", mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("broker", "host", "port"),
    [("localhost", "localhost", 1883), ("127.0.0.1:18831", "127.0.0.1", 18831), ("[::1]:1", "::1", 1)],
)
def test_a_broker_is_a_host_and_maybe_a_port(broker: str, host: str, port: int) -> None:
    login = asked(broker=broker).login

    assert (login.host, login.port) == (host, port)


@pytest.mark.parametrize("broker", ["mqtt://localhost", "localhost:0", "localhost:65536", "a b", "::1:1883"])
def test_anything_else_is_none(broker: str) -> None:
    with pytest.raises(UsageError, match="expected HOST or HOST:PORT"):
        asked(broker=broker)


def test_another_machine_needs_tls_or_a_word_that_it_may_do_without(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in plain; expected --tls-ca FILE, or --insecure"):
        asked(broker="192.0.2.3")
    assert asked(broker="192.0.2.3", insecure=True).login.port == 1883
    (tmp_path / "ca.pem").touch()
    assert asked(broker="192.0.2.3", tls_ca=str(tmp_path / "ca.pem")).login.port == 8883
    with pytest.raises(MissingFileError, match="no such certificate"):
        asked(broker="192.0.2.3", tls_ca=str(tmp_path / "none"))


def test_a_password_is_a_line_of_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    table = {"broker": "localhost", "username": "sad"}
    assert asked(**table, password_file=str(a_password(tmp_path))).login.password == "secret word"
    faults: list[tuple[bytes, int, type[SadstreamError], str]] = [
        (b"secret", 0o644, ConfigError, "mode 0644 lets others read the password"),
        (b"\n", 0o600, ConfigError, "on one line"),
        (b"secret\nsecret\n", 0o600, ConfigError, "on one line"),
        (b"\xff\xfe", 0o600, ConfigError, "UTF-8"),
    ]
    for content, mode, error, text in faults:
        with pytest.raises(error, match=text) as told:
            asked(**table, password_file=str(a_password(tmp_path, content, mode)))
        assert "secret" not in str(told.value)
    with pytest.raises(MissingFileError, match="no such password"):
        asked(**table, password_file=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="expected --username too"):
        asked(broker="localhost", password_file=str(a_password(tmp_path)))


def test_a_service_has_its_password_as_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    a_password(tmp_path, mode=0o440).rename(tmp_path / PASSWORD_CREDENTIAL)

    assert asked(broker="localhost", username="sad").login.password == "secret word"


def test_daemons_are_told_apart_by_name() -> None:
    found = asked(
        "tcp://127.0.0.1:5556", "hall=ipc:///run/x", "tcp://192.0.2.7:5556", broker="localhost", server_key="k"
    )

    assert [(daemon.name, daemon.server_key) for daemon in found.daemons] == [
        ("pi", None), ("hall", None), ("192-0-2-7", "k")
    ]  # fmt: skip
    with pytest.raises(UsageError, match="expected NAME=ENDPOINT"):
        asked("tcp://127.0.0.1:5556", "ipc:///run/sadstream/pub", broker="localhost")
    with pytest.raises(UsageError, match="--endpoint here: expected ipc:"):
        asked("here", broker="localhost")
