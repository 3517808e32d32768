"""What a late or reconnecting subscriber asks of a daemon's memory, or of a gatherer's, and where that is."""

import json
from dataclasses import dataclass, fields

from sadstream.base.json_text import parsed
from sadstream.events.types import Count, EventName, Name
from sadstream.events.validation import WireError, record

VERSION = 1
NOTE = b"replay "  # topic of what a gatherer tells whoever joins; not below "sad.", so that no reader of events sees it


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


def to_note(replay: str | None) -> bytes:
    """The frame that says where the past of all these streams is kept, whatever their statuses say; None: nowhere."""
    return NOTE + json.dumps({"v": VERSION, "type": "replay", "replay": replay}).encode()


def from_note(frame: bytes) -> str | None:
    """The endpoint in such a frame, empty for nowhere; None for any other frame."""
    if not frame.startswith(NOTE):
        return None
    try:
        body = parsed(frame.removeprefix(NOTE))
    except ValueError:
        return None
    if not isinstance(body, dict) or body.get("v") != VERSION:
        return None
    replay = body.get("replay")
    return replay if isinstance(replay, str) else ""
