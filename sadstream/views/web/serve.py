"""From options to a server that goes on until it is told to stop."""

import errno
import logging
import signal
import socket
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from sadstream.base.errors import BusyError, ConfigError, UnavailableError
from sadstream.views.web.options import Options, check

if TYPE_CHECKING:
    import uvicorn

Service = Literal["dashboard", "web", "microphone"]
Sockets = Literal["none", "websockets-sansio"]
GRACE_S = 1  # for connections at the end; a page's stream of events never ends by itself
CONNECTIONS = 200
MESSAGE_BYTES = 65_536  # of one WebSocket message: 2 s of sound


def serve(options: Options, what: Service, note: str = "") -> None:
    """Serve until SIGINT or SIGTERM; exit codes as everywhere: 69 without the extra, 73 for a port in use, 78.

    note: a line about the endpoint, said once it can be asked.
    """
    options = check(options)
    module = loaded(what, "httpx") if options.webhooks else loaded(what)
    bound = port_of(options)
    server = server_of(module.application(options), options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # what uvicorn raises again once it has stopped
    path = "/" if what == "dashboard" else "/v1/"
    print(f"{address_of(options)}{path} shows {options.endpoint}", file=sys.stderr, flush=True)
    if note:
        print(note, file=sys.stderr, flush=True)
    server.run(sockets=[bound])


def loaded(what: Service, *libraries: str) -> Any:
    """The application's module, once all that it needs is here; UnavailableError names what is missing."""
    try:
        for library in ("uvicorn", *libraries):
            import_module(library)
        return import_module(f"sadstream.views.{what}.app")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        extra = "dashboard" if what == "dashboard" else "web"
        raise UnavailableError(f"{what}: {library} is missing; in the checkout: pip install '.[{extra}]'") from None


def address_of(options: Options) -> str:
    """Where a browser finds it."""
    return f"{options.scheme}://{options.names[0] if options.names else options.host}:{options.port}"


def server_of(app: Any, options: Options, sockets: Sockets = "none") -> "uvicorn.Server":
    """The server, which speaks TLS where there is a certificate, and WebSockets where asked to."""
    import uvicorn

    # It says so (0.54) of each WebSocket that is refused with a status, as ASGI allows.
    logging.getLogger("uvicorn.error").addFilter(lambda said: "without completing handshake" not in str(said.msg))
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            ws=sockets,
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,  # sound does not get smaller by it
            lifespan="on",
            proxy_headers=False,
            ssl_certfile=None if options.certificate is None else str(options.certificate),
            ssl_keyfile=None if options.private_key is None else str(options.private_key),
        )
    )


def port_of(options: Options) -> socket.socket:
    """The port, ours; BusyError where it is somebody else's."""
    try:
        family, _, _, _, where = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(128)
    except socket.gaierror as error:
        raise ConfigError(
            f"{options.spelt('host', options.host)}: no such host ({error.strerror}); expected an address"
        ) from None
    except OSError as error:
        where_text = f"{options.host}:{options.port}"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(
                f"{where_text}: in use by another program; choose another {options.spelt('port')}"
            ) from None
        raise ConfigError(
            f"{where_text}: cannot be bound: {error.strerror}; choose {options.spelt('host')} and "
            f"{options.spelt('port')}"
        ) from None
    bound.setblocking(False)
    return bound
