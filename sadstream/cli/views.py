"""The views of a daemon's events: `sadstream watch`, `sadstream dashboard`, `sadstream web`, `sadstream mqtt`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sadstream.base import logs
from sadstream.cli.options import EndpointArgument, EndpointOption, one_endpoint
from sadstream.events import DEFAULT_ENDPOINT

ServerKeyOption = Annotated[str | None, typer.Option("--server-key", help="The daemon's public key, on a network.")]
SecretKeyOption = Annotated[
    Path | None, typer.Option("--key", help="File with our secret key, on a network.", readable=False)
]

# Of the servers.
PortOption = Annotated[int, typer.Option(min=1, max=65_535, help="Of the server.")]
FoundEndpointOption = Annotated[
    str | None,
    typer.Option("--endpoint", help="Of the daemon; default the configuration's, or the one that runs here."),
]
DaemonConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of the daemon.", readable=False)]
JournalOption = Annotated[Path | None, typer.Option(help="The file; default the configuration's.", readable=False)]
WordsOption = Annotated[bool, typer.Option("--words", help="Pass on words, where the daemon publishes them.")]
HostOption = Annotated[str, typer.Option(help="Another than this machine needs the next three.")]
TokenOption = Annotated[Path | None, typer.Option(help="File with the token that lets in.", readable=False)]
CertificateOption = Annotated[Path | None, typer.Option(help="File with the certificate, PEM.", readable=False)]
PrivateKeyOption = Annotated[Path | None, typer.Option(help="File with its key, PEM.", readable=False)]
NameOption = Annotated[list[str] | None, typer.Option(help="What browsers call this machine.")]
OriginOption = Annotated[
    list[str] | None, typer.Option(help="Of pages elsewhere that may ask for /v1, exactly: https://app.example.")
]


def found_endpoint(command: str) -> str:
    """Where the daemon that runs here publishes; where none runs yet, said on standard error, the usual one."""
    endpoint, note = _endpoint_and_note(command)
    if note:
        logs.note(note)
    return endpoint


def answering_endpoint(command: str, named: str | None) -> str:
    """The endpoint that was named, or the daemon's that runs here; where nobody answers, said on standard error."""
    if named is None:
        return found_endpoint(command)
    from sadstream.client import running

    if not running.answers(named):
        logs.note(f"sadstream {command}: {named}: nobody publishes there yet; waiting")
    return named


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
    bare: EndpointArgument = None,
    endpoint: EndpointOption = None,
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
    endpoint = one_endpoint(bare, endpoint) or found_endpoint("watch")
    said = subscribe(endpoint, stream=stream, replay=200, provisional=True, server_key=server_key, secret_key=key)
    view(said, endpoint, noted)


def dashboard(
    port: PortOption = 8750,
    endpoint: FoundEndpointOption = None,
    config: DaemonConfigOption = None,
    journal: JournalOption = None,
    words: WordsOption = False,
    server_key: ServerKeyOption = None,
    key: SecretKeyOption = None,
    host: HostOption = "127.0.0.1",
    token: TokenOption = None,
    tls_cert: CertificateOption = None,
    tls_key: PrivateKeyOption = None,
    name: NameOption = None,
    origin: OriginOption = None,
) -> None:
    """A web page of what a daemon says: live, and its past out of the journal."""
    from sadstream.config import load
    from sadstream.views.web.options import Options, read_token
    from sadstream.views.web.serve import serve

    found, note = _served_endpoint("dashboard", endpoint, config)
    serve(
        Options(
            endpoint=found,
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
            origins=(*(origin or ()), *load(config).web.origins),
        ),
        "dashboard",
        note,
    )


def web(
    port: PortOption = 8751,
    endpoint: FoundEndpointOption = None,
    config: DaemonConfigOption = None,
    journal: JournalOption = None,
    words: WordsOption = False,
    server_key: ServerKeyOption = None,
    key: SecretKeyOption = None,
    host: HostOption = "127.0.0.1",
    token: TokenOption = None,
    tls_cert: CertificateOption = None,
    tls_key: PrivateKeyOption = None,
    name: NameOption = None,
    origin: OriginOption = None,
    webhook: Annotated[
        list[str] | None, typer.Option(help="URL that episodes are posted to; https, or this machine.")
    ] = None,
    webhook_secret_file: Annotated[
        Path | None, typer.Option(help="File with the secret that signs what is posted.", readable=False)
    ] = None,
) -> None:
    """Events, state and history for programs and pages: server-sent events, JSON, webhooks."""
    from sadstream.config import load
    from sadstream.views.web.options import Options, read_token
    from sadstream.views.web.serve import serve

    logs.set_up()
    wanted = load(config).web
    secret_file = webhook_secret_file or (wanted.webhook_secret_file and Path(wanted.webhook_secret_file))
    found, note = _served_endpoint("web", endpoint, config)
    serve(
        Options(
            endpoint=found,
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
            origins=(*(origin or ()), *wanted.origins),
            webhooks=(*(webhook or ()), *wanted.webhooks),
            webhook_secret=read_token(secret_file, "webhook secret").encode() if secret_file else None,
        ),
        "web",
        note,
    )


def _served_endpoint(command: str, endpoint: str | None, config: Path | None) -> tuple[str, str]:
    """What was named, else what the configuration or its unit says, else the daemon that runs here; and a note."""
    from sadstream.client import running
    from sadstream.config import load

    if config is not None:  # a unit's command line says where it publishes, not its file
        endpoint = endpoint or running.service_endpoint(config) or load(config).publish.endpoint
    return (endpoint, "") if endpoint else _endpoint_and_note(command)


def mqtt(
    broker: Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="Where the MQTT broker is.")] = None,
    username: Annotated[str | None, typer.Option(help="As whom; default nobody in particular.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File with the password, mode 600.", readable=False)
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="File with the authority of the broker's TLS, PEM.", readable=False)
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Without TLS to another machine; others there can read all of it.")
    ] = False,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]ENDPOINT", help="Of a daemon, again for each; default the one that runs here."),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The first part of what is published; default sadstream.")] = None,
    discovery: Annotated[
        str | None, typer.Option(help="Where Home Assistant looks for devices; default homeassistant.")
    ] = None,
    words: WordsOption = False,
    no_pause: Annotated[bool, typer.Option("--no-pause", help="No switch that pauses and resumes.")] = False,
    server_key: ServerKeyOption = None,
    key: SecretKeyOption = None,
    config: DaemonConfigOption = None,
) -> None:
    """Be a device of Home Assistant: scores, mood, state, episodes and a switch, through an MQTT broker."""
    import socket

    from sadstream.config.loading import configured
    from sadstream.daemon.supervision.systemd import Notifier
    from sadstream.views.mqtt.bridge import carry
    from sadstream.views.mqtt.options import bridge_options

    given = {
        "broker": broker,
        "username": username,
        "password_file": _text(password_file),
        "tls_ca": _text(tls_ca),
        "insecure": insecure or None,
        "endpoints": tuple(endpoint) if endpoint else None,
        "server_key": server_key,
        "secret_key": _text(key),
        "topic": topic,
        "discovery": discovery,
        "words": words or None,
        "pause": False if no_pause else None,
    }
    wanted = configured(config, {"mqtt": given}).mqtt
    found, note = ("", "") if wanted.endpoints else _served_endpoint("mqtt", None, config)
    options = bridge_options(wanted, wanted.endpoints or (found,), socket.gethostname())
    if note:
        print(note, file=sys.stderr, flush=True)
    logs.set_up()
    carry(options, Notifier())


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
