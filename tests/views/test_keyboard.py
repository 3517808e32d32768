"""Keys out of bytes, however a terminal cuts them."""

import pytest

from sadstream.views.watch.keyboard import Keyboard


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"p", ["pause"]),
        (b"Q", ["quit"]),
        (b"\tm", ["next", "mark"]),
        (b"\x1b[C\x1b[D", ["next", "previous"]),
        (b"\x1bOC\x1b[Z", ["next", "previous"]),
        (b"\x1bq", ["quit"]),  # the escape key alone means nothing
        (b"\x1b[15~q", ["quit"]),  # a function key
        (b"xyz\xc3\xa4 ", []),
    ],
    ids=repr,
)
def test_keys_have_names(typed: bytes, keys: list[str]) -> None:
    assert Keyboard().feed(typed) == keys


def test_any_cutting_gives_the_same_keys() -> None:
    typed = b"p\x1b[C\x1bOD\x1b[1;5Cm\x1b[Zq"
    whole = Keyboard().feed(typed)
    keyboard = Keyboard()

    assert [key for at in range(len(typed)) for key in keyboard.feed(typed[at : at + 1])] == whole
    assert whole == ["pause", "next", "previous", "mark", "previous", "quit"]
