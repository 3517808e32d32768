"""The `sadstream-train` command; the only package of `train` that prints and exits."""

from typing import Any, NoReturn

import typer

from sadstream.base.boundary import enter
from sadstream.base.errors import UnavailableError
from train.cli import runs, shipped, thesis

app = typer.Typer(
    name="sadstream-train",
    help="Train, measure and export what sadstream hears with; the thesis in one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(runs.prepare)
app.command()(runs.fit)
app.command()(runs.evaluate)
app.command()(runs.export)
app.command()(runs.card)
app.command()(thesis.reproduce)
app.command()(thesis.report)
app.command()(thesis.compare)
app.command()(thesis.cross)
app.command()(thesis.sweep)
app.command("open")(shipped.open_data)
app.command()(shipped.emotions)
app.command()(shipped.days)
app.command()(shipped.gates)
app.command()(shipped.trust)
app.command("synth-iemocap")(thesis.synth_iemocap)
app.command()(thesis.benchmark)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command; every failure is one line on standard error and a documented exit code."""
    enter(_run, "sadstream-train", arguments, interrupted="stopped; the same command goes on from here")


def _run(arguments: list[str], **options: Any) -> Any:
    try:
        return app(arguments, **options)
    except ImportError as error:
        if not error.name or error.name.split(".")[0] in ("sadstream", "train"):
            raise
        raise UnavailableError(f"{error.name}: not installed; in the checkout: pip install '.[train]'") from None
