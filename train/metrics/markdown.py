"""Tables as Markdown."""

from collections.abc import Sequence
from typing import TypeAlias

Rows: TypeAlias = Sequence[Sequence[str]]


def markdown(columns: Sequence[str], rows: Rows, *, numbers: bool = False) -> str:
    """A Markdown table; `numbers`: all columns but the first to the right."""
    rule = ["---", *["---:" if numbers else "---"] * (len(columns) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (columns, rule, *rows))
