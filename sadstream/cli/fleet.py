"""`sadstream serve` and `sadstream gather`: for machines that serve many rooms."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sadstream.base import logs
from sadstream.base.errors import UsageError
from sadstream.cli.options import ComputeOption, ConfigOption

TokenOption = Annotated[
    Path | None, typer.Option(help="File of the cluster's token; default where `serve` made it.", readable=False)
]


def serve(
    listen: Annotated[str, typer.Option(help="ZeroMQ endpoint where rooms knock.")] = "tcp://127.0.0.1:5560",
    secret_key: Annotated[str | None, typer.Option(help="File of this door's secret key.")] = None,
    allow: Annotated[str | None, typer.Option(help="File with the public keys of the rooms.")] = None,
    replicas: Annotated[str, typer.Option(help="auto, a number, or LEAST:MOST.")] = "auto",
    compute: ComputeOption = None,
    config: ConfigOption = None,
    join: Annotated[str | None, typer.Option(metavar="HOST", help="Join the cluster of that machine.")] = None,
    status: Annotated[bool, typer.Option("--status", help="How the cluster of this machine is; 0 while it scores.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="The status as one JSON object.")] = False,
    token: TokenOption = None,
    ray_port: Annotated[
        int, typer.Option(min=1024, max=65_000, help="The first of the ports between machines of a cluster.")
    ] = 6379,
) -> None:
    """Score for many rooms: a door that they knock at, and this machine's models behind it."""
    from sadstream.cluster import nodes, tokens

    nodes.require()
    where = token or tokens.default_token()
    if status:
        _print_status(where, ray_port, as_json)
        return
    logs.set_up()
    if join is not None:
        _join(join, where, ray_port)
        return
    from sadstream.cluster.serve import ServeRequest
    from sadstream.cluster.serve import serve as serve_rooms
    from sadstream.config.loading import configured

    settings = configured(config, {"compute": {"device": compute.value if compute else None}})
    wanted = ServeRequest(settings, listen, where, secret_key, allow, _replicas(replicas), ray_port)
    for number, served in enumerate(serve_rooms(wanted)):
        if number == 0:
            placed, hello = served.placement, served.report.hello
            count = str(placed.most) if placed.least == placed.most else f"{placed.least} to {placed.most}"
            device, whisper = (hello.device, hello.whisper) if hello else ("?", "?")
            ports = f"{ray_port}-{served.node.settings.last_port}"
            print(
                f"serve: ready: {count} replica(s) on {device}, {whisper}; door {listen}; "
                f"keep {ports} closed to others",
                flush=True,
            )


def gather(
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file: [gather] and [publish].", readable=False)
    ] = None,
    listen: Annotated[str | None, typer.Option(help="ZeroMQ endpoint that rooms dial.")] = None,
    publish: Annotated[
        str | None, typer.Option("--publish", "--endpoint", help="ZeroMQ endpoint where all of it leaves.")
    ] = None,
    secret_key: Annotated[
        str | None, typer.Option("--secret-key", help="File with our key, where others can connect.")
    ] = None,
    allow: Annotated[str | None, typer.Option(help="File with the public keys that may listen.")] = None,
    allow_rooms: Annotated[
        str | None, typer.Option("--allow-rooms", help="File with the rooms' public keys; default those of --allow.")
    ] = None,
) -> None:
    """Pass on what many rooms say, at one endpoint; rooms dial in ([publish] to), and open no port."""
    from sadstream.cluster.gather.gatherer import gather as pass_on
    from sadstream.config.loading import configured

    logs.set_up()
    changes: dict[str, dict[str, Any]] = {
        "publish": {"endpoint": publish, "secret_key": secret_key, "allow": allow},
        "gather": {"listen": listen, "allow": allow_rooms},
    }
    pass_on(configured(config, changes))


def _replicas(text: str) -> tuple[int, int] | None:
    if text == "auto":
        return None
    least, colon, most = text.partition(":")
    if not (least.isdigit() and (most.isdigit() if colon else True)):
        raise UsageError(f"--replicas {text}: expected auto, a number, or LEAST:MOST such as 2:8")
    found = int(least), int(most or least)
    if not 1 <= found[0] <= found[1]:
        raise UsageError(f"--replicas {text}: expected at least 1, and no more than {found[1]}")
    return found


def _join(head: str, token: Path, ray_port: int) -> None:
    from sadstream.cluster.serve import join

    if not head:
        raise UsageError("--join: expected the name or address of a machine that serves")
    for place in join(head, token, ray_port):
        print(f"serve: joined {head} with {place}", flush=True)


def _print_status(token: Path, ray_port: int, as_json: bool) -> None:
    from sadstream.cluster.serve import cluster_status

    found = cluster_status(token, ray_port)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print(found.line())
    if not found.scores:
        print("sadstream serve: nobody scores there now; see its log", file=sys.stderr)
        raise typer.Exit(69)


def play_rooms(
    rooms: int,
    to: str,
    rate: float,
    seconds: float,
    reconnects: int,
    seed: int,
    server_key: str | None,
    allow: Path | None,
) -> None:
    """Be so many rooms and print what became of all they sent; ends with 1 where anything is not accounted for."""
    from sadstream.cluster.rooms import RoomsRequest, run_rooms

    if (server_key is None) != (allow is None):
        raise UsageError("--server-key, --allow: expected both, the door's public key and its allow-list, or none")
    found = run_rooms(RoomsRequest(to, rooms, seconds, rate, reconnects, seed, server_key, allow))
    lost = ", ".join(f"{count} {why}" for why, count in sorted(found.dropped.items())) or "none"
    print(f"rooms {rooms}, connected in {found.connected_s:.1f} s, talked {seconds:g} s, {reconnects} reconnected")
    print(
        f"sent {found.sent} = scored {found.scored} + unscored {found.unscored} + dropped {found.dropped.total()} "
        f"({lost}); difference {found.difference}"
    )
    print(f"answered within p50 {found.percentile_ms(0.5):.0f} ms, p95 {found.percentile_ms(0.95):.0f} ms")
    wrong = [(n, one.difference) for n, one in enumerate(found.ledgers) if one.difference]
    for n, difference in wrong[:20]:
        print(f"room {n}: {difference} segments are not accounted for", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)
