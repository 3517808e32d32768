"""The contract's routes, and the server that has nothing else; nothing here reaches the daemon."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sadstream.base.errors import MissingFileError, SadstreamError
from sadstream.client import ALL_TYPES, STREAM_NAME, Subscription, subscribe
from sadstream.views.history import moment_s
from sadstream.views.web.access.guard import Guard, Owner
from sadstream.views.web.access.peer import owner
from sadstream.views.web.contract.document import STYLE, document, page, style
from sadstream.views.web.contract.scores import MOST_SCORES, SCORES, scores_page
from sadstream.views.web.memory import SIZE, FeedFilter
from sadstream.views.web.options import Options
from sadstream.views.web.state import WebState

log = logging.getLogger("sadstream")

REPLAY = SIZE  # events of each topic, asked of the daemon's memory at the start
DEFAULT_SINCE = "1h"


def application(options: Options, who: Owner = owner, follow: bool = True) -> Guard:
    """The contract as an ASGI application, subscribed to its daemon while it lives; raises as `subscription`."""
    state, said = WebState(options), subscription(options) if follow else None

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        async with following(said, state, *(webhook.deliver() for webhook in state.webhooks)):
            yield

    inner = Starlette(lifespan=living, routes=routes())
    inner.router.redirect_slashes = False  # a page has one address
    inner.state.web = state
    return Guard(inner, options, who=who)


def routes() -> list[Route]:
    """What `state.web` of an application is asked by."""
    return [
        Route("/v1/events", _events),
        Route("/v1/state", _state),
        Route("/v1/history", _history),
        Route("/v1/openapi.json", _document),
        Route("/v1/", _page),
        Route(STYLE, _style),
        Route("/healthz", _health),
    ]


def subscription(options: Options) -> Subscription:
    """All that a server's daemon says; UsageError, MissingFileError or ConfigError for keys that are none."""
    return subscribe(
        options.endpoint,
        replay=REPLAY,
        provisional=True,
        server_key=options.server_key,
        secret_key=options.secret_key,
    )


@asynccontextmanager
async def following(
    said: Subscription | None, state: WebState, *others: Coroutine[Any, Any, None]
) -> AsyncIterator[None]:
    """Take what is said, and do the others, while this lasts."""
    tasks = [asyncio.create_task(other) for other in others]
    if said is not None:
        tasks.append(asyncio.create_task(state.follow(aiter(said))))
    for task in tasks:
        task.add_done_callback(_ended)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("web: a bug: %s; nothing more comes of it, start it again", type(error).__name__)


def _web(request: Request) -> WebState:
    state: WebState = request.app.state.web
    return state


async def _events(request: Request) -> Response:
    provisional = _count(request, "provisional", 0, range(2)) == 1
    wanted = FeedFilter(_stream(request), _names(request), provisional)
    last_id = request.headers.get("last-event-id")
    count = _count(request, "replay", 1, range(SIZE + 1))
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    lines = _web(request).feed.events(wanted, last_id, count)
    return StreamingResponse(lines, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _state(request: Request) -> Response:
    return JSONResponse(_web(request).latest(time.monotonic()))


async def _health(request: Request) -> Response:
    health = _web(request).feed.latest.health(time.monotonic())
    return PlainTextResponse(f"{health.line}\n", 200 if health.good else 503)


async def _history(request: Request) -> Response:
    journal = _web(request).journal
    if journal is None:
        raise HTTPException(404, "No journal: name one with --journal, or [journal] path in --config.")
    stream, limit = _stream(request), _count(request, "limit", SCORES, range(1, MOST_SCORES + 1))
    now_s = time.time()
    try:
        since_s = moment_s(request.query_params.get("from", DEFAULT_SINCE), now_s)
        until_s = moment_s(request.query_params["to"], now_s) if "to" in request.query_params else now_s
    except SadstreamError as error:
        raise HTTPException(400, f"from, to: {error}") from None
    try:
        found = await run_in_threadpool(scores_page, journal, since_s, until_s, stream, limit)
    except SadstreamError as error:
        raise HTTPException(404 if isinstance(error, MissingFileError) else 503, str(error)) from None
    return Response(found, media_type="application/json")


async def _document(_: Request) -> Response:
    return JSONResponse(document())


async def _page(_: Request) -> Response:
    return Response(page(), media_type="text/html")


async def _style(_: Request) -> Response:
    return Response(style(), media_type="text/css")


def _stream(request: Request) -> str | None:
    stream = request.query_params.get("stream")
    if stream is not None and STREAM_NAME.fullmatch(stream) is None:
        raise HTTPException(400, "stream: expected lower case letters, digits and dashes, at most 32")
    return stream


def _names(request: Request) -> frozenset[str] | None:
    asked = request.query_params.get("types")
    if asked is None:
        return None
    names = frozenset(asked.split(","))
    if not names <= set(ALL_TYPES):
        raise HTTPException(400, f"types: expected some of {','.join(ALL_TYPES)}")
    return names | {"behind"}  # whoever loses something is told


def _count(request: Request, name: str, default: int, numbers: range) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) in numbers):
        raise HTTPException(400, f"{name}: expected a whole number from {numbers[0]} to {numbers[-1]}")
    return int(text)
