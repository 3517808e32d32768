"""`sadstream config`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The configuration.", no_args_is_help=True)


@app.command("show")
def config_show(path: Annotated[Path | None, typer.Argument(metavar="[FILE]")] = None) -> None:
    """Print the configuration in force, every key, as TOML."""
    from sadstream.config import load
    from sadstream.toml import to_toml

    print(to_toml(load(path)), end="")


@app.command("check")
def config_check(path: Annotated[Path | None, typer.Argument(metavar="[FILE]")] = None) -> None:
    """Check a configuration file without starting anything."""
    from sadstream.config import load

    load(path)
    print(f"{path or 'the defaults'}: valid")
