"""A target that breaks every rule at some case, to see that the harness notices."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.trial import Parts, Trial
from sadstream.base.errors import DataError

CASES = (b"fine", b"raise", b"fine", b"hang", b"refuse", b"grow", b"die", b"fine")


@contextmanager
def naughty(_: Path) -> Iterator[Trial]:
    """Each case does what its word says."""

    def make(rng: random.Random) -> Parts:
        return [rng.choice(CASES)]

    def feed(parts: Parts) -> None:
        match parts[0]:
            case b"refuse":
                raise DataError("no good")
            case b"raise":
                raise KeyError("speaker")
            case b"hang":
                time.sleep(60)
            case b"grow":
                bytearray(300_000_000)
            case b"die":
                os.abort()

    yield Trial([[b"fine"]], make, feed)
