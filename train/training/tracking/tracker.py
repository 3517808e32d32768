"""What a tracker is told of a run, in whatever tool: settings, epochs, figures; never the same step twice."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Protocol

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.base.files import read_whole, save_atomic
from sadstream.scoring.fusion.header import Record
from train.presets import RunConfig
from train.training.records.history import Epoch, History

Kind = Literal["tensorboard", "mlflow"]
NAME = "tracking.json"
log = logging.getLogger("train")  # nobody sets it up: a warning is a line on standard error
KINDS: tuple[Kind, ...] = ("tensorboard", "mlflow")


class TrackedWith(Record):
    """Which tool a run was told to: the same command again, and `evaluate`, tell it too."""

    kind: Kind


class Tracker(Protocol):
    """One run in one tool; opened again it goes on where it was."""

    def logged(self) -> int:
        """The last epoch that it holds; 0: none."""

    def has(self, name: str) -> bool:
        """Whether it holds a figure of this name."""

    def epoch(self, epoch: Epoch) -> None:
        """Keep an epoch's losses and macro F1, at its number."""

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """Keep what came out, at the last epoch."""

    def close(self) -> None:
        """Write whatever is not written yet."""


def kind_of(words: str | None) -> Kind | None:
    """The tool that was asked for; UsageError for one that nobody knows, UnavailableError where it is not installed."""
    if words is None:
        return None
    kind = next((kind for kind in KINDS if kind == words), None)
    if kind is None:
        raise UsageError(f"--track {words}: expected {' or '.join(KINDS)}")
    _shell(kind)
    return kind


def _shell(kind: Kind) -> Any:
    """The class that speaks to a tool; its library is imported here."""
    if kind == "mlflow":
        from train.training.tracking.mlflow import MlflowTracker, require

        require()
        return MlflowTracker
    from train.training.tracking.tensorboard import EventTracker, require_writer

    require_writer()
    return EventTracker


def settings(config: RunConfig) -> dict[str, str]:
    """A run's configuration as names with dots and what they are set to."""
    return dict(_flat("", config.model_dump(mode="json")))


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)


@dataclass(slots=True)
class RunFollower:
    """Tells a run's history to its tracker, or to nobody; opens it when there is something to tell."""

    kind: Kind | None
    folder: Path
    config: RunConfig
    _tracker: Tracker | None = field(default=None, init=False)
    _logged: int = field(default=0, init=False)

    def __call__(self, history: History) -> None:
        """The epochs that it does not hold yet."""
        if self.kind is None or not history.epochs:
            return
        tracker = self._open(self.kind)
        for epoch in history.epochs[self._logged :]:
            tracker.epoch(epoch)
            self._logged = epoch.epoch

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """The figures that it does not hold yet."""
        if self.kind is None:
            return
        tracker = self._open(self.kind)
        new = {name: value for name, value in values.items() if isfinite(value) and not tracker.has(name)}
        if new:
            tracker.figures(new, epoch)

    def close(self) -> None:
        """No more of it."""
        if self._tracker is not None:
            self._tracker.close()

    def _open(self, kind: Kind) -> Tracker:
        if self._tracker is None:
            save_atomic(self.folder / NAME, TrackedWith(kind=kind).model_dump_json().encode())
            opened: Tracker = _shell(kind)(self.folder, self.config.name, settings(self.config))
            self._tracker, self._logged = opened, opened.logged()
        return self._tracker


def _kept(folder: Path) -> Kind | None:
    """The tool that a run was told to before; where it is no longer installed nobody, which is said."""
    kind = TrackedWith.model_validate_json(read_whole(folder / NAME)).kind
    try:
        _shell(kind)
    except UnavailableError as error:
        log.warning("sadstream-train: %s: not told any more: %s", folder, error)
        return None
    return kind


@contextmanager
def followed(kind: Kind | None, folder: Path, config: RunConfig) -> Iterator[RunFollower]:
    """Who tells of the run in this folder while the block lasts; without `kind` the tool that it was told to before."""
    if kind is None and (folder / NAME).is_file():
        kind = _kept(folder)
    follower = RunFollower(kind, folder, config)
    try:
        yield follower
    finally:
        follower.close()
