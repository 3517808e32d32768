"""How far it is: on a terminal alone, and whatever a file is called."""

from io import StringIO

import pytest
from rich.console import Console

from sadstream.base.progress import bars, progress


@pytest.mark.parametrize("name", ["[/bold].wav", "[red]a.wav", "a.wav"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    shown = bars()
    shown.add_task(name, total=2)
    screen = Console(file=StringIO(), width=80)
    screen.print(shown.get_renderable())

    assert name in screen.file.getvalue()  # type: ignore[attr-defined]


def test_nothing_is_drawn_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("texts", 3) as advance:
        advance()

    assert capfd.readouterr() == ("", "")
