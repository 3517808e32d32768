"""What a target is, and what becomes of one case: taken, refused with a line, or found wanting."""

import logging
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from sadstream.base.errors import SadstreamError

Parts = list[bytes]  # files, frames or pieces of a stream, as the target has it
LINE_BYTES = 20_000  # of what is said


@dataclass(frozen=True, slots=True)
class Trial:
    """A target that is open: valid inputs, a way to make nearly valid ones, and what reads them."""

    valid: list[Parts]  # taken without a word, or nothing is tried here
    make: Callable[[random.Random], Parts]
    feed: Callable[[Parts], None]  # raises what the project raises


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of input; `share` of all cases in thousandths."""

    name: str
    share: int
    home: str  # module and function, imported by the worker alone: some bring torch along

    def open(self, folder: Path) -> AbstractContextManager[Trial]:
        """The trial, with a folder of its own."""
        module, _, name = self.home.partition(".")
        opened: AbstractContextManager[Trial] = getattr(import_module(f"fuzz.{module}"), name)(folder)
        return opened


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case; `kind` is `taken`, `refused` or `found`."""

    kind: str
    said: str = ""
    where: str = ""  # of a finding: the innermost place in our code, which names its kind


@dataclass(slots=True)
class Overheard:
    """Tracebacks that went to a log, a thread or nowhere instead of to the caller."""

    said: list[str] = field(default_factory=list)


class _Listener(logging.Handler):
    def __init__(self, overheard: Overheard) -> None:
        super().__init__()
        self._overheard = overheard

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.exc_info or "Traceback" in text:
            self._overheard.said.append(text)


@contextmanager
def overhearing() -> Iterator[Overheard]:
    """Whatever is swallowed by a log, a thread or a destructor meanwhile."""
    overheard = Overheard()
    listener = _Listener(overheard)
    logging.getLogger().addHandler(listener)
    for name in ("uvicorn", "uvicorn.error", "asyncio", "sadstream"):
        logging.getLogger(name).addHandler(listener)
    sys.unraisablehook = lambda raised: overheard.said.append(_told(raised.exc_value))
    threading.excepthook = lambda raised: overheard.said.append(_told(raised.exc_value))
    yield overheard


def each(*uses: Callable[[], object]) -> None:
    """Every use of one input, though the first refuses it; what is no refusal comes first."""
    refusals: list[SadstreamError] = []
    for use in uses:
        try:
            use()
        except SadstreamError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def rng_of(seed: str, target: str, case: int) -> random.Random:
    """The generator of a case: the same for the same three, on every machine."""
    return random.Random(f"{seed}/{target}/{case}")


def outcome(trial: Trial, parts: Parts, overheard: Overheard) -> Outcome:
    """Feed one input and judge what came of it."""
    try:
        trial.feed(parts)
    except SadstreamError as error:
        return _judged(error)
    except Exception as error:
        return Outcome("found", _told(error), _where(error))
    if overheard.said:
        said = overheard.said.copy()
        overheard.said.clear()
        return Outcome("found", "\n".join(said), said[0].strip().splitlines()[-1][:120])
    return Outcome("taken")


def _judged(error: SadstreamError) -> Outcome:
    """A refusal has a code of its own, and a length that somebody reads; the boundary makes it one plain line."""
    text = str(error)
    where = _where(error)
    if error.exit_code == 1:
        return Outcome("found", f"exit code 1: {text}", where)
    if len(text) > LINE_BYTES:
        return Outcome("found", f"{type(error).__name__} of {len(text)} letters: {text[:200]}", f"long, {where}")
    return Outcome("refused", f"{type(error).__name__}: {text}")


def _told(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error else "an exception without a name"


def _where(error: BaseException) -> str:
    """The innermost frame of ours, and the error's class."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/sadstream/" in f.filename or "/train/" in f.filename] or frames
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].name}"
