"""The pages and what they ask for, each a route; nothing here reaches the daemon but `pause` and `resume`."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sadstream.base.errors import MissingFileError, SadstreamError, UnavailableError
from sadstream.events.control import Word, ask
from sadstream.views.dashboard.history.heat import Kind, heat, zone_of
from sadstream.views.dashboard.history.table import ScoreTable
from sadstream.views.dashboard.history.zoom import zoom
from sadstream.views.dashboard.state import Ask, DashboardState
from sadstream.views.web.access.guard import Guard, Owner
from sadstream.views.web.access.peer import owner
from sadstream.views.web.app import following, routes, subscription
from sadstream.views.web.options import Options

PAGES = Path(__file__).parent / "pages"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
LIBRARY = {"/lib/uplot.js": "uPlot.iife.js", "/lib/uplot.css": "uPlot.min.css"}
DAY_S = 86_400.0
POINTS = 1000.0
FURTHEST_S = 4e9  # a Unix time beyond it is no time


def application(options: Options, who: Owner = owner, ask_daemon: Ask = ask, follow: bool = True) -> Guard:
    """The whole dashboard as an ASGI application, subscribed to its daemon while it lives.

    Raises what `subscribe` raises for keys, and UnavailableError without the chart library.
    """
    dashboard = DashboardState(options, ask_daemon)
    files = read_files()
    said = subscription(options) if follow else None

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        async with following(said, dashboard.web, _warm(dashboard)):
            yield

    inner = Starlette(
        lifespan=living,
        routes=[
            *(Route(path, _file) for path in files),
            Route("/events", _events),
            Route("/api/state", _state),
            Route("/api/history", _history),
            Route("/api/heat", _heat),
            Route("/api/pause", _control, methods=["POST"]),
            Route("/api/resume", _control, methods=["POST"]),
            *routes(),
        ],
    )
    inner.router.redirect_slashes = False  # a page has one address
    inner.state.dashboard = dashboard
    inner.state.web = dashboard.web
    inner.state.files = files
    return Guard(inner, options, dashboard.csrf, who)


def read_files() -> dict[str, tuple[bytes, str]]:
    """Each path of a file that the page is made of, with content and type: 250 kB, and no wait for a thread a file."""
    library = chart_library()
    paths = {f"/pages/{file.name}": file for file in PAGES.iterdir() if file.suffix in TYPES}
    paths |= {path: library / name for path, name in LIBRARY.items()} | {"/": PAGES / "index.html"}
    return {path: (file.read_bytes(), TYPES[file.suffix]) for path, file in paths.items()}


def chart_library() -> Path:
    """The folder with uPlot's two files, as a Python package carries them; UnavailableError without it."""
    found = find_spec("uplot")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / "static" / LIBRARY["/lib/uplot.js"]).exists():
            return Path(folder) / "static"
    raise UnavailableError("dashboard: uplot is missing; in the checkout: pip install '.[dashboard]'")


async def _warm(dashboard: DashboardState) -> None:
    """Read the journal before anybody asks; what is wrong with it is said to whoever asks."""
    with suppress(SadstreamError):
        await dashboard.table(None)


def _dashboard(request: Request) -> DashboardState:
    dashboard: DashboardState = request.app.state.dashboard
    return dashboard


async def _file(request: Request) -> Response:
    content, media_type = request.app.state.files[request.url.path]
    return Response(content, media_type=media_type)


async def _events(request: Request) -> Response:
    return StreamingResponse(_dashboard(request).feed.lines(), media_type="text/event-stream")


async def _state(request: Request) -> Response:
    dashboard = _dashboard(request)
    return JSONResponse(dashboard.state(await dashboard.tell("status")))


async def _control(request: Request) -> Response:
    dashboard = _dashboard(request)
    word: Word = "pause" if request.url.path == "/api/pause" else "resume"
    report = await dashboard.tell(word)
    return JSONResponse(dashboard.state(report), status_code=200 if report else 503)


async def _history(request: Request) -> Response:
    table = await _table(request)
    now = time.time()
    since_s = _number(request, "since", now - DAY_S)
    until_s = _number(request, "until", now)
    span = await run_in_threadpool(zoom, table, since_s, until_s, int(_number(request, "points", POINTS)))
    return JSONResponse({**asdict(span), "streams": table.streams})


async def _heat(request: Request) -> Response:
    table = await _table(request)
    asked = request.query_params
    kind: Kind = "day" if asked.get("kind") == "day" else "week"
    try:
        day, zone = date.fromisoformat(asked.get("day", "")), zone_of(asked.get("zone", ""))
        found = await run_in_threadpool(heat, table, kind, day, zone)
    except (SadstreamError, ValueError, OverflowError) as error:
        raise HTTPException(400, str(error)) from None
    return JSONResponse(asdict(found))


async def _table(request: Request) -> ScoreTable:
    """The journal; HTTPException 404 without one, 503 for one that cannot be read."""
    try:
        return await _dashboard(request).table(request.query_params.get("stream"))
    except SadstreamError as error:
        raise HTTPException(404 if isinstance(error, MissingFileError) else 503, str(error)) from None


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        value = math.nan
    if not abs(value) <= FURTHEST_S:
        raise HTTPException(400, f"{name}: expected a number that is a time or a count")
    return value
