"""`sadstream pause`, `resume`, `status` and `sadstream service`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sadstream.events import DEFAULT_ENDPOINT

app = typer.Typer(help="The daemon under systemd.", no_args_is_help=True)


EndpointArgument = Annotated[str, typer.Argument(help="ZeroMQ endpoint of the daemon.")]
UserOption = Annotated[bool, typer.Option("--user", help="Your own service instead of the system's.")]


def pause(endpoint: EndpointArgument = DEFAULT_ENDPOINT) -> None:
    """Close the microphone of a running daemon until `resume`."""
    _control(endpoint, "pause")


def resume(endpoint: EndpointArgument = DEFAULT_ENDPOINT) -> None:
    """Let a paused daemon listen again."""
    _control(endpoint, "resume")


def status(endpoint: EndpointArgument = DEFAULT_ENDPOINT) -> None:
    """Say what a running daemon is doing."""
    _control(endpoint, "status")


def _control(endpoint: str, word: Any) -> Any:
    from sadstream.control import ask

    report = ask(endpoint, word)
    for stream in report.streams:
        print(
            f"{stream.stream}: {stream.state} ({stream.reason}), {stream.segments} scored, "
            f"{stream.no_speech} without speech, {stream.strangers} by others, {stream.dropped} dropped, "
            f"{stream.gaps} gaps, real-time factor {stream.rtf:.2f}"
        )
    for note in report.notes:
        print(note)
    return report


@app.command("install")
def service_install(
    user: UserOption = False, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Install the daemon as a service that starts by itself."""
    from sadstream import install

    where = install.layout(user)
    install.require_root(where)
    install.install(where, install.system, yes)


@app.command("uninstall")
def service_uninstall(user: UserOption = False) -> None:
    """Remove all that `service install` made."""
    from sadstream import install

    where = install.layout(user)
    install.require_root(where)
    install.uninstall(where, install.system)


@app.command("status")
def service_status(
    user: UserOption = False,
    check: Annotated[bool, typer.Option("--check", help="Say nothing, for monitoring.")] = False,
    endpoint: Annotated[str | None, typer.Option(help="Of another service than the installed one.")] = None,
) -> None:
    """Exit 0 only while audio flows and is scored; else 69."""
    from sadstream import install
    from sadstream.control import ask
    from sadstream.errors import UnavailableError

    wanted = endpoint or install.layout(user).endpoint
    report = ask(wanted, "status") if check else _control(wanted, "status")
    if not report.flows:
        deaf = ", ".join(f"{s.stream}: {s.state} ({s.reason})" for s in report.streams if not s.flows)
        raise UnavailableError(f"{wanted}: {deaf}: expected audio to flow; look into its log")


@app.command("upgrade")
def service_upgrade(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's file, or `default` for the one that ships.")],
    user: UserOption = False,
    to: Annotated[Path | None, typer.Option(help="Another folder of checkpoints.")] = None,
) -> None:
    """Make a checkpoint the service's current one; it takes effect at the next start."""
    from sadstream import checkpoint as checkpoints
    from sadstream import install, releases

    path = checkpoints.default_path() if checkpoint == "default" else Path(checkpoint)
    sha = releases.upgrade(to or install.layout(user).checkpoints, path)
    print(f"current: {sha}; takes effect at the next start (systemctl restart sadstream)")


@app.command("rollback")
def service_rollback(
    user: UserOption = False, to: Annotated[Path | None, typer.Option(help="Another folder of checkpoints.")] = None
) -> None:
    """Make the checkpoint before the current one current again."""
    from sadstream import install, releases

    sha = releases.rollback(to or install.layout(user).checkpoints)
    print(f"current: {sha}; takes effect at the next start (systemctl restart sadstream)")
