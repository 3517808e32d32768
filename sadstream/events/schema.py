"""The JSON Schema of the events, made of the records themselves."""

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter

from sadstream.events.types import EVENT_KINDS, VERSION, Latency
from sadstream.events.validation import Range, Size, hints

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def event_schema() -> dict[str, Any]:
    """One schema for every event; readers ignore fields they do not know, so more are allowed.

    What a schema cannot say stands in its descriptions: the logit parts of a score sum to the logit of `p_sad`.
    """
    return {
        "$schema": DRAFT,
        "$id": f"urn:sadstream:events:{VERSION}",
        "title": "SadstreamEvent",
        "description": f"What a sadstream daemon says, version {VERSION}.",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in EVENT_KINDS.values()],
        "$defs": {kind.__name__: _definition(kind) for kind in (*EVENT_KINDS.values(), Latency)},
    }


def _definition(kind: Any) -> dict[str, Any]:
    whole = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
    definition = {key: value for key, value in whole.items() if key != "$defs"}
    for name, (field, hint) in hints(kind).items():
        made = {key: value for key, value in definition["properties"][name].items() if key != "title"}
        definition["properties"][name] = _property(made, hint, field.default is None)
    if kind is not Latency:
        definition["properties"] |= {"v": {"const": VERSION}, "type": {"const": kind.type}}
        definition["required"] = ["v", "type", *definition["required"]]
    return definition


def _property(made: dict[str, Any], hint: Any, left_out: bool) -> dict[str, Any]:
    limits = _limits(hint)
    if "anyOf" not in made:
        return made | limits
    kinds = [one | ({} if one == {"type": "null"} else limits) for one in made["anyOf"]]
    if left_out:  # absent rather than null
        only: dict[str, Any] = next(one for one in kinds if one != {"type": "null"})
        return only | {key: value for key, value in made.items() if key not in ("anyOf", "default")}
    return made | {"anyOf": kinds}


def _limits(hint: Any) -> dict[str, Any]:
    """The range, pattern or size that a field's type carries, in the words of JSON Schema."""
    if get_origin(hint) is Mapping:
        name, number = get_args(hint)
        return {"propertyNames": _limits(name), "additionalProperties": {"type": "number"} | _limits(number)}
    found: dict[str, Any] = {}
    for part in get_args(hint):
        match part:
            case Range(low, high):
                limits = {"minimum": low, "maximum": high}
                found |= {word: limit for word, limit in limits.items() if limit is not None}
            case Size(low, high):
                found |= {"minProperties": low, "maxProperties": high}
            case re.Pattern():
                found |= {"pattern": f"^{part.pattern}$"}
            case _:
                found |= _limits(part)
    return found
