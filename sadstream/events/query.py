"""What a late or reconnecting subscriber asks of a daemon's memory."""

import json
from dataclasses import dataclass, fields

from sadstream.base.json_text import parsed
from sadstream.events.types import Count, EventName, Name
from sadstream.events.validation import WireError, record

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which events, oldest first; what is None does not matter."""

    stream: Name | None = None
    type: EventName | None = None
    session: str | None = None
    first_seq: Count | None = None
    last_seq: Count | None = None
    last: Count | None = None  # so many of each topic

    def to_json(self) -> bytes:
        """The request as it goes over the replay socket."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(
            {"v": VERSION} | {name: value for name, value in values.items() if value is not None}
        ).encode()


def from_json(request: bytes) -> Query:
    """The query in a request; WireError if it is none."""
    try:
        body = parsed(request)
    except ValueError:
        raise WireError("not JSON") from None
    if not isinstance(body, dict) or body.get("v") != VERSION:
        raise WireError(f"expected an object with v = {VERSION}")
    query: Query = record(Query, body, "query")
    return query
