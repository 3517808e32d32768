"""How a training went, epoch by epoch, and how long it took."""

from typing import Any

from pydantic import model_validator

from sadstream.scoring.fusion.header import Record


class Epoch(Record):
    """One pass over the training rows, and what it did to validation."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_macro_f1: float  # at 0.5
    validation_target: float | None = None  # of what is learned beside sad: unweighted recall, or mean concordance
    utterances: int  # drawn, oversampled ones counted again

    @property
    def strict_figure(self) -> float:
        """What the strict protocol chooses by."""
        return self.validation_macro_f1 if self.validation_target is None else self.validation_target

    @model_validator(mode="before")
    @classmethod
    def _without_seconds(cls, table: Any) -> Any:
        """Files of earlier versions hold them here; `EpochTimes` reads them."""
        return {key: table[key] for key in table if key != "seconds"} if isinstance(table, dict) else table


class History(Record):
    """The epochs of one run in order."""

    epochs: tuple[Epoch, ...] = ()

    def with_epoch(self, epoch: Epoch) -> "History":
        """The history with one more epoch."""
        return History(epochs=(*self.epochs, epoch))

    @property
    def lowest_loss_epoch(self) -> int:
        """The first epoch with the lowest validation loss; 0 before any."""
        if not self.epochs:
            return 0
        return min(self.epochs, key=lambda epoch: (epoch.validation_loss, epoch.epoch)).epoch

    def finished(self, epochs: int, patience: int) -> bool:
        """All epochs done, or `patience` of them without a lower validation loss."""
        done = len(self.epochs)
        return done >= epochs or done - self.lowest_loss_epoch >= patience


class EpochTimes(Record):
    """Seconds of each epoch, validation included: apart from the history, which is the same each time."""

    seconds: tuple[float, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_history(cls, table: Any) -> Any:
        """A history of an earlier version holds them; one of today none."""
        if not isinstance(table, dict) or "epochs" not in table:
            return table
        return {"seconds": [epoch["seconds"] for epoch in table["epochs"] if "seconds" in epoch]}

    def with_epoch(self, seconds: float) -> "EpochTimes":
        """The same with one more epoch."""
        return EpochTimes(seconds=(*self.seconds, seconds))
