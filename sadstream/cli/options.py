"""What several commands are told in the same words."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from sadstream.base.errors import UsageError


class Pace(StrEnum):
    """How fast a recording is fed."""

    realtime = "realtime"
    fast = "fast"


class Compute(StrEnum):
    """Where the models run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class RunCompute(StrEnum):
    """Where the models run that a daemon asks."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    remote = "remote"


class Format(StrEnum):
    """How scores are printed."""

    jsonl = "jsonl"
    csv = "csv"


ForceOption = Annotated[bool, typer.Option("--force", help="Also over a file that something else made.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file; without it the defaults.", readable=False)
]
ChannelOption = Annotated[str | None, typer.Option("--channel", help="The one that is heard, from 1; or mix.")]
ComputeOption = Annotated[Compute | None, typer.Option("--compute", help="Where the models run.")]


# One spelling for one thing: `--endpoint`. The bare word was the only one once, and works as before.
EndpointArgument = Annotated[str | None, typer.Argument(metavar="ENDPOINT", hidden=True)]
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint", help="ZeroMQ endpoint of the daemon; default the one that runs here.")
]


def one_endpoint(bare: str | None, named: str | None) -> str | None:
    """The endpoint that a command was given, by whichever spelling; UsageError for two."""
    if bare and named:
        raise UsageError(f"--endpoint {named}: expected one endpoint; {bare} is another")
    return bare or named


def one_channel(text: str | None) -> int | Literal["mix"] | None:
    """The channel that an option names; UsageError for anything but a number or `mix`."""
    if text is None:
        return None
    if text == "mix":
        return "mix"
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise UsageError(f"--channel {text}: expected mix, or a number from 1")
    return int(text)
