"""The `sadstream` command; the only place that prints and exits."""

import json
import select
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sadstream import __version__
from sadstream.base import logs
from sadstream.base.boundary import enter
from sadstream.base.errors import UnavailableError, UsageError
from sadstream.cli import fleet as cli_fleet
from sadstream.cli import views as cli_views
from sadstream.cli import voices as cli_voices
from sadstream.cli.options import (
    ChannelOption,
    ComputeOption,
    ConfigOption,
    EndpointArgument,
    EndpointOption,
    ForceOption,
    Format,
    Pace,
    RunCompute,
    one_channel,
    one_endpoint,
)
from sadstream.cli.setup import config as cli_config
from sadstream.cli.setup import keys as cli_keys
from sadstream.cli.setup import models as cli_models
from sadstream.cli.setup import notice as cli_notice
from sadstream.cli.setup import service as cli_service
from sadstream.cli.views import SecretKeyOption, ServerKeyOption
from sadstream.events import DEFAULT_ENDPOINT

NO_DEVICES = (
    "sadstream devices: no capture device: connect a microphone; if one is, `arecord -l` says whether the system knows "
    "it, and you must be in the group audio (sudo usermod -aG audio NAME, then log in again); a recording needs none: "
    "sadstream run talk.flac"
)
FAKE = "sadstream fake: made-up events at {}; Ctrl-C ends it"

