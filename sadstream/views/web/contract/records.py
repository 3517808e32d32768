"""What is said on the wire and on the web, as schemas that an OpenAPI or AsyncAPI document holds as its components."""

import json
from typing import Any

from pydantic import TypeAdapter

from sadstream.client.follower import Gap, Restart, Stale
from sadstream.events.schema import event_schema

PLACE = "#/components/schemas/"
EVENTS = ("Score", "Status", "Episode")
FINDINGS = {"Gap": Gap, "Restart": Restart, "Stale": Stale}
COUNT = {"type": "integer", "minimum": 0}


def record_schemas() -> dict[str, Any]:
    """A schema for each event and finding, by its name; they refer to each other at PLACE."""
    events: dict[str, Any] = json.loads(json.dumps(event_schema()["$defs"]).replace('"#/$defs/', f'"{PLACE}'))
    return events | {name: _finding(kind) for name, kind in FINDINGS.items()} | {"Behind": _behind()}


def at_place(name: str) -> dict[str, str]:
    """A reference to one of them."""
    return {"$ref": f"{PLACE}{name}"}


def _finding(kind: type[Gap] | type[Restart] | type[Stale]) -> dict[str, Any]:
    made = TypeAdapter(kind).json_schema()
    more = {"type": {"const": kind.type}} | ({"missed": COUNT} if kind is Gap else {})
    return made | {"properties": more | made["properties"], "required": [*more, *made["required"]]}


def _behind() -> dict[str, Any]:
    """Of a server of ours alone, to one reader."""
    return {
        "type": "object",
        "description": "This reader lost events; null: nobody knows how many.",
        "properties": {"type": {"const": "behind"}, "lost": {"type": ["integer", "null"], "minimum": 0}},
        "required": ["type", "lost"],
    }
