"""Bytes of a terminal in, keys out; a sequence may arrive in pieces; pure."""

SEQUENCES = {
    b"\x1b[C": "next",
    b"\x1b[B": "next",
    b"\x1bOC": "next",
    b"\x1bOB": "next",
    b"\x1b[D": "previous",
    b"\x1b[A": "previous",
    b"\x1bOD": "previous",
    b"\x1bOA": "previous",
    b"\x1b[Z": "previous",  # shift and tab
}
LETTERS = {b"\t": "next", b"p": "pause", b"m": "mark", b"q": "quit"}
ESCAPE = b"\x1b"


class Keyboard:
    """What was typed, as the names of keys that mean something."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, typed: bytes) -> list[str]:
        """The keys that these bytes complete; what means nothing is left out."""
        found = []
        self._rest += typed
        while self._rest:
            length = _length(self._rest)
            if length == 0:
                break  # the end of it has not arrived
            key = self._rest[:length]
            self._rest = self._rest[length:]
            name = SEQUENCES.get(key) or LETTERS.get(key.lower())
            if name:
                found.append(name)
        return found


def _length(typed: bytes) -> int:
    """Bytes of the first key; 0 while it is incomplete."""
    if typed[:1] != ESCAPE:
        return 1
    if len(typed) < 2:
        return 0
    if typed[1:2] == b"O":
        return 3 if len(typed) >= 3 else 0
    if typed[1:2] != b"[":
        return 1  # the escape key, and then another
    for at, byte in enumerate(typed[2:], start=2):
        if 0x40 <= byte <= 0x7E:  # a control sequence ends with one of these
            return at + 1
    return 0
