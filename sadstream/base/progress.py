"""How far a long computation is, on standard error: a line that grows on a terminal, and nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance: TypeAlias = Callable[[], None]


def bars(*columns: ProgressColumn) -> Progress:
    """A line a task: its description, which is never read as markup, a bar, and these columns."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def progress(what: str, total: int, unit: str = "utterances") -> Iterator[Advance]:
    """Utterances a second and time left; call the value once for each thing done."""
    with bars(MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn()) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """So many a second."""
        return Text(f"{task.speed or 0.0:.0f} {self._unit}/s")
