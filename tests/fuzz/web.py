"""The dashboard: bytes at its port, and requests that uvicorn lets through."""

import asyncio
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wire import a_score, a_status

from fuzz import mutate
from fuzz.messages import REPORT
from fuzz.trial import Parts, Trial
from sadstream.events.journal import Journal
from sadstream.views.dashboard.app import application
from sadstream.views.web.options import Options

DOCUMENTED = frozenset({200, 303, 400, 401, 403, 404, 405, 421, 431, 503})
TOKEN = "a-token-that-nobody-guesses"
READ_S = 5.0


def requests(port: int) -> list[bytes]:
    """What a browser sends, and what a script does."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    own = f"{host}Authorization: Bearer {TOKEN}\r\n"
    now = time.time()
    return [
        text.encode()
        for text in (
            f"GET / HTTP/1.1\r\n{own}Accept: */*\r\n\r\n",
            f"GET /api/state HTTP/1.1\r\n{own}\r\n",
            f"GET /api/history?since={now - 3600:.0f}&until={now:.0f}&points=500 HTTP/1.1\r\n{own}\r\n",
            f"GET /api/history?stream=mic HTTP/1.1\r\n{own}\r\n",
            f"GET /api/heat?kind=week&day=2030-01-31&zone=Europe/Paris HTTP/1.1\r\n{own}\r\n",
            f"GET /api/heat?kind=day&day=2030-01-31 HTTP/1.1\r\n{own}\r\n",
            f"GET /events HTTP/1.1\r\n{own}Last-Event-ID: 5\r\nAccept: text/event-stream\r\n\r\n",
            f"GET /v1/events?replay=5&types=score,gap HTTP/1.1\r\n{own}Last-Event-ID: mic.a.score.3~1\r\n\r\n",
            f"GET /v1/history?from=1h&to=2030-01-31T12:00:00Z&limit=5 HTTP/1.1\r\n{own}\r\n",
            f"OPTIONS /v1/state HTTP/1.1\r\n{own}Origin: https://app.example\r\n\r\n",
            f"POST /api/pause HTTP/1.1\r\n{own}Origin: http://127.0.0.1:{port}\r\n"
            "X-Sadstream-CSRF: x\r\nContent-Length: 0\r\n\r\n",
            f"POST /login HTTP/1.1\r\n{host}Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {6 + len(TOKEN)}\r\n\r\ntoken={TOKEN}",
            f"GET /pages/login.html HTTP/1.1\r\n{host}Cookie: sadstream-{port}=x; a=b\r\n\r\n",
            f"HEAD /pages/app.js HTTP/1.1\r\n{own}Range: bytes=0-10\r\nConnection: close\r\n\r\n",
            f"POST /login HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n0\r\n\r\n",
        )
    ]  # fmt: skip


def _journal(folder: Path) -> Path:
    path = folder / "journal.sqlite"
    now = time.time()
    when = [datetime.fromtimestamp(now - 40 * n, UTC).isoformat(timespec="milliseconds")[:-6] + "Z" for n in range(60)]
    writer = Journal(path, keep_days=10_000)
    writer.write([replace(a_score(n), time=at) for n, at in enumerate(when)])
    writer.close()
    return path


@contextmanager
def http(folder: Path) -> Iterator[Trial]:
    """A real server on loopback."""
    import uvicorn

    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    options = Options(endpoint=f"ipc://{folder}/pub", port=port, token=TOKEN, journal=_journal(folder))
    app: Any = application(options, ask_daemon=lambda *_: REPORT, follow=False)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="on", ws="none"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    seeds = requests(port)

    def make(rng: random.Random) -> Parts:
        content = rng.choice(seeds)
        if rng.random() < 0.5:
            content = mutate.text(rng, content.decode(), [seed.decode() for seed in seeds])
        else:
            content = mutate.binary(rng, content, seeds, 60)
        at = rng.randrange(len(content) + 1)
        # A login costs half a second where the token is wrong, so that one is tried in a tenth of its cases.
        content = content.replace(b"/login", b"/logic") if rng.random() < 0.9 else content
        return [content[:at], content[at:]]

    def feed(parts: Parts) -> None:
        _told(port, parts)
        status = _told(port, [seeds[1].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
        assert status == 200, f"a good request gets {status}"

    yield Trial([[seed] for seed in seeds], make, feed)
    server.should_exit = True
    server.force_exit = True
    thread.join(10)


def _told(port: int, parts: Parts) -> int | None:
    """The status that this gets; None where the server waits for more, or hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=READ_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            for part in parts:
                client.sendall(part)
        client.settimeout(0.02 if len(parts) > 1 else READ_S)
        try:
            said = client.recv(4096)
        except OSError:
            return None
    if not said:
        return None
    status = int(said.split(b" ", 2)[1])
    assert status in DOCUMENTED, f"status {status}: {said[:200]!r}"
    return status


