"""Who may ask, and what a browser may do with the answer: checked before any page is looked up."""

import asyncio
import hashlib
import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from sadstream.config.web_address import is_loopback
from sadstream.views.web.access.peer import owner
from sadstream.views.web.options import Options, same

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Owner = Callable[[tuple[str, int], tuple[str, int]], int | None]

# Nothing but this server's own files; no inline script or style, no evaluation, no frame, no form elsewhere.
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # no-referrer would make the login's Origin null
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
WWW = ((b"www-authenticate", b"Bearer"),)
NO_FEATURES = "camera=(), microphone=(), geolocation=()"  # of the browser, for any page of a server
LONGEST_FORM = 4096  # bytes of a login
WRONG_S = 0.5  # a wrong token costs this long
OPEN_PATHS = (  # what a stranger needs to log in, or to write a client
    "/login", "/pages/login.html", "/pages/style.css", "/pages/icon.svg", "/v1/", "/v1/page.css", "/v1/openapi.json"
)  # fmt: skip
CONTRACT = ("/v1/", "/healthz")  # what pages of other origins may be let into
PREFLIGHT = (
    (b"access-control-allow-methods", b"GET"),
    (b"access-control-allow-headers", b"Authorization, Last-Event-ID"),
    (b"access-control-allow-private-network", b"true"),
    (b"access-control-max-age", b"600"),
)


class Guard:
    """An ASGI application around another: host, user or token, same origin for what changes anything, headers.

    csrf: the word that only our own pages can read; None for a server that has no pages, and so no login.
    features: what its pages may use of the browser, as the header Permissions-Policy has it.
    """

    def __init__(
        self, inner: App, options: Options, csrf: str | None = None, who: Owner = owner, features: str = NO_FEATURES
    ) -> None:
        self._inner = inner
        self._options = options
        self._who = who
        self._secret = secrets.token_bytes(32)
        self._csrf = csrf
        self._features = ((b"permissions-policy", features.encode()),)
        prefix = "__Host-" if options.scheme == "https" else ""
        self._cookie = f"{prefix}sadstream-{options.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "websocket":
            await self._let_in(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = self._allowed_origin(scope, headers)
        guarded = _with_headers(send, self._features if origin is None else (*self._features, *_open_to(origin)))
        if headers.get("host", "").lower() not in self._options.hosts:
            await _say(guarded, 421, "Not a name of this server.")
        elif origin is not None and scope["method"] == "OPTIONS":
            await _answer(guarded, 204, PREFLIGHT)
        elif origin is None and not self._is_own(headers.get("origin")) and scope["path"].startswith(CONTRACT):
            await _say(guarded, 403, "Not an origin that may ask; --origin lets one in.")
        elif self._csrf is not None and scope["path"] == "/login" and scope["method"] == "POST":
            await self._log_in(headers, receive, guarded)
        elif not self._knows(scope, headers) and scope["path"] not in OPEN_PATHS:
            await self._turn_away(scope, guarded)
        elif scope["method"] not in ("GET", "HEAD") and not self._means_it(headers):
            await _say(guarded, 403, "Not asked by this server's own page.")
        else:
            await self._inner(scope, receive, guarded)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: a browser lets any page open one to this machine, so its origin must be ours, exactly."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("host", "").lower() not in self._options.hosts:
            await _refuse(scope, receive, send, 421, "Not a name of this server.")
        elif not self._is_own(headers.get("origin")):
            await _refuse(scope, receive, send, 403, "Not this server's own page.")
        elif not self._knows(scope, headers):
            wanted = "its user's alone" if self._options.token is None else "for whoever sends its token"
            await _refuse(scope, receive, send, 401 if self._options.token else 403, f"This server is {wanted}.")
        else:
            await self._inner(scope, receive, send)

    def _knows(self, scope: Scope, headers: dict[str, str]) -> bool:
        """A token, the cookie that a token gave, or, where no token is set, a program of our own user or of root."""
        token = self._options.token
        if token is None:
            client, server = scope.get("client"), scope.get("server")
            if client is None or server is None or not is_loopback(client[0]):
                return False
            return self._who((client[0], client[1]), (server[0], server[1])) in (os.getuid(), 0)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and same(cookie.value, self._session(token))

    def _means_it(self, headers: dict[str, str]) -> bool:
        """Our own page asks: same origin, and the word that only it can read."""
        known = self._csrf is not None and same(headers.get("x-sadstream-csrf", ""), self._csrf)
        return known and self._same_origin(headers)

    def _same_origin(self, headers: dict[str, str]) -> bool:
        site = headers.get("sec-fetch-site", "same-origin")
        return self._is_own(headers.get("origin")) and site in ("same-origin", "none")

    def _is_own(self, origin: str | None) -> bool:
        own = {f"{self._options.scheme}://{host}" for host in self._options.hosts}
        return origin is None or origin.lower() in own

    def _allowed_origin(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """The origin of a page elsewhere that asks for the contract and may."""
        origin = headers.get("origin")
        return origin if origin in self._options.origins and scope["path"].startswith(CONTRACT) else None

    async def _log_in(self, headers: dict[str, str], receive: Receive, send: Send) -> None:
        token = self._options.token
        body = b""
        more = True
        while more and len(body) <= LONGEST_FORM:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        given = parse_qs(body[:LONGEST_FORM].decode("latin-1")).get("token", [""])[0]
        if token is None or not self._same_origin(headers) or not same(given.strip(), token):
            await asyncio.sleep(WRONG_S)
            await _go(send, "/pages/login.html?again")
            return
        secure = "; Secure" if self._options.scheme == "https" else ""
        cookie = f"{self._cookie}={self._session(token)}; Path=/; HttpOnly; SameSite=Strict{secure}"
        await _go(send, "/", (b"set-cookie", cookie.encode()))

    async def _turn_away(self, scope: Scope, send: Send) -> None:
        if self._options.token is None:
            await _say(send, 403, "This server is its user's alone; with --token it lets in whoever knows it.")
        elif scope["path"] == "/" and self._csrf is not None:
            await _go(send, "/pages/login.html")
        else:
            await _say(send, 401, "Log in first, or send the token: Authorization: Bearer TOKEN.", WWW)

    def _session(self, token: str) -> str:
        """What a logged-in browser shows; it ends with this process."""
        return hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()


def _with_headers(send: Send, more: Headers) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in HEADERS}
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in own]
            message = {**message, "headers": [*kept, *HEADERS, *more]}
        await send(message)

    return sending


def _open_to(origin: str) -> Headers:
    """What lets a page of that origin read the answer; a cookie is never asked for."""
    return ((b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin"))


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    """No WebSocket, and why, where the server can say it."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    headers = [*HEADERS, (b"content-type", b"text/plain; charset=utf-8"), *(WWW if status == 401 else ())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": f"{text}\n".encode()})


async def _say(send: Send, status: int, text: str, headers: Headers = ()) -> None:
    await _answer(send, status, ((b"content-type", b"text/plain; charset=utf-8"), *headers), f"{text}\n".encode())


async def _answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def _go(send: Send, where: str, *more: tuple[bytes, bytes]) -> None:
    await _answer(send, 303, ((b"location", where.encode()), *more))
