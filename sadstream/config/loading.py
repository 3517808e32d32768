"""A configuration read from TOML, changed, checked, and written again."""

import codecs
import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sadstream.base.errors import ConfigError, MissingFileError
from sadstream.base.files import contents
from sadstream.config.tables import EXPECTED, Config, StreamConfig, TomlTable
from sadstream.events.types import stream_name

LONGEST_BYTES = 1_000_000  # of a file of settings; every key with a comment is a hundredth of it
LONGEST_SHOWN = 80


def load(path: Path | None) -> Config:
    """The configuration in a TOML file, or the defaults; ConfigError names key, value and what was expected."""
    if path is None:
        return Config()
    try:
        return parse(read_table(path), str(path))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such configuration file; `sadstream config show` prints one") from None


def read_table(path: Path) -> dict[str, Any]:
    """The table in a TOML file, its BOM left out; ConfigError for what is none, FileNotFoundError where nothing is."""
    try:
        return tomllib.loads(_text(path))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, no TOML, a number of 5,000 digits
        what = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read as TOML: {what}") from None
    except RecursionError:
        raise ConfigError(f"{path}: cannot be read as TOML: nested too deeply") from None


def _text(path: Path) -> str:
    """A file's text, with or without a byte-order mark; ValueError says why it can be no configuration."""
    content, _ = contents(path, LONGEST_BYTES)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise ValueError("expected UTF-8, found UTF-16; save it again as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"expected UTF-8, found another encoding at line {line}; save it again as UTF-8") from None


def parse(table: dict[str, Any], where: str) -> Config:
    """The configuration in a parsed TOML table; `where` opens the line of a ConfigError."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"{where}: {'; '.join(_line(detail) for detail in _causes(error)[:3])}") from None


def with_changes(
    config: Config,
    changes: dict[str, dict[str, Any]],
    streams: list[dict[str, Any]] | None = None,
    where: str = "command line",
) -> Config:
    """The configuration with some keys of its tables, or all its streams, replaced, and checked again."""
    table = config.model_dump()
    for name, keys in changes.items():
        table[name] = table[name] | keys
    if streams is not None:
        table["stream"] = streams
    return parse(table, where)


def _causes(error: ValidationError) -> list[Any]:
    """What is wrong; not that a list is too short because of what is wrong in it."""
    found = error.errors()
    inner = [detail["loc"] for detail in found]
    return [
        detail
        for detail in found
        if detail["type"] != "too_short"
        or not any(loc[:-1] and loc[: len(detail["loc"])] == detail["loc"] for loc in inner)
    ]


def _line(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key; {_meant(detail['loc'])}`sadstream config show` lists the known ones"
    if detail["loc"] == ("stream",) and isinstance(detail["input"], dict):
        return "stream: expected [[stream]] with two brackets, one for each thing to listen to; found [stream]"
    if detail["type"] == "model_type":
        brackets = f"[[{key}]]" if isinstance(detail["input"], list) else f"{key} = {_shown(detail['input'])}"
        return f"{key}: expected a table [{key}]; found {brackets}"
    if detail["type"] == "value_error" and not isinstance(detail["input"], str | int | float):
        return f"{key}.{message}" if key else str(message)
    if detail["type"] == "string_pattern_mismatch":
        message = EXPECTED.get(detail["ctx"]["pattern"], message)
    return f"{key} = {_shown(detail['input'])}: {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _meant(loc: tuple[int | str, ...]) -> str:
    """What an unknown key was probably meant to be: the nearest here, else the same one in another table."""
    *above, wrong = (str(part) for part in loc if not isinstance(part, int))
    tables = {name: model.model_fields for name, model in _tables().items()}
    known = tables.get(above[0], {}) if above else {**Config.model_fields}
    near = difflib.get_close_matches(wrong, known, n=1)
    if near:
        return f"did you mean {near[0]}? "
    found = [f"[[{name}]]" if name == "stream" else f"[{name}]" for name, keys in tables.items() if wrong in keys]
    return f"it belongs to {' or '.join(found)}; " if found else ""


def _tables() -> dict[str, type[TomlTable]]:
    return {name: type(field.default) for name, field in Config.model_fields.items() if name != "stream"} | {
        "stream": StreamConfig
    }


def to_toml(config: Config) -> str:
    """Every key in force; keys without a value are left out, which means their default."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def configured(path: Path | None, changes: dict[str, dict[str, Any]]) -> Config:
    """The file's configuration with what the command line replaces."""
    config = load(path)
    wanted = {
        table: {key: value for key, value in keys.items() if value is not None} for table, keys in changes.items()
    }
    stream = wanted.pop("stream", {})
    if stream:
        first = config.stream[0].model_dump() | stream
        if "source" in stream and "name" not in stream:
            first["name"] = default_name(stream["source"])
        rest = [other.model_dump() for other in config.stream[1:]]
        config = with_changes(config, {}, streams=[first, *rest])
    return with_changes(config, {table: keys for table, keys in wanted.items() if keys})


def default_name(source: str) -> str:
    """`mic` for a microphone and what stands for one, else a name made of the file's stem."""
    return StreamConfig().name if source in ("mic", "browser", "-") else stream_name(Path(source))
