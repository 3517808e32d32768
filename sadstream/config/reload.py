"""A configuration read again while the daemon runs: what takes effect at once, and what needs a restart."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sadstream.base.errors import SadstreamError
from sadstream.config.tables import Config

log = logging.getLogger("sadstream")

LIVE = frozenset(
    {"model.threshold", "publish.text", "publish.speaker", "publish.emotions", "compute.release_after_s"}
    | {f"service.{key}" for key in ("heartbeat_s", "hang_s")}
)


@dataclass(frozen=True, slots=True)
class Reload:
    """The configuration in force from now on, the keys that changed, and those that wait for a restart."""

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def reload(old: Config, new: Config) -> Reload:
    """Take over what can change in a running daemon; the rest of the old configuration stays as it is."""
    changed, waiting = [], []
    tables = {name: getattr(old, name) for name in type(old).model_fields}
    for name, table in tables.items():
        if name == "stream":
            waiting += [] if table == new.stream else ["stream"]
            continue
        wanted = getattr(new, name)
        keys = [key for key in type(table).model_fields if getattr(table, key) != getattr(wanted, key)]
        live = [key for key in keys if _is_live(name, key, getattr(wanted, key))]
        if name == "publish" and new.publish.text and old.compute.device == "remote":
            live = [key for key in live if key != "text"]  # a door has not been asked for words
        changed += [f"{name}.{key}" for key in live]
        waiting += [f"{name}.{key}" for key in keys if key not in live]
        tables[name] = table.model_copy(update={key: getattr(wanted, key) for key in live})
    return Reload(old.model_copy(update=tables), tuple(changed), tuple(waiting))


def read_again(old: Config, read: Callable[[], Config]) -> Config:
    """The configuration in force after it was read again: all of it that can change, or the old one; the log says."""
    try:
        change = reload(old, read())
    except SadstreamError as error:
        log.error("the configuration stays as it was: %s", error)
        return old
    log.info("configuration read again; changed: %s", ", ".join(change.changed) or "nothing")
    if change.waiting:
        log.warning("waiting for a restart: %s", ", ".join(change.waiting))
    return change.config


def _is_live(table: str, key: str, value: object) -> bool:
    # Without a threshold of its own the configuration means the checkpoint's, which is read with the models.
    return f"{table}.{key}" in LIVE and not (key == "threshold" and value is None)
