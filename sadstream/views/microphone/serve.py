"""From the daemon's word to a server that lives as long as the daemon."""

import argparse
import signal
import socket
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from sadstream.audio.decoding.child import follow_parent
from sadstream.audio.sources.browser import FAILED, READY
from sadstream.base import logs
from sadstream.base.boundary import one_line
from sadstream.base.errors import ConfigError, SadstreamError, UnavailableError, UsageError
from sadstream.views.microphone.intake import StreamIntake
from sadstream.views.web.options import Options, check, read_token
from sadstream.views.web.serve import address_of, loaded, port_of, server_of

KEYS = {
    "host": "web.microphone_host",
    "port": "web.microphone_port",
    "name": "web.microphone_names",
    "token": "web.microphone_token",
    "tls-cert": "web.microphone_tls_cert",
    "tls-key": "web.microphone_tls_key",
}


def main() -> int:
    """Serve until the daemon is gone; what keeps it from that is told the daemon, or with `--check` standard error."""
    asked = _parser().parse_args()
    logs.set_up()
    control = None if asked.control is None else socket.socket(fileno=asked.control)
    try:
        options = options_of(asked)
        module = loaded("microphone")
        if find_spec("websockets") is None:
            raise UnavailableError("microphone: websockets is missing; in the checkout: pip install '.[web]'")
        if control is not None:
            follow_parent()
            bound = port_of(options)
    except SadstreamError as error:
        said = f"{error.exit_code} {one_line(error)}"
        if control is None:
            print(one_line(error), file=sys.stderr)
        else:
            control.send(FAILED + said.encode())
        return error.exit_code
    if control is None:
        return 0
    # Both reach the whole group, and are the daemon's to decide about.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    intakes = {
        name: StreamIntake(name, socket.socket(fileno=int(number)), asked.free_s)
        for name, _, number in (line.partition("=") for line in asked.line)
    }

    def end() -> None:
        server.should_exit = True

    server = server_of(module.application(options, intakes, control, end), options, "websockets-sansio")
    with suppress(OSError):
        control.send(READY + f"{address_of(options)}/".encode())
    server.run(sockets=[bound])
    return 0


def options_of(asked: argparse.Namespace) -> Options:
    """Who may send, from where, checked; ConfigError names the key of what cannot be."""
    try:
        return check(
            Options(
                endpoint=asked.endpoint,
                host=asked.host,
                port=asked.port,
                names=tuple(asked.name),
                token=None if asked.token is None else read_token(asked.token),
                certificate=asked.tls_cert,
                private_key=asked.tls_key,
                keys=KEYS,
            )
        )
    except UsageError as error:
        raise ConfigError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sadstream.views.microphone", description="a page that is a microphone")
    parser.add_argument("--control", type=int, default=None, help="descriptor: events in, how it started out")
    parser.add_argument("--line", action="append", default=[], metavar="STREAM=DESCRIPTOR", help="sound out")
    parser.add_argument("--check", action="store_true", help="say whether it could be started, and end")
    parser.add_argument("--endpoint", required=True, help="of the daemon, to be shown")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", action="append", default=[], help="what browsers call this machine")
    parser.add_argument("--token", type=Path, default=None, help="file with the token that lets in")
    parser.add_argument("--tls-cert", type=Path, default=None)
    parser.add_argument("--tls-key", type=Path, default=None)
    parser.add_argument("--free-s", type=float, default=1.5, help="a sender silent for so long makes room")
    return parser
