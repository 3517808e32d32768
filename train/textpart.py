"""The text part of the default checkpoint: fitted, calibrated on other lines, measured on dev."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sadstream.header import TextEncoderConfig
from sadstream.models import load_tensors, locate
from sadstream.text import TextEncoder
from train.calibration import centred, fit_line
from train.export import TextPart
from train.files import save_state
from train.metrics import auc, over_groups
from train.phrases import BATCH, CORPORA, Line, Phrases, apart, balanced_lines, embed, read_lines
from train.progress import progress
from train.scorecard import Figure
from train.tuning import Tuned, tune

if TYPE_CHECKING:
    from train.open import OpenConfig

TARGETS = {"meld": ">= .78", "goemotions": ">= .87"}
WEIGHTS = "weights"  # of the embedding, beside the layers in the cache


@dataclass(frozen=True, slots=True, eq=False)
class TextResult:
    """The text part as shipped, and everything measured of it."""

    part: TextPart
    figures: tuple[Figure, ...]


def text_result(folder: Path, config: "OpenConfig", cache: Path) -> TextResult:
    """The text part fitted to train lines, calibrated and centred on others of them, and its figures on dev."""
    import numpy as np

    directory = locate(config.text.encoder, "text")
    lines = read_lines(folder, config.text.other_lines, config.seed)
    fitted, held_out = apart(lines, config.text.held_out)
    tuned = _tuned(directory, [lines[i] for i in fitted], config, cache)
    identity = load_tensors(directory).installed.identity
    whose = TextEncoderConfig(
        name=config.text.encoder,
        identity=identity,
        pooling="mean",
        dim=tuned.weights.size,
        tuned_layers=config.tuning.layers,
    )
    encoder = TextEncoder(directory, whose, "cpu", tuned.layers)
    kept = [lines[i] for i in held_out] + [line for line in lines if line.split == "dev"]
    with progress("text embeddings", 2 * -(-len(kept) // BATCH), "batches") as advance:
        phrases = embed(kept, encoder, config.text, advance)
    rows = phrases.rows("train")
    parts = np.stack([phrases.written[rows] @ tuned.weights, phrases.fragments[rows] @ tuned.weights])
    calibrating = [phrases.lines[i] for i in rows]
    labels, weights = np.array([line.sad for line in calibrating]), balanced_lines(calibrating)
    line = fit_line(np.tile(labels, 2), parts.ravel(), np.tile(weights, 2), config.text.cap)
    weighed = line.model_copy(update={"scale": line.scale * config.text.weight, "shift": 0.0})
    neutral = np.array([line.corpus == "meld" and line.emotion == "neutral" for line in calibrating])
    part = TextPart(tuned.weights, whose, centred(weighed, parts[:, neutral].ravel()), tuned.layers)
    return TextResult(part, tuple(_text_figures(phrases, part, config.resamples)))


def _tuned(directory: Path, lines: Sequence[Line], config: "OpenConfig", cache: Path) -> Tuned:
    """The text encoder's top layers and weights, from the cache if they were fitted before."""
    import torch

    digest = hashlib.sha256(f"{load_tensors(directory).installed.identity} {config.seed}\n".encode())
    digest.update(f"{config.tuning.model_dump_json()} {config.text.fragment_words}\n".encode())
    digest.update("\n".join(f"{line.corpus} {line.emotion} {line.sad} {line.text}" for line in lines).encode())
    path = cache / "fits" / f"text-{digest.hexdigest()[:24]}.pt"
    if path.is_file():
        layers = torch.load(path, weights_only=True)
        return Tuned(layers, layers.pop(WEIGHTS).numpy())
    with progress("text layers", config.tuning.steps, "steps") as advance:
        tuned = tune(directory, lines, config.text.fragment_words, config.tuning, config.seed, advance)
    save_state(path, {**tuned.layers, WEIGHTS: torch.from_numpy(tuned.weights)})
    return tuned


def _text_figures(phrases: Phrases, part: TextPart, resamples: int) -> list[Figure]:
    import numpy as np

    figures = []
    protocol = "fitted to train lines; dev lines not seen in train; bootstrap over dialogues"
    dev = phrases.rows("dev")
    for corpus in CORPORA:
        rows = np.array([i for i in dev if phrases.lines[i].corpus == corpus], dtype=np.int64)
        labels = np.array([phrases.lines[i].sad for i in rows])
        groups = [phrases.lines[i].dialogue for i in rows]
        for what, embedded, target in (
            ("as written", phrases.written, TARGETS[corpus]),
            ("fragments of 2 to 10 words", phrases.fragments, "at most .05 less"),
        ):
            interval = over_groups(auc, labels, embedded[rows] @ part.weights, groups, resamples=resamples)
            figures.append(Figure(f"text AUC, {corpus} dev, {what}", interval, target, protocol))
    rows = np.array([i for i in dev if phrases.lines[i].corpus == "meld" and phrases.lines[i].emotion == "neutral"])
    ratios = part.line(phrases.written[rows] @ part.weights)
    groups = [phrases.lines[i].dialogue for i in rows]
    mean = over_groups(lambda _, values: float(values.mean()), np.zeros(rows.size, np.int64), ratios, groups)
    return [*figures, Figure("mean text part of neutral MELD dev lines", mean, "0 ± .1", protocol)]
