"""The wire and the web's events as an AsyncAPI document, made of the records themselves."""

from typing import Any

from sadstream.events import DEFAULT_ENDPOINT, EVENT_TYPES, VERSION
from sadstream.views.web.contract.records import EVENTS, FINDINGS, at_place, record_schemas

MESSAGES = (*EVENTS, *FINDINGS, "Behind")
ABOUT = (
    "What a sadstream daemon says: over ZeroMQ one frame a message, topic, a space, JSON; over HTTP as server-sent "
    "events. Fields and types may be added to version 1; nothing is renamed, retyped or removed. A status comes every "
    "5 s: nothing for 11 s is a daemon that is dead or cannot be reached."
)
STREAM = {"description": "its name: lower case letters, digits and dashes, at most 32; mic by default"}


def asyncapi_document() -> dict[str, Any]:
    """AsyncAPI 3.0."""
    schemas = record_schemas()
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:sadstream:events:{VERSION}",
        "info": {"title": "sadstream", "version": f"{VERSION}.0.0", "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "wire": {"host": DEFAULT_ENDPOINT.removeprefix("tcp://"), "protocol": "zmq", "description": "XPUB, binds"},
            "web": {"host": "127.0.0.1:8751", "protocol": "sse", "description": "`sadstream web`, or the dashboard"},
        },
        "channels": {event_type: _topic(event_type) for event_type in EVENT_TYPES} | {"events": _stream()},
        "operations": {f"say-{name}": _said(name) for name in (*EVENT_TYPES, "events")},
        "components": {"messages": {name.lower(): _message(name) for name in MESSAGES}, "schemas": schemas},
    }


def _topic(event_type: str) -> dict[str, Any]:
    return {
        "address": f"sad.{event_type}.{{stream}}",
        "parameters": {"stream": STREAM},
        "servers": [{"$ref": "#/servers/wire"}],
        "messages": {event_type: {"$ref": f"#/components/messages/{event_type}"}},
    }


def _stream() -> dict[str, Any]:
    return {
        "address": "/v1/events",
        "servers": [{"$ref": "#/servers/web"}],
        "messages": {name.lower(): {"$ref": f"#/components/messages/{name.lower()}"} for name in MESSAGES},
    }


def _said(channel: str) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}}


def _message(name: str) -> dict[str, Any]:
    return {"name": name.lower(), "contentType": "application/json", "payload": at_place(name)}
