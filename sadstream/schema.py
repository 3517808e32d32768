"""The JSON Schema of the events, made of the records themselves."""

from typing import Any

from pydantic import TypeAdapter

from sadstream.events import Score, Status

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def event_schema() -> dict[str, Any]:
    """One schema for every event; readers ignore fields they do not know, so more are allowed."""
    definitions: dict[str, Any] = {}
    for kind in (Score, Status):
        one = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
        definitions |= one.pop("$defs", {})
        one["properties"] |= {"v": {"const": 1}, "type": {"const": kind.type}}
        one["required"] = ["v", "type", *one["required"]]
        definitions[kind.__name__] = one
    return {
        "$schema": DRAFT,
        "title": "sadstream event, version 1",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in (Score, Status)],
        "$defs": definitions,
    }
