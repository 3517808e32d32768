"""The views of a daemon's events: `sadstream watch` and `sadstream dashboard`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sadstream.events import DEFAULT_ENDPOINT

EndpointArgument = Annotated[
    str | None, typer.Argument(help="ZeroMQ endpoint of the daemon; default the one that runs here.")
]
ServerKeyOption = Annotated[str | None, typer.Option("--server-key", help="The daemon's public key, on a network.")]
SecretKeyOption = Annotated[
    Path | None, typer.Option("--key", help="File with our secret key, on a network.", readable=False)
]


def found_endpoint(command: str) -> str:
    """Where the daemon that runs here publishes; where none runs yet, said on standard error, the usual one."""
    endpoint, note = _endpoint_and_note(command)
    if note:
        print(note, file=sys.stderr, flush=True)
    return endpoint


def _endpoint_and_note(command: str) -> tuple[str, str]:
    from sadstream.base.errors import UnavailableError
    from sadstream.client import running

    try:
        return running.find(control=False), ""
    except UnavailableError as error:
        if "permission" in str(error):
            raise
        return DEFAULT_ENDPOINT, f"sadstream {command}: {error}; waiting at {DEFAULT_ENDPOINT}"


def watch(
    endpoint: EndpointArgument = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    marks: Annotated[
        Path | None, typer.Option(help="File for the moments that you mark with m; times, never words.", readable=False)
    ] = None,
    server_key: ServerKeyOption = None,
    key: SecretKeyOption = None,
) -> None:
    """Watch a daemon in the terminal: p pauses it, tab shows another stream, m marks a moment, q quits."""
    from sadstream.client import subscribe
    from sadstream.views.watch.live import watch as view
    from sadstream.views.watch.marks import MarksFile

    noted = None if marks is None else MarksFile(marks)
    endpoint = endpoint or found_endpoint("watch")
    said = subscribe(endpoint, stream=stream, replay=200, provisional=True, server_key=server_key, secret_key=key)
    view(said, endpoint, noted)


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the page.")] = 8750,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Of the daemon; default the configuration's, or the one that runs here."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of the daemon.", readable=False)] = None,
    journal: Annotated[Path | None, typer.Option(help="The file; default the configuration's.", readable=False)] = None,
    words: Annotated[bool, typer.Option("--words", help="Show words, where the daemon publishes them.")] = False,
    server_key: ServerKeyOption = None,
    key: SecretKeyOption = None,
    host: Annotated[str, typer.Option(help="Another than this machine needs the next three.")] = "127.0.0.1",
    token: Annotated[
        Path | None, typer.Option(help="File with the token that lets a browser in.", readable=False)
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="File with the certificate, PEM.", readable=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File with its key, PEM.", readable=False)] = None,
    name: Annotated[list[str] | None, typer.Option(help="What browsers call this machine.")] = None,
) -> None:
    """A web page of what a daemon says: live, and its past out of the journal."""
    from sadstream.client import running
    from sadstream.config import load
    from sadstream.views.dashboard.options import Options, read_token
    from sadstream.views.dashboard.serve import serve

    if config is not None:  # a unit's command line says where it publishes, not its file
        endpoint = endpoint or running.service_endpoint(config) or load(config).publish.endpoint
    endpoint, note = (endpoint, "") if endpoint else _endpoint_and_note("dashboard")
    serve(
        Options(
            endpoint=endpoint,
            host=host,
            port=port,
            names=tuple(name or ()),
            token=None if token is None else read_token(token),
            certificate=tls_cert,
            private_key=tls_key,
            words=words,
            journal=journal,
            config=config,
            server_key=server_key,
            secret_key=key,
        ),
        note,
    )
