"""What a newcomer asks the commands: help that loses no word, `-h`, completion, one spelling for one thing."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from daemon import run
from typer.testing import CliRunner

from sadstream.cli import main as cli
from train import cli as train_cli

RUNNER = CliRunner()
WIDE = {"COLUMNS": "600", "NO_COLOR": "1", "TERM": "dumb"}
APPS = {"sadstream": cli.app, "sadstream-train": train_cli.app}


def commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all below it, each with the words that call it."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


CASES = [case for name, app in APPS.items() for case in commands(typer.main.get_command(app), (name,))]


def squeezed(text: str) -> str:
    """Letters, digits and brackets: no matter how a line is broken, framed or set."""
    return re.sub(r"[^\w\[\]]", "", text)


@pytest.mark.parametrize(("words", "command"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_a_help_loses_no_word_of_what_was_written(words: tuple[str, ...], command: Any) -> None:
    said = RUNNER.invoke(APPS[words[0]], [*words[1:], "-h"], env=WIDE, prog_name=words[0])

    assert said.exit_code == 0
    written = [command.help, *(getattr(p, "help", None) for p in command.params if not getattr(p, "hidden", False))]
    for text in filter(None, written):
        assert squeezed(text.replace("\b", "")) in squeezed(said.output), text


def test_there_are_brackets_to_lose() -> None:
    helps = [text for _, c in CASES for text in (c.help, *(getattr(p, "help", None) for p in c.params)) if text]

    assert sum("[" in text for text in helps) >= 5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(shell: str) -> None:
    asked = {"_SADSTREAM_COMPLETE": f"complete_{shell}"}
    asked |= {
        "_TYPER_COMPLETE_ARGS": "sadstream hist",
        "COMP_WORDS": "sadstream hist",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    command = [sys.executable, "-m", "sadstream"]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert "history" in done.stdout, done.stderr

    shown = RUNNER.invoke(cli.app, ["--show-completion", shell], env=WIDE, prog_name="sadstream")
    assert "_SADSTREAM_COMPLETE" in shown.output


@pytest.mark.parametrize(
    "name", ["run", "listen", "watch", "pause", "resume", "status", "dashboard", "gather", "fake", "web"]
)
def test_an_endpoint_is_called_endpoint(name: str) -> None:
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]

    assert "--endpoint" in [option for parameter in command.params for option in parameter.opts]


@pytest.mark.parametrize("name", ["listen", "pause", "resume", "status", "watch"])
def test_two_endpoints_are_one_too_many(name: str) -> None:
    done = run(name, "ipc:///tmp/a", "--endpoint", "ipc:///tmp/b")

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
