"""`sadstream keys`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="CURVE keys, for subscribers on other machines.", no_args_is_help=True)


@app.command("new")
def keys_new(path: Annotated[Path, typer.Argument(metavar="FILE", readable=False)]) -> None:
    """Make a secret key in FILE and print its public key."""
    from sadstream.events.keys import new_key

    print(new_key(path))


@app.command("show")
def keys_show(path: Annotated[Path, typer.Argument(metavar="FILE", readable=False)]) -> None:
    """Print the public key that belongs to the secret key in FILE."""
    from sadstream.events.keys import public_key

    print(public_key(path))


@app.command("allow")
def keys_allow(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A subscriber's public key.")],
    to: Annotated[Path, typer.Option(help="The daemon's allow-list, [publish] allow.", readable=False)],
    name: Annotated[str, typer.Option(help="Whose it is.")] = "",
) -> None:
    """Let a subscriber in, from its next attempt on."""
    from sadstream.events.keys import allow

    print(f"{to}: {'added' if allow(to, key, name) else 'there already'}")
