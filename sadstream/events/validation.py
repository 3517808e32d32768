"""Records out of JSON objects, each field checked by its type (standard library only)."""

import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

Check = Callable[[Any], Any]  # gives the value as the record holds it, or raises WireError


class WireError(ValueError):
    """A message that is not an event of this contract."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value of a field, both allowed."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """The least and the greatest number of names in an object, both allowed."""

    low: int
    high: int


@cache
def hints(kind: Any) -> dict[str, tuple[Field[Any], Any]]:
    """Each field of a record with its type, ranges included."""
    found = get_type_hints(kind, include_extras=True)
    return {field.name: (field, found[field.name]) for field in fields(kind)}


def record(kind: Any, body: dict[str, Any], where: str) -> Any:
    """A record of this kind out of a JSON object, every known field checked; WireError names the first bad one."""
    values: dict[str, Any] = {}
    name = ""
    try:
        for name, required, check in _incoming(kind):
            if name in body:
                values[name] = check(body[name])
            elif required:
                raise WireError("missing")
    except WireError as error:
        raise WireError(f"{where}.{name}: {error}".removeprefix(".")) from None
    return kind(**values)


@cache
def _incoming(kind: Any) -> tuple[tuple[str, bool, Check], ...]:
    """Each field of a record, whether it must be there, and its check; made once, since an app reads many events."""
    return tuple((name, field.default is MISSING, _check(hint)) for name, (field, hint) in hints(kind).items())


def _check(hint: Any) -> Check:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _within(_check(arguments[0]), arguments[1])
    if origin in (Union, types.UnionType):
        present = _check(next(one for one in arguments if one is not type(None)))
        return lambda value: None if value is None else present(value)
    if origin is Literal:
        return _one_of(frozenset(arguments))
    if origin in (tuple, Mapping):
        return _all_of(_check(arguments[0])) if origin is tuple else _named(*map(_check, arguments))
    if is_dataclass(hint):
        return _nested(hint)
    return {float: _float, str: _str, int: _exactly(int), bool: _exactly(bool)}[hint]


def _within(check: Check, limit: Any) -> Check:
    if isinstance(limit, re.Pattern):

        def matching(value: Any) -> Any:
            if limit.fullmatch(check(value)) is None:
                raise WireError("out of range")
            return value

        return matching
    if isinstance(limit, Size):

        def counted(value: Any) -> Any:
            entries = check(value)
            if limit.low <= len(entries) <= limit.high:
                return entries
            raise WireError("out of range")

        return counted
    low = -math.inf if limit.low is None else limit.low
    high = math.inf if limit.high is None else limit.high

    def between(value: Any) -> Any:
        number = check(value)
        if low <= number <= high:
            return number
        raise WireError("out of range")

    return between


def _one_of(words: frozenset[str]) -> Check:
    def listed(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        raise WireError(f"not one of {', '.join(sorted(words))}")

    return listed


def _all_of(check: Check) -> Check:
    def each(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(check, value))
        raise WireError("not a list")

    return each


def _named(name: Check, entry: Check) -> Check:
    def each(value: Any) -> Any:
        if isinstance(value, dict):
            return {name(key): entry(one) for key, one in value.items()}
        raise WireError("not an object")

    return each


def _exactly(kind: type) -> Check:
    def exact(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise WireError(f"not a {kind.__name__}")

    return exact


def _float(value: Any) -> float:
    if type(value) in (float, int):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise WireError("not a number")


def _str(value: Any) -> str:
    # Half of a surrogate pair is legal JSON and no text: printing it would fail.
    if type(value) is str and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)):
        return value
    raise WireError("not a text")


def _nested(kind: Any) -> Check:
    def inner(value: Any) -> Any:
        if not isinstance(value, dict):
            raise WireError("not an object")
        return record(kind, value, "")

    return inner
