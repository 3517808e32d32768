"""From options to a server that goes on until it is told to stop."""

import errno
import signal
import socket
import sys
from importlib import import_module
from typing import Any, Literal

from sadstream.base.errors import BusyError, ConfigError, UnavailableError
from sadstream.views.web.options import Options, check

Service = Literal["dashboard", "web"]
GRACE_S = 1  # for connections at the end; a page's stream of events never ends by itself
CONNECTIONS = 200


def serve(options: Options, what: Service, note: str = "") -> None:
    """Serve until SIGINT or SIGTERM; exit codes as everywhere: 69 without the extra, 73 for a port in use, 78.

    note: a line about the endpoint, said once it can be asked.
    """
    options = check(options)
    try:
        import uvicorn

        module = import_module(f"sadstream.views.{what}.app")
        if options.webhooks:
            import_module("httpx")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        raise UnavailableError(f"{what}: {library} is missing; in the checkout: pip install '.[{what}]'") from None
    bound = _bound(options)
    app: Any = module.application(options)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            ws="none",
            lifespan="on",
            proxy_headers=False,
            ssl_certfile=None if options.certificate is None else str(options.certificate),
            ssl_keyfile=None if options.private_key is None else str(options.private_key),
        )
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # what uvicorn raises again once it has stopped
    name = options.names[0] if options.names else options.host
    path = "/" if what == "dashboard" else "/v1/"
    print(f"{options.scheme}://{name}:{options.port}{path} shows {options.endpoint}", file=sys.stderr, flush=True)
    if note:
        print(note, file=sys.stderr, flush=True)
    server.run(sockets=[bound])


def _bound(options: Options) -> socket.socket:
    """The port, ours; BusyError where it is somebody else's."""
    try:
        family, _, _, _, where = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(128)
    except socket.gaierror as error:
        raise ConfigError(f"--host {options.host}: no such host ({error.strerror}); expected an address") from None
    except OSError as error:
        where_text = f"{options.host}:{options.port}"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"{where_text}: in use by another program; choose another --port") from None
        raise ConfigError(f"{where_text}: cannot be bound: {error.strerror}; choose --host and --port") from None
    bound.setblocking(False)
    return bound
