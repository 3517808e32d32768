"""From events and findings to MQTT messages (no clock, no socket, no paho)."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from sadstream.client.follower import Gap
from sadstream.client.reader import Item
from sadstream.events import Event, Score, to_json
from sadstream.events.control import Word
from sadstream.views.mqtt.device import DeviceTraits, device_config
from sadstream.views.mqtt.known_stream import KnownStream
from sadstream.views.mqtt.topics import OFFLINE, ONLINE, MqttMessage, Topics

COMMANDS: Mapping[str, Word] = {"ON": "pause", "OFF": "resume"}


class Translation:
    """Several daemons, each with several streams; words leave only with `words`; `pausable` may get a switch."""

    def __init__(self, topics: Topics, words: bool, pausable: Collection[str]) -> None:
        self._topics = topics
        self._words = words
        self._pausable = frozenset(pausable)
        self._streams: dict[tuple[str, str], KnownStream] = {}
        self._controlled: set[str] = set()
        self._said: dict[str, str] = {}  # what the broker keeps, by topic

    @property
    def will(self) -> MqttMessage:
        """What the broker says for us when we are gone."""
        return MqttMessage(self._topics.will, OFFLINE, retain=True)

    def feed(self, daemon: str, item: Item) -> Iterator[MqttMessage]:
        """What one event or finding of a daemon comes to."""
        if item.stream is None:  # nothing was ever heard there
            return
        heard = self._streams.setdefault((daemon, item.stream), KnownStream())
        heard.feed(item)
        yield from self._changed(daemon, item.stream)
        if isinstance(item, Event):
            if heard.is_known:
                yield self._kept(self._topics.state(daemon, item.stream), heard.state())
            bare = item if self._words or not isinstance(item, Score) else replace(item, text=None)
            yield MqttMessage(self._topics.event(daemon, item.stream, item.type), to_json(bare), retain=False)
        elif isinstance(item, Gap):
            lost = {"type": item.event_type, "missed": item.missed, "first": item.first_seq, "last": item.last_seq}
            yield MqttMessage(self._topics.event(daemon, item.stream, "lost"), json.dumps(lost), retain=False)

    def controlled(self, daemon: str) -> Iterator[MqttMessage]:
        """What it comes to that a daemon can be paused from here; it stays so, as its availability says the rest."""
        self._controlled.add(daemon)
        for name, stream in list(self._streams):
            if name == daemon:
                yield from self._changed(daemon, stream)

    def remembered(self, daemon: str, topic: str, payload: str) -> Iterator[MqttMessage]:
        """What to say of a stream that the broker holds for online, and that was not heard since we began."""
        stream = self._topics.stream_of(topic, daemon)
        if stream is not None and payload == ONLINE and (daemon, stream) not in self._streams:
            self._streams[daemon, stream] = KnownStream()
            yield from self._changed(daemon, stream)

    def standing(self) -> Iterator[MqttMessage]:
        """All that the broker is to keep, for one that has forgotten it or missed the last of it."""
        yield MqttMessage(self._topics.will, ONLINE, retain=True)
        for topic, payload in self._said.items():
            yield MqttMessage(topic, payload, retain=True)

    def word(self, payload: str) -> Word | None:
        """What a command asks of the daemon; None for what is none."""
        return COMMANDS.get(payload)

    def _changed(self, daemon: str, stream: str) -> Iterator[MqttMessage]:
        """Discovery and availability, where they are not what was said last."""
        heard = self._streams[daemon, stream]
        traits = DeviceTraits(heard.tells, daemon in self._controlled, daemon not in self._pausable)
        config = device_config(self._topics, daemon, stream, traits)
        wanted = {self._topics.config(daemon, stream): config} if heard.is_known else {}
        wanted[self._topics.availability(daemon, stream)] = ONLINE if heard.there else OFFLINE
        for topic, payload in wanted.items():
            if self._said.get(topic) != payload:
                yield self._kept(topic, payload)

    def _kept(self, topic: str, payload: str) -> MqttMessage:
        self._said[topic] = payload
        return MqttMessage(topic, payload, retain=True)
