"""A stream as Home Assistant's device discovery has it (2024.11 and newer): one message for all of its entities."""

import json
from dataclasses import dataclass
from typing import Any, get_args

from sadstream import __version__
from sadstream.events import STALE_S, State
from sadstream.views.mqtt.topics import OFFLINE, ONLINE, Topics, identity

EXPIRES_S = int(STALE_S)  # two heartbeats may be late
SWITCH = "{{{{ 'ON' if value_json.{} else 'OFF' }}}}"
SAD_ICON = "mdi:emoticon-sad-outline"
MORE = "{{ {'reason': value_json.reason, 'dropped': value_json.dropped, 'lost': value_json.lost} | tojson }}"

SHARES = "{{ (value_json.emotions or {}) | tojson }}"

Entity = dict[str, Any]  # as JSON has it


@dataclass(frozen=True, slots=True)
class DeviceTraits:
    """What a stream's device has beside what all have."""

    tells: frozenset[str] = frozenset()  # of what not every score carries
    pause: bool = False  # its daemon has answered on its control socket
    never_pause: bool = False  # it is not to be asked, or is elsewhere


def device_config(topics: Topics, daemon: str, stream: str, traits: DeviceTraits) -> str:
    """The discovery message: the device, who made it up, and each entity with all that it needs."""
    own, state = identity(daemon, stream), topics.state(daemon, stream)
    there = _availability(topics.will, topics.availability(daemon, stream))
    refreshed = {"state_topic": state, "expire_after": EXPIRES_S} | there  # by every heartbeat
    entities = {name: entity | refreshed for name, entity in _sensors(state, traits).items()}
    entities["connected"] = _connected(topics, daemon, stream)
    if traits.pause:  # a switch has no expiry; the availability says as much
        entities["pause"] = _pause(topics.pause(daemon)) | {"state_topic": state} | there
    components = {name: {"unique_id": f"{own}_{name}", "qos": 1} | entity for name, entity in entities.items()}
    if traits.never_pause:
        components["pause"] = {
            "platform": "switch"
        }  # and nothing else: removes the one of before, with what a user set
    device = {"identifiers": [own], "name": f"sadstream {daemon} {stream}", "manufacturer": "sadstream"}
    body = {
        "device": device | {"sw_version": __version__},
        "origin": {"name": "sadstream mqtt", "sw_version": __version__},
        "components": components,
    }
    return json.dumps(body, separators=(",", ":"))


def _sensors(state: str, traits: DeviceTraits) -> dict[str, Entity]:
    sensors = {
        "score": _number("Score", "p_sad") | {"icon": SAD_ICON},
        "state": _sensor("State", "{{ value_json.state }}")
        | {"device_class": "enum", "options": list(get_args(State))}
        | {"json_attributes_topic": state, "json_attributes_template": MORE},
        "sad": _binary("Sad", "sad") | {"icon": SAD_ICON},
        "episode": _binary("Episode", "episode"),
    }
    if "emotions" in traits.tells:
        more = {"json_attributes_topic": state, "json_attributes_template": SHARES}
        sensors["emotion"] = _sensor("Emotion", "{{ value_json.emotion }}") | more
    numbers = (name for name in ("mood", "valence", "arousal") if name in traits.tells)
    return sensors | {name: _number(name.capitalize(), name) for name in numbers}


def _sensor(name: str, template: str) -> Entity:
    return {"platform": "sensor", "name": name, "value_template": template}


def _number(name: str, field: str) -> Entity:
    shown = {"state_class": "measurement", "suggested_display_precision": 2}
    return _sensor(name, f"{{{{ value_json.{field} }}}}") | shown


def _binary(name: str, field: str) -> Entity:
    return {"platform": "binary_sensor", "name": name, "value_template": SWITCH.format(field)}


def _connected(topics: Topics, daemon: str, stream: str) -> Entity:
    """Without expiry: it says `off` for as long as the daemon is away."""
    kind = {"platform": "binary_sensor", "name": "Connected", "device_class": "connectivity"}
    read = {"state_topic": topics.availability(daemon, stream), "payload_on": ONLINE, "payload_off": OFFLINE}
    return kind | {"entity_category": "diagnostic"} | read | _availability(topics.will)


def _pause(command: str) -> Entity:
    said = {"command_topic": command, "value_template": SWITCH.format("paused")}
    return {"platform": "switch", "name": "Pause", "icon": "mdi:microphone-off"} | said


def _availability(*topics: str) -> Entity:
    return {"availability": [{"topic": topic} for topic in topics], "availability_mode": "all"}
