"""`sadstream models`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Pretrained models on this machine.", no_args_is_help=True)


@app.command("list")
def models_list() -> None:
    """Say which models are here, under which licence, and what may be fetched."""
    from sadstream.cli.setup.inventory import list_models

    list_models()


@app.command("fetch")
def models_fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Or the path of a Whisper of your own. Default: what is needed."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Another folder, for instance an offline bundle.", readable=False)
    ] = None,
    from_dir: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take them from this folder only; or a checkpoint, from its repository.", readable=False
        ),
    ] = None,
) -> None:
    """Fetch, verify and convert models once; at run time nothing is downloaded."""
    from sadstream.cli.setup.inventory import fetch_models

    fetch_models(names or [], to, from_dir)


@app.command("verify")
def models_verify() -> None:
    """Check every byte of the models on this machine."""
    from sadstream.cli.setup.inventory import verify_models

    verify_models()
