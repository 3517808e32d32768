"""A run as TensorBoard's event files, in its own folder; read by: tensorboard --logdir RUNS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sadstream.base.errors import UnavailableError
from train.training.records.history import Epoch

PLACE = "tensorboard"
LOSS, MACRO_F1 = "loss", "macro F1"


def require_writer() -> Any:
    """The writer's class; UnavailableError with the line that installs it."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise UnavailableError("tensorboard: not installed; in the checkout: pip install '.[tensorboard]'") from None
    return SummaryWriter


class EventTracker:
    """Appends to what the folder holds; the settings go beside the figures, as TensorBoard's hparams."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, str]) -> None:
        self._settings, self._place = settings, folder / PLACE
        self._found = _scalars(self._place)
        self._name = name
        self._made: Any = None

    @property
    def _writer(self) -> Any:
        """Made when there is something to write: each one is a file."""
        if self._made is None:
            self._made = require_writer()(str(self._place))
            if not self._found:
                lines = "".join(f"| {key} | {value} |\n" for key, value in self._settings.items())
                self._made.add_text("config", f"{self._name}\n\n| | |\n|---|---|\n{lines}", 0)
        return self._made

    def logged(self) -> int:
        """The last step of the losses in its files."""
        return self._found.get(f"{LOSS}/train", 0)

    def has(self, name: str) -> bool:
        """Whether a file holds it."""
        return name in self._found

    def epoch(self, epoch: Epoch) -> None:
        """Three points, and one of what is learned beside sad."""
        self._writer.add_scalar(f"{LOSS}/train", epoch.train_loss, epoch.epoch)
        self._writer.add_scalar(f"{LOSS}/validation", epoch.validation_loss, epoch.epoch)
        self._writer.add_scalar(f"{MACRO_F1}/validation", epoch.validation_macro_f1, epoch.epoch)
        if epoch.validation_target is not None:
            self._writer.add_scalar("target/validation", epoch.validation_target, epoch.epoch)
        self._writer.flush()

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """A point each, and all of them beside the settings."""
        from torch.utils.tensorboard.summary import hparams

        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        for summary in hparams(dict(self._settings), dict(values)):  # type: ignore[no-untyped-call,unused-ignore]
            self._writer.file_writer.add_summary(summary)

    def close(self) -> None:
        """Write the last of it."""
        if self._made is not None:
            self._made.close()


def _scalars(place: Path) -> dict[str, int]:
    """The last step of each scalar that a folder's event files hold."""
    if not any(place.glob("events.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(place), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: max(event.step for event in found.Scalars(tag)) for tag in found.Tags()["scalars"]}
