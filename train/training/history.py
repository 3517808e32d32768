"""How a training went, epoch by epoch."""

from sadstream.scoring.fusion.header import Record


class Epoch(Record):
    """One pass over the training rows, and what it did to validation."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_macro_f1: float  # at 0.5
    seconds: float
    utterances: int  # drawn, oversampled ones counted again

    @property
    def utterances_per_s(self) -> float:
        """Training utterances a second, validation included in the time."""
        return self.utterances / self.seconds if self.seconds else 0.0


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
