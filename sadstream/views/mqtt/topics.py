"""The topics that a bridge writes to and reads from, and what a daemon is called in them."""

import re
from dataclasses import dataclass
from pathlib import Path

from sadstream.events import DEFAULT_ENDPOINT, STREAM_NAME
from sadstream.events import endpoint as address

LONGEST_NAME = 48
NAMED = re.compile(r"([a-z0-9-]{1,48})=(\w+://.*)", re.DOTALL)
ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class MqttMessage:
    """What is published: a topic, its text, and whether the broker keeps it for whoever comes later."""

    topic: str
    payload: str
    retain: bool


@dataclass(frozen=True, slots=True)
class Topics:
    """Where a bridge's messages go; `bridge` is the daemon whose name its last will goes by."""

    base: str
    discovery: str
    bridge: str

    @property
    def will(self) -> str:
        """Whether the bridge itself is there."""
        return f"{self.base}/{self.bridge}/bridge"

    def availability(self, daemon: str, stream: str) -> str:
        """Whether a stream's daemon is heard."""
        return f"{self.base}/{daemon}/{stream}/availability"

    def state(self, daemon: str, stream: str) -> str:
        """What is true of a stream now."""
        return f"{self.base}/{daemon}/{stream}/state"

    def event(self, daemon: str, stream: str, kind: str) -> str:
        """One event, or what was lost."""
        return f"{self.base}/{daemon}/{stream}/{kind}"

    def pause(self, daemon: str) -> str:
        """Where ON and OFF pause a daemon and resume it."""
        return f"{self.base}/{daemon}/pause/set"

    def config(self, daemon: str, stream: str) -> str:
        """What Home Assistant reads to know a device."""
        return f"{self.discovery}/device/{identity(daemon, stream)}/config"

    def stream_of(self, topic: str, daemon: str) -> str | None:
        """The stream whose availability has this topic; None for any other."""
        before, after = f"{self.base}/{daemon}/", "/availability"
        if not (topic.startswith(before) and topic.endswith(after)):
            return None
        stream = topic.removeprefix(before).removesuffix(after)
        return stream if STREAM_NAME.fullmatch(stream) else None


def identity(daemon: str, stream: str) -> str:
    """The device's name among all devices; neither part has an underscore."""
    return f"sadstream_{daemon}_{stream}"


def named(text: str, host: str) -> tuple[str, str]:
    """Name and endpoint of a daemon, given as [NAME=]ENDPOINT; ValueError for what is no endpoint."""
    found = NAMED.fullmatch(text)
    endpoint = address.check(found[2] if found else text)
    return (found[1] if found else daemon_name(endpoint, host)), endpoint


def daemon_name(endpoint: str, host: str) -> str:
    """The machine's name, and what tells this daemon from the usual one there; the same at every start."""
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc":
        folder = Path(rest).parent.name
        return _slug(f"{host} {folder.removeprefix('sadstream') if folder.startswith('sadstream') else rest}")
    other, _, port = rest.rpartition(":")
    name = host if address.is_local(endpoint) else other
    return _slug(name if port == DEFAULT_ENDPOINT.rpartition(":")[2] else f"{name} {port}")


def _slug(text: str) -> str:
    letters = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower())
    return "-".join(letters.split())[:LONGEST_NAME].strip("-") or "sadstream"
