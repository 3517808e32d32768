"""The pages and what they ask for, each a route; nothing here reaches the daemon but `pause` and `resume`."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sadstream import __version__
from sadstream.client import subscribe
from sadstream.config import load
from sadstream.control import DaemonReport, Word, ask
from sadstream.dashboard.feed import Feed
from sadstream.dashboard.guard import Guard, Owner
from sadstream.dashboard.heat import Kind, heat, zone_of
from sadstream.dashboard.options import Options
from sadstream.dashboard.past import Past, Table
from sadstream.dashboard.peer import owner
from sadstream.dashboard.point import TradeOff, trade_off
from sadstream.dashboard.zoom import zoom
from sadstream.errors import SadstreamError, UnavailableError

PAGES = Path(__file__).parent / "pages"
REPLAY = 500  # events of each topic, asked of the daemon's memory at the start
ASK_S = 1.0  # the daemon is asked how it is at most this often, however many look
FURTHEST_S = 4e9  # a Unix time beyond it is no time


def chart_library() -> Path:
    """The folder with uPlot's two files, as a Python package carries them; UnavailableError without it."""
    found = find_spec("uplot")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / "static" / "uPlot.iife.js").exists():
            return Path(folder) / "static"
    raise UnavailableError("dashboard: uplot is missing; pip install 'sadstream[dashboard]'")


class Desk:
    """What the routes share: the feed, the past, the daemon's last answer."""

    def __init__(self, options: Options, ask_daemon: Callable[[str, Word], DaemonReport] = ask) -> None:
        config = load(options.config)
        journal = options.journal or (Path(config.journal.path) if config.journal.path else None)
        self.options = options
        self.feed = Feed(options.words)
        self.past = None if journal is None else Past(journal)
        self.card = trade_off(config)
        self.keep_days = config.journal.keep_days
        self._ask = ask_daemon
        self._reading = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._asked_s = -math.inf
        self._answer: DaemonReport | None = None

    async def table(self, stream: str | None) -> Table:
        """The journal as it is now; HTTPException 404 without one, 503 for one that cannot be read."""
        if self.past is None:
            raise HTTPException(404, "No journal: name one with --journal, or [journal] path in --config.")
        try:
            async with self._reading:
                table = await run_in_threadpool(self.past.table)
        except SadstreamError as error:
            raise HTTPException(503, str(error)) from None
        return table if stream is None else table.of(stream)

    async def tell(self, word: Word) -> DaemonReport | None:
        """The daemon's answer, or None where its control socket does not answer us; `status` may be a second old."""
        if not self.options.can_pause:
            return None
        async with self._asking:
            if word != "status" or time.monotonic() - self._asked_s > ASK_S:
                try:
                    self._answer = await run_in_threadpool(self._ask, self.options.endpoint, word)
                except UnavailableError:
                    self._answer = None
                self._asked_s = time.monotonic()
            return self._answer


def application(
    options: Options,
    who: Owner = owner,
    ask_daemon: Callable[[str, Word], DaemonReport] = ask,
    follow: bool = True,
) -> Guard:
    """The whole dashboard as an ASGI application, subscribed to its daemon while it lives."""
    desk = Desk(options, ask_daemon)
    library = chart_library()

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        said = subscribe(options.endpoint, replay=REPLAY, server_key=options.server_key, secret_key=options.secret_key)
        following = asyncio.create_task(desk.feed.follow(aiter(said))) if follow else None
        warming = asyncio.create_task(_warm(desk))
        yield
        for task in filter(None, (following, warming)):
            task.cancel()
        await asyncio.gather(*filter(None, (following, warming)), return_exceptions=True)

    async def state(_: Request) -> Response:
        return JSONResponse(_state(desk, await desk.tell("status"), guard.csrf))

    async def control(request: Request) -> Response:
        word: Word = "pause" if request.url.path == "/api/pause" else "resume"
        report = await desk.tell(word)
        return JSONResponse(_state(desk, report, guard.csrf), status_code=200 if report else 503)

    async def events(_: Request) -> Response:
        return StreamingResponse(desk.feed.lines(), media_type="text/event-stream")

    async def history(request: Request) -> Response:
        table = await desk.table(request.query_params.get("stream"))
        now = time.time()
        since_s = _number(request, "since", now - 86_400.0)
        until_s = _number(request, "until", now)
        points = int(_number(request, "points", 1000.0))
        span = await run_in_threadpool(zoom, table, since_s, until_s, points)
        return JSONResponse({**asdict(span), "streams": table.streams, "oldest_s": _first(table)})

    async def hot(request: Request) -> Response:
        table = await desk.table(request.query_params.get("stream"))
        try:
            day = date.fromisoformat(request.query_params.get("day", ""))
            zone = zone_of(request.query_params.get("zone", "UTC"))
            kind: Kind = "day" if request.query_params.get("kind") == "day" else "week"
            found = await run_in_threadpool(heat, table, kind, day, zone)
        except (SadstreamError, ValueError, OverflowError) as error:
            raise HTTPException(400, str(error)) from None
        return JSONResponse(asdict(found))

    async def library_file(request: Request) -> Response:
        name = {"/lib/uplot.js": "uPlot.iife.js", "/lib/uplot.css": "uPlot.min.css"}[request.url.path]
        return FileResponse(library / name)

    async def front(_: Request) -> Response:
        return FileResponse(PAGES / "index.html")

    inner = Starlette(
        lifespan=living,
        routes=[
            Route("/", front),
            Route("/events", events),
            Route("/api/state", state),
            Route("/api/history", history),
            Route("/api/heat", hot),
            Route("/api/pause", control, methods=["POST"]),
            Route("/api/resume", control, methods=["POST"]),
            Route("/lib/uplot.js", library_file),
            Route("/lib/uplot.css", library_file),
            Mount("/pages", StaticFiles(directory=PAGES)),
        ],
    )
    guard = Guard(inner, options, who)
    return guard


async def _warm(desk: Desk) -> None:
    """Read the journal before anybody asks; what is wrong with it is said to whoever asks."""
    if desk.past is not None:
        try:
            await desk.table(None)
        except HTTPException:
            return


def _state(desk: Desk, report: DaemonReport | None, csrf: str) -> dict[str, Any]:
    """What the page says of daemon and privacy beside the events."""
    card: TradeOff | None = desk.card
    return {
        "version": __version__,
        "csrf": csrf,
        "endpoint": desk.options.endpoint,
        "page_is_local": desk.options.is_local,
        "words_shown": desk.options.words,
        "words_sent": report.words if report else desk.feed.words_sent,
        "journal": desk.past is not None,
        "daemon": None if report is None else json.loads(report.model_dump_json()),
        "can_pause": report is not None,
        "why_not": "" if report else _why_not(desk.options),
        "trade_off": None if card is None else asdict(card),
    }


def _why_not(options: Options) -> str:
    if not options.can_pause:
        return "The daemon is on another machine; pause it there."
    return "Its control socket does not answer: not running, another user's, or a fake."


def _first(table: Table) -> float | None:
    return float(table.time_s[0]) if len(table.time_s) else None


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        raise HTTPException(400, f"{name}: expected a number") from None
    if not math.isfinite(value) or abs(value) > FURTHEST_S:
        raise HTTPException(400, f"{name}: expected a number that is a time or a count")
    return value
