"""Figures of a report as PNG bytes."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import precision_recall_curve

from train.metrics.paired import confusion
from train.thesis.tables import SystemPredictions
from train.training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10  # of equal counts, as in the calibration error


def panels(columns: int, rows: int = 1, width: float = 4.0, height: float = 3.2) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for line in axes for axis in line]


def png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": "training of sadstream"})
    return file.getvalue()


def learning_curves(runs: Sequence[Run]) -> bytes:
    """Loss of train and validation, and macro F1 of validation, by epoch, one panel a run."""
    columns = min(3, len(runs))
    figure, axes = panels(columns, -(-len(runs) // columns))
    for axis, run in zip(axes, runs, strict=False):
        epochs = run.history.epochs
        numbers = [epoch.epoch for epoch in epochs]
        axis.plot(numbers, [epoch.train_loss for epoch in epochs], label="train loss")
        axis.plot(numbers, [epoch.validation_loss for epoch in epochs], label="validation loss")
        axis.plot(numbers, [epoch.validation_macro_f1 for epoch in epochs], ":", label="validation macro F1")
        axis.axvline(run.selection("strict").epoch, color="grey", linewidth=0.8)
        axis.set_title(run.config.title, fontsize=8)
        axis.set_xlabel("epoch")
        axis.legend(fontsize=7)
    for axis in axes[len(runs) :]:
        axis.set_axis_off()
    return png(figure)


def confusion_matrices(scored: Sequence[SystemPredictions]) -> bytes:
    """The confusion matrix of each system."""
    columns = min(4, len(scored))
    figure, axes = panels(columns, -(-len(scored) // columns), width=2.8, height=2.6)
    for axis, one in zip(axes, scored, strict=False):
        cells = confusion(one.found)
        matrix = [[cells.tn, cells.fp], [cells.fn, cells.tp]]
        axis.imshow([[value / max(1, sum(row)) for value in row] for row in matrix], cmap="Blues", vmin=0, vmax=1)
        for y, row in enumerate(matrix):
            for x, value in enumerate(row):
                colour = "white" if value > 0.6 * sum(row) else "black"
                axis.text(x, y, f"{value:,}", ha="center", va="center", color=colour)
        axis.set_xticks([0, 1], ["said not sad", "said sad"], fontsize=7)
        axis.set_yticks([0, 1], ["not sad", "sad"], fontsize=7)
        axis.set_title(one.title, fontsize=7)
    for axis in axes[len(scored) :]:
        axis.set_axis_off()
    return png(figure)


def curves(scored: Sequence[SystemPredictions]) -> bytes:
    """Precision over recall, and frequency over confidence in bins of equal counts."""
    figure, (left, right) = panels(2, width=5.5, height=4.5)
    for one in scored:
        precision, recall, _ = precision_recall_curve(one.found.labels, one.found.probabilities)
        left.step(recall, precision, where="post", label=one.title, linewidth=1.2)
        order = np.argsort(one.found.probabilities, kind="stable")
        bins = [part for part in np.array_split(order, min(BINS, order.size)) if part.size]
        confidence = [one.found.probabilities[part].mean() for part in bins]
        right.plot(confidence, [one.found.labels[part].mean() for part in bins], "o-", markersize=3, linewidth=1)
    left.axhline(scored[0].found.labels.mean(), color="grey", linestyle=":", label="chance")
    left.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    left.legend(fontsize=6)
    right.plot([0, 1], [0, 1], color="grey", linestyle=":")
    right.set(xlabel="mean probability of the bin", ylabel="share that is sad")
    return png(figure)