app = typer.Typer(
    name="sadstream",
    help="A daemon that hears sadness: live speech in, calibrated sad scores out over ZeroMQ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_service.app, name="service")
app.add_typer(cli_models.app, name="models")
app.add_typer(cli_config.app, name="config")


@app.command()
def run(
    recording: Annotated[str | None, typer.Argument(metavar="SOURCE", help="The same as --source.")] = None,
    config: ConfigOption = None,
    source: Annotated[
        str | None,
        typer.Option(help="mic, browser, a recording's path, or - for raw 16-bit PCM on standard input."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Part of a capture device's name, in any case.")] = None,
    compute: Annotated[
        RunCompute | None, typer.Option("--compute", help="Where the models run; remote: those of [remote].")
    ] = None,
    pace: Annotated[Pace, typer.Option(help="fast: a recording waits for the analyser and nothing is lost.")] = (
        Pace.realtime
    ),
    publish: Annotated[str | None, typer.Option("--publish", "--endpoint", help="ZeroMQ endpoint to bind.")] = None,
    wait_subscriber: Annotated[
        float, typer.Option(min=0.0, max=3600.0, help="Seconds to wait for a first subscriber before listening.")
    ] = 0.0,
    require_device: Annotated[bool, typer.Option("--require-device", help="End with 69 without a device.")] = False,
    rate: Annotated[int | None, typer.Option(help="Hz, of raw PCM.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels of raw PCM, interleaved; or to open of a microphone.")
    ] = None,
    channel: ChannelOption = None,
    stream: Annotated[str | None, typer.Option(help="The stream's name; default mic, or the file's stem.")] = None,
) -> None:
    """The daemon: hear, score, publish."""
    if not hasattr(select, "epoll"):  # nor eventfd, nor pipe2
        raise UnavailableError("run needs Linux; score, listen and training do not")
    from sadstream.daemon.run import run_daemon

    logs.set_up()
    if recording and source:
        raise UsageError(f"--source {source}: expected one source; {recording} is another")
    changes: dict[str, dict[str, Any]] = {
        "stream": {
            "source": recording or source,
            "device": device,
            "rate": rate,
            "channels": channels,
            "channel": one_channel(channel),
            "name": stream,
        },
        "compute": {"device": compute.value if compute else None},
        "publish": {"endpoint": publish},
    }
    run_daemon(config, changes, pace is Pace.realtime, wait_subscriber, require_device)


@app.command()
def listen(
    bare: EndpointArgument = None,
    endpoint: EndpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Events as they are, one a line.")] = False,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after this many score events; a provisional one is none.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0.0, help="End with 1 after this many seconds.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Skip what is no longer new; for slow readers.")] = False,
    replay: Annotated[int, typer.Option(min=0, help="First the last so many events that the daemon remembers.")] = 0,
    server_key: ServerKeyOption = None,
    key: SecretKeyOption = None,
) -> None:
    """Print what a daemon says; what was lost, restarted or silent goes to standard error."""
    from sadstream.client import subscribe
    from sadstream.client.lines import finding_line, line
    from sadstream.events import Event, Score, Status, to_json

    scores, heard, ended = 0, False, False
    endpoint = cli_views.answering_endpoint("listen", one_endpoint(bare, endpoint))
    said = subscribe(
        endpoint,
        stream=stream,
        timeout_s=timeout,
        latest=latest,
        replay=replay,
        provisional=True,
        server_key=server_key,
        secret_key=key,
    )
    for event in said:
        if not isinstance(event, Event):
            print(f"sadstream listen: {finding_line(event)}", file=sys.stderr, flush=True)
            continue
        print(to_json(event) if as_json else line(event), flush=True)
        heard, ended = True, isinstance(event, Status) and event.state == "stopping"
        scores += isinstance(event, Score) and not event.provisional
        if count is not None and scores >= count:
            return
    wanted = "" if count is None else f" of {count} expected"
    why = "; the daemon had ended" if ended else "" if heard else "; is a daemon publishing there?"
    logs.fatal(f"sadstream listen: {endpoint}: {scores} scores{wanted} in {timeout:g} s{why}")
    raise typer.Exit(1)


@app.command()
def score(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Recordings; with --out also folders.", readable=False)
    ],
    output: Annotated[Format, typer.Option("--format", help="How scores are printed.")] = Format.jsonl,
    plot: Annotated[Path | None, typer.Option(help="Waveform, segments and scores as one PNG.", readable=False)] = None,
    report: Annotated[
        Path | None, typer.Option(help="One page of it: sound, attention, scores, episodes.", readable=False)
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="What was said, in the report.")] = False,
    embed_audio: Annotated[bool, typer.Option("--embed-audio", help="The sound, in the report.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a file of scores each; a second call goes on.", readable=False)
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=10_000, help="At once; default as many as fit.")] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="On the machines of a Ray cluster.")] = False,
    head: Annotated[str | None, typer.Option(help="HOST[:PORT] of the cluster; default this machine's.")] = None,
    token: Annotated[Path | None, typer.Option(help="File with the cluster's token.", readable=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is to be done, and how long it takes.")] = False,
    force: ForceOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    compute: ComputeOption = None,
) -> None:
    """Score recordings; bad ones are named and the rest is scored."""
    heard, device = one_channel(channel), compute.value if compute else None
    if out is not None:
        from sadstream.cli.archive.score import ArchiveOptions, score_folder

        if plot or report or words or embed_audio or output is not Format.jsonl:
            raise UsageError("--out: expected none of --format, --plot, --report, --words, --embed-audio with it")
        archive = ArchiveOptions(out, workers, cluster or head is not None, head, token, dry_run, force, heard)
        code = score_folder(recordings, archive, config, device)
    else:
        from sadstream.cli.recordings import ScoreOutputs, score_files

        if workers or cluster or head or token or dry_run:
            raise UsageError("--workers, --cluster, --head, --token, --dry-run: expected --out DIR too")
        wanted = ScoreOutputs(output.value, plot, report, words, embed_audio, force, heard)
        code = score_files(recordings, wanted, config, device)
    if code:
        raise typer.Exit(code)


app.command()(cli_voices.calibrate)
app.command()(cli_voices.enroll)


@app.command()
def demo(
    pace: Annotated[Pace, typer.Option(help="fast: as quick as this machine can.")] = Pace.realtime,
) -> None:
    """Play the bundled scene through the daemon into a subscriber in another process."""
    from sadstream.cli.demo.play import play

    code = play(pace.value)
    if code:
        raise typer.Exit(code)


@app.command()
def devices() -> None:
    """List the capture devices and their channels; a sound server offers 32 or more, whatever it has."""
    from sadstream.audio.sources.capture import devices as capture_devices

    known = capture_devices()
    for found in known:
        mark = "*" if found.default else " "
        print(f"{mark} {found.name}  ({found.api}, {found.channels} channel(s), {found.rate:g} Hz)")
    if not known:
        print(NO_DEVICES, file=sys.stderr)


@app.command()
def doctor(
    only: Annotated[str | None, typer.Option(help="Test this part alone.")] = None,
) -> None:
    """Test each part and say how to mend what is broken."""
    from sadstream.cli.setup.doctor import examine

    code = examine(only)
    if code:
        raise typer.Exit(code)


@app.command()
def schema(
    asyncapi: Annotated[
        bool, typer.Option("--asyncapi", help="Topics and messages too, of the wire and of the web.")
    ] = False,
) -> None:
    """Print the JSON Schema of the events, or the whole as AsyncAPI."""
    if asyncapi:
        from sadstream.views.web.contract.asyncapi import asyncapi_document as made
    else:
        from sadstream.events.schema import event_schema as made

    print(json.dumps(made(), indent=2))


@app.command()
def history(
    since: Annotated[str, typer.Option(help="An age such as 30m, 1h, 2d, or a time such as 2030-01-31T12:00.")] = "1h",
    until: Annotated[str | None, typer.Option(help="The same; default now.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Score events, one a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table.")] = False,
    plot: Annotated[Path | None, typer.Option(help="A picture as PNG.", readable=False)] = None,
    force: ForceOption = False,
    journal: Annotated[Path | None, typer.Option(help="The file; default the configuration's.", readable=False)] = None,
    config: ConfigOption = None,
) -> None:
    """Scores of the past, out of the journal."""
    from sadstream.config import load
    from sadstream.views.history import newest, print_history, scores

    path = journal or load(config).journal.path
    if path is None:
        raise UsageError("history: no journal; name one with --journal, or [journal] path in --config")
    if as_json and as_csv:
        raise UsageError("history: expected one of --json and --csv")
    if plot is not None:
        from sadstream.base.files import expect_place
        from sadstream.views.plot import MARK, plot_history, require_matplotlib

        require_matplotlib()
        expect_place("--plot", plot, mark=MARK, reads=(Path(path), config), force=force)
        found = len(past := list(scores(Path(path), since, until, stream)))
        if past:
            plot_history(past, plot)
    else:
        found = print_history(Path(path), since, until, stream, "json" if as_json else "csv" if as_csv else "text")
    if not found:
        print(f"sadstream history: {path}: no scores in that time{newest(Path(path), stream)}", file=sys.stderr)


@app.command()
def fake(
    publish: Annotated[str, typer.Option("--publish", "--endpoint", help="ZeroMQ endpoint to bind.")] = (
        DEFAULT_ENDPOINT
    ),
    seed: Annotated[int, typer.Option(help="The same seed, the same numbers.")] = 0,
    stream: Annotated[str, typer.Option(help="The stream's name.")] = "mic",
    speed: Annotated[float, typer.Option(min=0.01, max=1000.0, help="Times as fast as people talk.")] = 1.0,
    rounds: Annotated[int | None, typer.Option(min=1, help="End after so many restarts; default never.")] = None,
    emotions: Annotated[bool, typer.Option("--emotions", help="Scores tell more than sad.")] = False,
    rooms: Annotated[
        int | None, typer.Option(min=1, max=5000, help="So many rooms knock at a door instead, and keep a ledger.")
    ] = None,
    to: Annotated[str, typer.Option(help="The door that they knock at.")] = "tcp://127.0.0.1:5560",
    rate: Annotated[float, typer.Option(min=0.1, max=2000.0, help="Segments a second, of all rooms.")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1.0, max=86_400.0, help="How long the rooms talk.")] = 60.0,
    reconnects: Annotated[int, typer.Option(min=0, help="Of rooms, spread over that time.")] = 0,
    server_key: ServerKeyOption = None,
    allow: Annotated[
        Path | None, typer.Option(help="The door's allow-list: the rooms' keys are added to it.", readable=False)
    ] = None,
) -> None:
    """Publish made-up events to test apps against; or with --rooms, be many rooms to test a door with."""
    if rooms is not None:
        cli_fleet.play_rooms(rooms, to, rate, seconds, reconnects, seed, server_key, allow)
        return
    from sadstream.testing.story import tell

    tell(publish, stream, seed, speed, rounds, emotions, _fake_began)


def _fake_began(endpoint: str) -> None:
    print(FAKE.format(endpoint), file=sys.stderr, flush=True)


app.command()(cli_fleet.serve)
app.command()(cli_views.watch)
app.command()(cli_service.pause)
app.command()(cli_service.resume)
app.command()(cli_service.status)
app.command()(cli_views.dashboard)
app.command()(cli_views.web)
app.command()(cli_views.mqtt)
app.command()(cli_fleet.gather)
app.command()(cli_notice.notice)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sadstream {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command; every failure is one line on standard error and a documented exit code."""
    enter(app, "sadstream", arguments)


if __name__ == "__main__":
    main()
