"""`sadstream pause`, `resume`, `status` and `sadstream service`."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from sadstream.cli.options import EndpointArgument, EndpointOption, one_endpoint

app = typer.Typer(help="The daemon under systemd.", no_args_is_help=True)


UserOption = Annotated[bool, typer.Option("--user", help="Your own service instead of the system's.")]


def pause(bare: EndpointArgument = None, endpoint: EndpointOption = None) -> None:
    """Close the microphone of a running daemon until `resume`."""
    _control(one_endpoint(bare, endpoint), "pause")


def resume(bare: EndpointArgument = None, endpoint: EndpointOption = None) -> None:
    """Let a paused daemon listen again."""
    _control(one_endpoint(bare, endpoint), "resume")


def status(bare: EndpointArgument = None, endpoint: EndpointOption = None) -> None:
    """Say what a running daemon is doing."""
    _control(one_endpoint(bare, endpoint), "status")


def _control(endpoint: str | None, word: Any) -> Any:
    from sadstream.client import running
    from sadstream.events.control import ask

    report = ask(endpoint or running.find(control=True), word)
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
    user: UserOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Score for rooms instead of hear.")] = False,
    join: Annotated[str | None, typer.Option(metavar="HOST", help="Score in the cluster of that machine.")] = None,
    mqtt: Annotated[bool, typer.Option("--mqtt", help="With a bridge to an MQTT broker beside it.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="With its web page beside it.")] = False,
) -> None:
    """Install the daemon as a service that starts by itself."""
    from sadstream.base.errors import UsageError
    from sadstream.daemon.supervision.installation import cluster_units
    from sadstream.daemon.supervision.installation.command import system
    from sadstream.daemon.supervision.installation.install import install
    from sadstream.daemon.supervision.installation.layout import layout, require_root

    if serve + (join is not None) + user > 1:
        raise UsageError("--user, --serve, --join: expected one of them at most")
    for option, is_wanted in (("--mqtt", mqtt), ("--dashboard", dashboard)):
        if is_wanted and (serve or join is not None or user):
            raise UsageError(
                f"{option}: expected none of --user, --serve, --join; it stands beside the system's daemon"
            )
    if join is not None and not re.fullmatch(r"[\w.:\[\]-]+", join):
        raise UsageError(f"--join {join!r}: expected the name or address of a machine that serves")
    where = layout(user)
    require_root(where)
    if serve:
        cluster_units.install_serve(where, system, yes)
    elif join is not None:
        cluster_units.install_join(where, system, join, yes)
    else:
        install(where, system, yes, mqtt=mqtt, dashboard=dashboard)


@app.command("uninstall")
def service_uninstall(
    user: UserOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Scores, voices and configurations of yours too, unasked.")
    ] = False,
) -> None:
    """Remove all that `service install` made; asks before it removes what is yours."""
    from sadstream.daemon.supervision.installation.command import system
    from sadstream.daemon.supervision.installation.layout import layout, require_root
    from sadstream.daemon.supervision.installation.uninstall import uninstall

    where = layout(user)
    require_root(where)
    uninstall(where, system, yes)


@app.command("status")
def service_status(
    user: UserOption = False,
    check: Annotated[bool, typer.Option("--check", help="Say nothing, for monitoring.")] = False,
    endpoint: Annotated[str | None, typer.Option(help="Of one service alone; default all that run here.")] = None,
) -> None:
    """Exit 0 only while audio flows and is scored; else 69."""
    from sadstream.base.errors import UnavailableError
    from sadstream.client import running
    from sadstream.daemon.supervision.installation.layout import layout
    from sadstream.events.control import ask

    installed = layout(user).endpoint
    found = [daemon.endpoint for daemon in running.services(control=True)] if endpoint is None and not user else []
    for wanted in found or [endpoint or installed]:
        if len(found) > 1 and not check:
            print(f"{wanted}:")
        report = ask(wanted, "status") if check else _control(wanted, "status")
        if not report.flows:
            deaf = ", ".join(f"{s.stream}: {s.state} ({s.reason})" for s in report.streams if not s.flows)
            raise UnavailableError(f"{wanted}: {deaf}: expected audio to flow; look into its log")


@app.command("upgrade")
def service_upgrade(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's file, or `default` or `open`, which ship.")],
    user: UserOption = False,
    to: Annotated[Path | None, typer.Option(help="Another folder of checkpoints.", readable=False)] = None,
) -> None:
    """Make a checkpoint the service's current one; it takes effect at the next start."""
    from sadstream.daemon.supervision.installation.layout import layout
    from sadstream.scoring.fusion import checkpoint as checkpoints
    from sadstream.scoring.fusion import releases
    from sadstream.scoring.fusion.card import read_card
    from sadstream.scoring.mood import plan

    path = checkpoints.named(checkpoint)
    sha = releases.upgrade(to or layout(user).checkpoints, path)
    if read_card(path, sha) is None:
        print(f"no episodes from now on: {plan.NO_CARD.format(path)}")
    print(f"current: {sha}; takes effect at the next start (systemctl restart sadstream)")


@app.command("rollback")
def service_rollback(
    user: UserOption = False,
    to: Annotated[Path | None, typer.Option(help="Another folder of checkpoints.", readable=False)] = None,
) -> None:
    """Make the checkpoint before the current one current again."""
    from sadstream.daemon.supervision.installation.layout import layout
    from sadstream.scoring.fusion import releases

    sha = releases.rollback(to or layout(user).checkpoints)
    print(f"current: {sha}; takes effect at the next start (systemctl restart sadstream)")
