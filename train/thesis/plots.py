"""Figures of a report as PNG bytes."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import precision_recall_curve

from sadstream.audio.filters.level import at_level
from sadstream.scoring.fusion.features import log_mel
from sadstream.scoring.fusion.network import Fusion
from train.corpora.clips import read_speech
from train.corpora.manifest import Utterance
from train.features.inputs import fusion_shape
from train.features.log_mels import pieces
from train.metrics.paired import confusion
from train.thesis.tables import SystemPredictions
from train.training.loop import EpochWeights
from train.training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10  # of equal counts, as in the calibration error


def _figure(columns: int, rows: int = 1, width: float = 4.0, height: float = 3.2) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for line in axes for axis in line]


def _png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": "training of sadstream"})
    return file.getvalue()


def learning_curves(runs: Sequence[Run]) -> bytes:
    """Loss of train and validation, and macro F1 of validation, by epoch, one panel a run."""
    columns = min(3, len(runs))
    figure, axes = _figure(columns, -(-len(runs) // columns))
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
    return _png(figure)


def confusion_matrices(scored: Sequence[SystemPredictions]) -> bytes:
    """The confusion matrix of each system."""
    columns = min(4, len(scored))
    figure, axes = _figure(columns, -(-len(scored) // columns), width=2.8, height=2.6)
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
    return _png(figure)


def curves(scored: Sequence[SystemPredictions]) -> bytes:
    """Precision over recall, and frequency over confidence in bins of equal counts."""
    figure, (left, right) = _figure(2, width=5.5, height=4.5)
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
    return _png(figure)


def attention(run: Run, row: Utterance) -> bytes:
    """What the attention of a run's strict epoch listens to in one recording, over its log-Mel spectrogram."""
    config = run.config
    cut = pieces(read_speech(Path(row.path)), config.audio)[:1]
    mel = log_mel(torch.from_numpy(at_level(cut[0], config.features.level_dbfs))[None], config.features)
    weights = EpochWeights(run.folder)
    epoch = run.selection("strict").epoch
    fusion = Fusion(fusion_shape(config, mel, weights.text_dim(epoch)))
    weights.load(epoch, fusion)
    with torch.inference_mode():
        found = fusion.eval().parts(mel, None).attention
    assert found is not None
    seconds = cut.shape[1] / 16_000
    figure, (top, bottom) = _figure(1, 2, width=7.0, height=2.2)
    top.imshow(mel[0].T.numpy(), origin="lower", aspect="auto", extent=(0, seconds, 0, mel.shape[2]))
    top.set(title=f"{row.utterance} ({row.label}), {config.title}", ylabel="Mel band")
    edges = np.linspace(0, seconds, found.shape[1] + 1)
    bottom.stairs(found[0].numpy(), edges, fill=True)
    bottom.set(xlabel="s", ylabel="attention", xlim=(0, seconds))
    return _png(figure)