@contextmanager
def pages(folder: Path) -> Iterator[Trial]:
    """Paths, queries and headers at the application itself: what a browser's odd day, or a scanner, asks."""
    options = Options(endpoint=f"ipc://{folder}/pub", port=8750, token=TOKEN, journal=_journal(folder))
    app = application(options, ask_daemon=lambda *_: REPORT, follow=False)
    inner: Any = app._inner
    for number in range(3):
        inner.state.dashboard.feed.take(a_score(number))
        inner.state.dashboard.feed.take(a_status(number))
    day = datetime.now(UTC).date().isoformat()
    now = time.time()
    queries = [
        ("/api/history", {"since": f"{now - 3600}", "until": f"{now}", "points": "500", "stream": "mic"}),
        ("/api/heat", {"kind": "week", "day": day, "zone": "Europe/Paris"}),
        ("/api/heat", {"kind": "day", "day": day, "zone": "Asia/Tokyo", "stream": "mic"}),
        ("/v1/history", {"from": "1h", "to": "2030-01-31T12:00:00Z", "limit": "5", "stream": "mic"}),
        ("/v1/events", {"replay": "5", "types": "score,gap", "stream": "mic"}), ("/v1/state", {}), ("/healthz", {}),
        ("/api/state", {}), ("/events", {"x": "1"}), ("/", {}), ("/pages/app.js", {}), ("/api/pause", {}),
    ]  # fmt: skip
    headers = [
        ("host", "127.0.0.1:8750"), ("authorization", f"Bearer {TOKEN}"), ("last-event-id", "3"),
        ("origin", "http://127.0.0.1:8750"), ("cookie", "sadstream-8750=abc"), ("x-sadstream-csrf", "x"),
        ("sec-fetch-site", "same-origin"), ("content-length", "0"),
    ]  # fmt: skip
    loop = asyncio.new_event_loop()

    def make(rng: random.Random) -> Parts:
        path, query = rng.choice(queries)
        asked = {k: _odd(rng, v) if rng.random() < 0.4 else v for k, v in query.items() if rng.random() < 0.9}
        text = "&".join(f"{k}={quote(v) if rng.random() < 0.8 else v}" for k, v in asked.items())
        said = [(k, _odd(rng, v) if n > 1 and rng.random() < 0.2 else v) for n, (k, v) in enumerate(headers)]
        if rng.random() < 0.1:
            said = [(k, _odd(rng, v)) for k, v in said]
        method = rng.choice(("GET", "GET", "GET", "POST", "HEAD", "PUT", "\x00"))
        path = _odd(rng, path) if rng.random() < 0.1 else path
        return [part.encode("utf-8", "replace") for part in (method, path, text, json.dumps(said))]

    def feed(parts: Parts) -> None:
        method, path, query = (part.decode("utf-8", "replace") for part in parts[:3])
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(k.encode(), v.encode("latin-1", "replace")) for k, v in json.loads(parts[3])],
            "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8750), "scheme": "http", "http_version": "1.1",
            "root_path": "", "asgi": {"version": "3.0"}, "app": inner, "state": {},
        }  # fmt: skip
        status = loop.run_until_complete(asyncio.wait_for(_asked(app, scope), READ_S))
        assert status in DOCUMENTED, f"status {status}"

    valid = ["GET", "/api/history", "since=1&points=5", json.dumps(headers[:2])]
    yield Trial([[part.encode() for part in valid]], make, feed)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _asked(app: Any, scope: dict[str, Any]) -> int:
    """The status of an answer; a stream of events is left after its first lines."""
    statuses: list[int] = []
    begun, enough = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not begun.is_set():
            begun.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif scope["path"].endswith("/events"):
            enough.set()

    await app(scope, receive, send)
    return statuses[0]


def _odd(rng: random.Random, text: str) -> str:
    return mutate.text(rng, text).decode("utf-8", "replace")
