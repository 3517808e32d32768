"""`sadstream dashboard`: from options to a page that is served until it is told to stop."""

import errno
import signal
import socket
import sys
from typing import Any

from sadstream.base.errors import BusyError, ConfigError, UnavailableError
from sadstream.views.dashboard.options import Options, check

GRACE_S = 1  # for connections at the end; a page's stream of events never ends by itself
CONNECTIONS = 200


def serve(options: Options, note: str = "") -> None:
    """Serve until SIGINT or SIGTERM; exit codes as everywhere: 69 without the extra, 73 for a port in use, 78.

    note: a line about the endpoint, said once the page can be opened.
    """
    options = check(options)
    try:
        import uvicorn

        from sadstream.views.dashboard.app import application
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        raise UnavailableError(f"dashboard: {library} is missing; pip install 'sadstream[dashboard]'") from None
    bound = _bound(options)
    app: Any = application(options)
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
    print(f"{options.scheme}://{name}:{options.port}/ shows {options.endpoint}", file=sys.stderr, flush=True)
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
