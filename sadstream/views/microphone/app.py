"""The page, its files, and the WebSocket that takes sound; nothing else is let in, and nothing is kept."""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sadstream.audio.sources.browser import ALIVE, MESSAGE_BYTES
from sadstream.base.samples import SAMPLE_RATE
from sadstream.views import dashboard
from sadstream.views.microphone.intake import Peer, Refusal, StreamIntake
from sadstream.views.web.access.guard import Guard, Owner
from sadstream.views.web.access.peer import owner
from sadstream.views.web.options import Options

PAGES = Path(__file__).parent / "pages"
SHARED = Path(dashboard.__file__).parent / "pages"  # the look is the dashboard's
SHARED_FILES = ("style.css", "icon.svg", "words.js")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FEATURES = "camera=(), microphone=(self), geolocation=()"
FRAME_MS = 100  # that the page sends
STOP = {"type": "stop"}
UNKNOWN, UNREADABLE = 4404, 1003  # close codes
LONGEST_TEXT = 200


def application(
    options: Options,
    intakes: Mapping[str, StreamIntake],
    control: socket.socket,
    ended: Callable[[], None] = lambda: None,
    who: Owner = owner,
) -> Guard:
    """The whole of it as an ASGI application. ended: called when the daemon is gone."""
    files = read_files()

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(control, _hear_daemon, control, intakes, ended)
        for intake in intakes.values():
            loop.add_reader(intake.line, _hear_line, intake)
        yield
        for one in (control, *(intake.line for intake in intakes.values())):
            loop.remove_reader(one)

    inner = Starlette(
        lifespan=living, routes=[*(Route(path, _file) for path in files), WebSocketRoute("/v1/audio", _audio)]
    )
    inner.router.redirect_slashes = False  # a page has one address
    inner.state.files = files
    inner.state.intakes = intakes
    inner.state.endpoint = options.endpoint
    return Guard(inner, options, secrets.token_urlsafe(32), who, FEATURES)


def read_files() -> dict[str, tuple[bytes, str]]:
    """Each path of a file that the page is made of, with content and type."""
    found = {f"/pages/{name}": SHARED / name for name in SHARED_FILES}
    found |= {f"/pages/{file.name}": file for file in PAGES.iterdir() if file.suffix in TYPES}
    found["/"] = PAGES / "index.html"
    return {path: (file.read_bytes(), TYPES[file.suffix]) for path, file in found.items()}


def _hear_daemon(control: socket.socket, intakes: Mapping[str, StreamIntake], ended: Callable[[], None]) -> None:
    message = _received(control)
    if message == b"":
        asyncio.get_running_loop().remove_reader(control)
        ended()
    elif message is not None:
        event = json.loads(message)
        intakes[event["stream"]].hear(event, message.decode())
        with suppress(OSError):
            control.send(ALIVE, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _hear_line(intake: StreamIntake) -> None:
    if message := _received(intake.line):
        intake.obey(message)


def _received(line: socket.socket) -> bytes | None:
    """A message, nothing at the end, None if there is none now."""
    try:
        return line.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


async def _file(request: Request) -> Response:
    content, media_type = request.app.state.files[request.url.path]
    return Response(content, media_type=media_type)


async def _audio(connection: WebSocket) -> None:
    intakes: Mapping[str, StreamIntake] = connection.app.state.intakes
    await connection.accept()
    name = connection.query_params.get("stream", next(iter(intakes)))
    intake = intakes.get(name)
    if intake is None:
        await connection.close(UNKNOWN, f"no such stream here; expected one of {', '.join(intakes)}"[:120])
        return
    awake = asyncio.Event()
    peer = Peer(connection.client.host if connection.client else "somebody", awake.set)
    peer.tell(_hello(name, connection))
    intake.join(peer)
    telling = asyncio.create_task(_tell(connection, peer, awake))
    try:
        await _take(connection, intake, peer)
    finally:
        intake.peers.discard(peer)
        intake.leave(peer, "is gone")
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def _hello(name: str, connection: WebSocket) -> str:
    state = connection.app.state
    what = {"rate": SAMPLE_RATE, "bits": 16, "channels": 1, "frame_ms": FRAME_MS}
    return json.dumps(
        {"v": 1, "type": "hello", "stream": name, "streams": list(state.intakes), "endpoint": state.endpoint} | what
    )


async def _take(connection: WebSocket, intake: StreamIntake, peer: Peer) -> None:
    """All that it sends, until it goes."""
    while (message := await connection.receive())["type"] != "websocket.disconnect":
        if (pcm := message.get("bytes")) is not None:
            intake.take(peer, pcm, time.monotonic())
        elif _is_stop(message.get("text") or ""):
            intake.leave(peer, "was stopped")
        else:
            intake.refuse(peer, Refusal(UNREADABLE, 'expected binary frames of sound, or {"type": "stop"}'))


def _is_stop(text: str) -> bool:
    with suppress(ValueError, RecursionError):
        found: Any = json.loads(text) if len(text) <= LONGEST_TEXT else None
        return bool(found == STOP)
    return False


async def _tell(connection: WebSocket, peer: Peer, awake: asyncio.Event) -> None:
    """All that it is to be told, as fast as it reads, until it is refused."""
    with suppress(WebSocketDisconnect, RuntimeError):  # it is gone, which `_take` sees too
        while True:
            await awake.wait()
            awake.clear()
            while peer.waiting:
                match peer.waiting.popleft():
                    case Refusal(code, why):
                        await connection.close(code, why)
                        return
                    case message:
                        await connection.send_text(message)
