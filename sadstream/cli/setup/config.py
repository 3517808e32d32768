"""`sadstream config`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The configuration.", no_args_is_help=True)


@app.command("show")
def config_show(path: Annotated[Path | None, typer.Argument(metavar="[FILE]", readable=False)] = None) -> None:
    """Print the configuration in force, every key, as TOML."""
    from sadstream.config import load
    from sadstream.config.loading import to_toml

    print(to_toml(load(path)), end="")


@app.command("check")
def config_check(path: Annotated[Path | None, typer.Argument(metavar="[FILE]", readable=False)] = None) -> None:
    """Say what `run` would say: the models are loaded, nothing is bound, and no microphone is opened."""
    from sadstream.config import load
    from sadstream.daemon.run import check

    check(load(path))
    print(f"{path or 'the defaults'}: valid")
