"""`python -m sadstream.testing`: `sadstream fake` where nothing but pyzmq is installed."""

import argparse
import sys
from typing import NoReturn

from sadstream.base.boundary import enter
from sadstream.base.errors import UsageError
from sadstream.events import DEFAULT_ENDPOINT
from sadstream.testing.story import tell
from sadstream.testing.told import obey

NAME = "sadstream.testing"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `python -m {NAME} --help` lists what there is")


def run(words: list[str], prog_name: str, standalone_mode: bool) -> int:
    """The command."""
    parser = _Parser(prog=f"python -m {prog_name}", description="Publish made-up events to test apps against.")
    parser.add_argument("--endpoint", "--publish", default=DEFAULT_ENDPOINT, help="ZeroMQ endpoint to bind")
    parser.add_argument("--stream", default="mic", help="the stream's name")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same numbers")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as people talk")
    parser.add_argument("--rounds", type=int, help="end after so many restarts; default never")
    parser.add_argument("--emotions", action="store_true", help="scores tell more than sad")
    parser.add_argument("--told", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if not 0.01 <= asked.speed <= 1000.0:
        raise UsageError(f"--speed {asked.speed:g}: expected 0.01 to 1000")
    if asked.told:
        obey(asked.endpoint, asked.stream)
    else:
        tell(asked.endpoint, asked.stream, asked.seed, asked.speed, asked.rounds, asked.emotions, _began)
    return 0


def _began(endpoint: str) -> None:
    print(f"{NAME}: made-up events at {endpoint}; Ctrl-C ends it", file=sys.stderr, flush=True)


if __name__ == "__main__":
    enter(run, NAME)
