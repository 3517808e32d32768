"""Valid inputs in, inputs that are nearly valid out; all chance comes from the generator that is given."""

import json
import random
import re
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import tomli_w

EXTREMES = (
    0, 1, -1, 2, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 24,
    0x7FFF_F000, 0xFFFF_F000, 2**53, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
ODD_TEXT = (
    "", " ", "\t", "\n", "\r\n", "\0", "\x1b[31m", "\ufeff", "\u202e", "\u2028", "\x85", "é", "e\u0301", "ß",
    "İ", "\U0001f622", "\ud83d", "\udcff", "😢" * 40, "a" * 5000, "../../etc/passwd", "/dev/zero", "%s%n", "{0}",
    "<script>", "'", '"', "\\", "'''", '"""', "#", "=", "[", "]", "[[", "{", "}", ",", ";", "null", "true",
    "None", "nan", "inf", "-inf", "NaN", "Infinity", "-0", "1e999", "-1e999", "1e308", "1e-320", "0x10",
    "1_000", "01", "٣", "１６", "1,5", "1.", ".5", "9" * 30, "-" + "9" * 30, "9" * 5000, "2030-13-45T99:99:99Z",
    "0000-00-00", "9999-12-31T23:59:59Z",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**53, 2**63, 2**64, 10**30, 10**400,
    float("nan"), float("inf"), float("-inf"), "", "x", "\0", "\ud83d", "😢", "a" * 5000, "NaN", "1", [], [[]], [0, 0],
    [-1, -1], [10**9, 10**9], {}, {"": {}}, [None], {"a": 1}, "none", "auto", "off", "/dev/zero", "../x",
)  # fmt: skip
DEEP = 2000


def binary(rng: random.Random, data: bytes, others: Sequence[bytes] = (), head: int = 128) -> bytes:
    """One to four small wounds, half of them within the first `head` bytes; `others` lend pieces."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(BINARY)(rng, data, head, others)
    return data


def text(rng: random.Random, data: str, others: Sequence[str] = ()) -> bytes:
    """One to four small wounds to lines, words, numbers and letters, as the bytes of a file."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(TEXT)(rng, data, others)
    found = data.encode("utf-8", "surrogatepass")
    chance = rng.random()
    if chance < 0.02:
        return b"\xef\xbb\xbf" + found
    if chance < 0.04:
        return data.encode(rng.choice(("utf-16", "utf-32")), "surrogatepass")
    return binary(rng, found, head=len(found)) if chance < 0.15 else found


def value(rng: random.Random, whole: Any) -> Any:
    """The same JSON value with one to three of its parts replaced, left out, moved or added."""
    whole = json.loads(json.dumps(whole))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        whole = _changed(rng, whole, _paths(whole))
    return whole


def as_json(rng: random.Random, whole: Any) -> bytes:
    """A mutated value as JSON; at times the text itself is wounded too."""
    chance = rng.random()
    if chance < 0.01:
        return b"[" * DEEP + b"]" * DEEP if rng.random() < 0.5 else b'{"a":' * DEEP + b"1" + b"}" * DEEP
    said = json.dumps(value(rng, whole), ensure_ascii=rng.random() < 0.5)
    return text(rng, said) if chance < 0.2 else said.encode("utf-8", "surrogatepass")


def as_toml(rng: random.Random, data: str, others: Sequence[str] = ()) -> bytes:
    """A table with odd values in sound TOML, or TOML that is wounded itself."""
    chance = rng.random()
    if chance < 0.01:
        return data.encode() + b"\ndeep = " + b"[" * DEEP + b"]" * DEEP
    if chance < 0.5:
        with suppress(ValueError, TypeError, AttributeError):  # not every odd value has a spelling in TOML
            return tomli_w.dumps(value(rng, tomllib.loads(data))).encode("utf-8", "surrogatepass")
    return text(rng, data, others)


# Bytes.


def _at(rng: random.Random, data: bytes, head: int) -> int:
    return rng.randrange(max(1, min(len(data), head) if rng.random() < 0.5 else len(data)))


def _flip(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    at = _at(rng, data, head)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if data else data


def _byte(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    at = _at(rng, data, head)
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def _integer(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    size = rng.choice((2, 4, 4, 4, 8))
    at = _at(rng, data, head) // 2 * 2
    number = rng.choice(EXTREMES) % (1 << 8 * size)
    return data[:at] + number.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _cut(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    return data[: _at(rng, data, head)]


def _insert(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    at = _at(rng, data, head)
    return data[:at] + rng.choice((bytes(4), b"\xff" * 4, rng.randbytes(rng.choice((1, 2, 8, 300))))) + data[at:]


def _drop(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    at = _at(rng, data, head)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 100, 4096)) :]


def _repeat(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    at, size = _at(rng, data, head), rng.choice((1, 4, 8, 64, 1000))
    return data[: at + size] + data[at:]


def _swap(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    size = rng.choice((2, 4, 8, 32))
    one, other = sorted((_at(rng, data, head), _at(rng, data, head)))
    if other < one + size:
        return data
    return (
        data[:one]
        + data[other : other + size]
        + data[one + size : other]
        + data[one : one + size]
        + data[other + size :]
    )


def _fill(rng: random.Random, data: bytes, head: int, _: Sequence[bytes]) -> bytes:
    at, size = _at(rng, data, head), rng.choice((4, 16, 256, 4096))
    return data[:at] + bytes([rng.choice((0, 0xFF))]) * size + data[at + size :]


def _append(rng: random.Random, data: bytes, head: int, others: Sequence[bytes]) -> bytes:
    return data + rng.choice((rng.randbytes(rng.choice((1, 7, 5000))), bytes(1000), *others))


def _graft(rng: random.Random, data: bytes, head: int, others: Sequence[bytes]) -> bytes:
    """The beginning of one and the end of another."""
    if not others:
        return _drop(rng, data, head, others)
    other = rng.choice(others)
    return data[: _at(rng, data, head)] + other[_at(rng, other, head) :]


BINARY: tuple[Callable[[random.Random, bytes, int, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _byte, _integer, _integer, _integer, _cut, _insert, _drop, _repeat, _swap, _fill, _append, _graft,
)  # fmt: skip


# Text.


def _lines(rng: random.Random, data: str, _: Sequence[str]) -> str:
    lines = data.splitlines(keepends=True) or [""]
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = lines[at].rstrip("\n")
        case _:
            lines = [line.replace("\n", rng.choice(("\r\n", "\r", "\x0b", "\x85"))) for line in lines]
    return "".join(lines)


def _token(rng: random.Random, data: str, _: Sequence[str]) -> str:
    """A word, number or quoted text is replaced by an odd one."""
    found = list(re.finditer(r"\"[^\"\n]*\"|'[^'\n]*'|[\w.+-]+", data))
    if not found:
        return data + rng.choice(ODD_TEXT)
    at = rng.choice(found)
    odd = rng.choice(ODD_TEXT)
    if at[0][0] in "\"'" and rng.random() < 0.7:
        odd = at[0][0] + odd + at[0][0]
    return data[: at.start()] + odd + data[at.end() :]


def _letters(rng: random.Random, data: str, _: Sequence[str]) -> str:
    at = rng.randrange(len(data) + 1)
    odd = rng.choice(ODD_TEXT)
    return data[:at] + odd + data[at + rng.choice((0, 0, 1, 3, 20)) :]


def _cut_text(rng: random.Random, data: str, _: Sequence[str]) -> str:
    return data[: rng.randrange(len(data) + 1)]


def _exchange(rng: random.Random, data: str, others: Sequence[str]) -> str:
    """A line of another text."""
    lines = data.splitlines(keepends=True) or [""]
    lent = rng.choice(others or (data,)).splitlines(keepends=True) or ["\n"]
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lent))
    return "".join(lines)


TEXT: tuple[Callable[[random.Random, str, Sequence[str]], str], ...] = (
    _lines, _token, _token, _token, _letters, _letters, _cut_text, _exchange,
)  # fmt: skip


# Values.


def _paths(whole: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = whole.items() if isinstance(whole, dict) else enumerate(whole) if isinstance(whole, list) else ()
    return [here, *(path for key, part in inner for path in _paths(part, (*here, key)))]


def _odd(rng: random.Random, old: Any) -> Any:
    if isinstance(old, int | float) and not isinstance(old, bool) and rng.random() < 0.5:
        return rng.choice((-old, old + 1, old - 1, old * 1000, str(old), repr(old), rng.choice(EXTREMES)))
    if isinstance(old, str) and rng.random() < 0.5:
        return rng.choice((old + rng.choice(ODD_TEXT), old[:-1], old.upper(), rng.choice(ODD_TEXT)))
    return deepcopy(rng.choice(ODD_VALUES))  # what is put in may be changed next


def _changed(rng: random.Random, whole: Any, paths: list[tuple[Any, ...]]) -> Any:
    path = rng.choice(paths[1:] or paths)
    if not path:
        return _odd(rng, whole)
    home = whole
    for key in path[:-1]:
        home = home[key]
    last = path[-1]
    match rng.randrange(8):
        case 0:
            del home[last]
        case 1 if isinstance(home, dict):
            home[rng.choice((str(last) + "x", rng.choice(ODD_TEXT)))] = home.pop(last)
        case 1 | 2 if isinstance(home, list):
            home.insert(rng.randrange(len(home) + 1), home[last])
        case 2:
            home[rng.choice(ODD_TEXT)] = _odd(rng, home[last])
        case 3:
            home[last] = [home[last]]
        case _:
            home[last] = _odd(rng, home[last])
    return whole
