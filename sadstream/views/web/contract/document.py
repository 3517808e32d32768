"""The contract as an OpenAPI document, made of the records themselves, and a page of it that needs no script."""

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from sadstream import __version__
from sadstream.client import ALL_TYPES
from sadstream.views.web.contract.records import COUNT, EVENTS, FINDINGS, at_place, record_schemas
from sadstream.views.web.contract.scores import MOST_SCORES, SCORES
from sadstream.views.web.memory import SIZE

STYLE = "/v1/page.css"
ABOUT = (
    "What a sadstream daemon says, for programs and pages. Fields and events may be added to version 1; nothing is "
    "renamed, retyped or removed. A score is no diagnosis, and whoever is heard must be told."
)
HEARD = (
    "Server-sent events: `score`, `status`, `episode` as on the wire; `gap` (events that were lost: `missed`), "
    "`restart` (the daemon is a new one), `stale` (nothing came for 11 s); `behind` (this reader lost events: `lost`, "
    "null where nobody knows how many). A comment at least every 10 s. With `Last-Event-ID` all that came after it "
    "is sent first, out of the daemon's memory."
)
STREAM = {"name": "stream", "in": "query", "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,32}$"}}
TIME = "RFC 3339, or an age: 90s, 30m, 1h, 2d"
SECONDS = {"type": "number", "minimum": 0}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "sadstream", "version": __version__, "description": ABOUT},
        "security": [{}, {"token": []}],
        "paths": {
            "/v1/events": {"get": _events()},
            "/v1/state": {"get": _state()},
            "/v1/history": {"get": _history()},
            "/healthz": {"get": _health()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def page() -> str:
    """The document for people, as HTML."""
    whole = document()
    paths = "".join(_path(path, methods["get"]) for path, methods in whole["paths"].items())
    records = "".join(_record(name, schema) for name, schema in whole["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>sadstream, version 1 of the web</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="dark light"><link rel="stylesheet" href="{STYLE}"></head><body><main><h1>sadstream on the web</h1>'
        f'<p>{escape(ABOUT)}</p><p>The same for programs: <a href="/v1/openapi.json">/v1/openapi.json</a>.</p>'
        f"{paths}<h2>What is said</h2>{records}</main></body></html>"
    )


def style() -> bytes:
    """The page's style sheet."""
    return Path(__file__).with_name("page.css").read_bytes()


def _events() -> dict[str, Any]:
    types = {"name": "types", "in": "query", "description": f"some of {','.join(ALL_TYPES)}; default all"}
    replay = {"name": "replay", "in": "query", "description": "first the last so many events of each topic"}
    sound = {"name": "provisional", "in": "query", "description": "1: scores of the sound alone too, before the whole"}
    last = {"name": "Last-Event-ID", "in": "header", "description": "an id as it came; then `replay` does not count"}
    return {
        "summary": "Everything as it comes",
        "description": HEARD,
        "parameters": [
            STREAM,
            types | {"schema": {"type": "string"}},
            replay | {"schema": {"type": "integer", "minimum": 0, "maximum": SIZE, "default": 1}},
            sound | {"schema": {"type": "integer", "enum": [0, 1], "default": 0}},
            last | {"schema": {"type": "string"}},
        ],
        "responses": {
            "200": {"description": "it goes on", "content": {"text/event-stream": {"schema": at_place("Event")}}}
        }
        | _refusals(400),
    }


def _state() -> dict[str, Any]:
    return {
        "summary": "What is true now",
        "description": "The last event of each type of each stream, and whether it is stale; how webhooks stand.",
        "responses": _answer("State") | _refusals(),
    }


def _history() -> dict[str, Any]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_SCORES, "default": SCORES}
    return {
        "summary": "Scores of the past",
        "description": "Out of the journal, oldest first, never words. `next` is where to go on `from`, or null.",
        "parameters": [
            STREAM,
            {"name": "from", "in": "query", "description": TIME, "schema": {"type": "string", "default": "1h"}},
            {"name": "to", "in": "query", "description": f"{TIME}; default now", "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "description": "about so many", "schema": limit},
        ],
        "responses": _answer("History") | _refusals(400, 404, 503),
    }


def _health() -> dict[str, Any]:
    return {
        "summary": "Is anything heard?",
        "description": "200 while at least one stream is heard (neither deaf, paused nor silent), else 503; one line.",
        "responses": {
            "200": {"description": "something is heard", "content": {"text/plain": {"schema": {"type": "string"}}}}
        }
        | _refusals(503),
    }


def _answer(name: str) -> dict[str, Any]:
    return {"200": {"description": name, "content": {"application/json": {"schema": at_place(name)}}}}


def _refusals(*more: int) -> dict[str, Any]:
    why = {
        400: "a parameter that cannot be",
        401: "no token",
        403: "another user of this machine, or an origin that is not let in",
        404: "no journal",
        421: "a Host that is not ours",
        503: "not now; one line says why",
    }
    return {
        str(code): {"description": why[code], "content": {"text/plain": {"schema": {"type": "string"}}}}
        for code in sorted({401, 403, 421, *more})
    }


def _schemas() -> dict[str, Any]:
    """What is said, and what is made of it."""
    own = {
        "Event": {"oneOf": [at_place(name) for name in (*EVENTS, *FINDINGS, "Behind")]},
        "History": _object(
            v={"const": 1},
            scores={"type": "array", "items": at_place("Score")},
            next={"type": ["string", "null"], "description": "RFC 3339; where to go on `from`"},
        ),
        "State": _object(
            v={"const": 1},
            version={"type": "string"},
            time={"type": "string", "format": "date-time"},
            streams={"type": "array", "items": at_place("Stream")},
            webhooks={"type": "array", "items": at_place("Webhook")},
        ),
        "Stream": _object(
            stream={"type": "string"},
            heard={"type": "boolean", "description": "it is there, and somebody could be heard"},
            stale={"type": "boolean", "description": "nothing came for 11 s"},
            silent_s=SECONDS,
            lost=COUNT | {"description": "events on the wire since this server began"},
            restarts=COUNT,
            **{name.lower(): {"oneOf": [at_place(name), {"type": "null"}]} for name in EVENTS},
        ),
        "Webhook": _object(
            to={"type": "string"},
            delivered=COUNT,
            waiting=COUNT,
            lost=COUNT,
            trouble={"type": ["string", "null"]},
        ),
    }
    return record_schemas() | own


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _path(path: str, method: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th><code>{escape(one['name'])}</code></th><td>{escape(one.get('description', ''))}</td></tr>"
        for one in method.get("parameters", ())
    )
    codes = "".join(
        f"<tr><th>{code}</th><td>{escape(answer['description'])}</td></tr>"
        for code, answer in method["responses"].items()
    )
    return (
        f"<h2><code>GET {escape(path)}</code></h2><p>{escape(method['summary'])}. {escape(method['description'])}</p>"
        f"<table>{rows}{codes}</table>"
    )


def _record(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th><code>{escape(field)}</code></th><td>{escape(_kind(one))}</td></tr>"
        for field, one in schema.get("properties", {}).items()
    )
    return f"<h3>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p><table>{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A property's type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return " or ".join(_kind(one) for one in schema[word])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type", "")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return ", ".join(part for part in (words, schema.get("description", "")) if part)
