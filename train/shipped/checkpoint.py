"""The default checkpoint from open corpora: cross-validated, calibrated, fitted, exported, its figures written down."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sadstream.base.files import save_atomic
from sadstream.base.progress import progress
from sadstream.scoring.fusion.header import TextEncoderConfig
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.store import load_tensors, locate
from train.corpora.clips import read_clips
from train.features.cache import Cache
from train.metrics.calibration import centred, fit_scaling
from train.metrics.detection import auc, over_groups
from train.shipped.config import OpenConfig
from train.shipped.cross_validation import never_heard, read_speech, ship
from train.shipped.export import HeaderTerms, TextPart, write
from train.shipped.scorecard import (
    Figure,
    shipped_table,
)
from train.shipped.text_part import (
    CHUNK,
    Phrases,
    balanced_lines,
    embed,
    fit_phrases,
    read_lines,
    text_out_of_fold,
)

TEXT_TARGETS = {"meld": ">= .74", "goemotions": ">= .85"}  # of fragments, which is what three seconds give


@dataclass(frozen=True, slots=True, eq=False)
class TextResult:
    """The text part as shipped, and everything measured of it."""

    part: TextPart
    figures: tuple[Figure, ...]


def make_checkpoint(data: Path, out: Path, config: OpenConfig, cache: Path, provisional: bool = False) -> str:
    """Write `out` (the checkpoint) and its report beside it (.md); returns the report."""
    torch.set_num_threads(1)  # sums in another order are other weights after 300 steps
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = Cache(cache)
    speech = read_speech(data, config, kept)
    voice = ship(speech, speech.states(read_clips(data / "english"), 1))
    text = text_result(data / "text", config, kept)
    aside = [clip for clip in read_clips(data / "speech") if config.corpora and clip.corpus not in config.corpora]
    strangers = never_heard(voice.part, speech.states(aside, 1), config.resamples) if aside else []
    figures = [*voice.figures, *strangers, *text.figures]
    corpora = (*sorted({clip.corpus for clip in speech.heard.clips}), *config.text.corpora)
    terms = HeaderTerms(config.prior, voice.threshold, tuple(f.metric for f in figures), provisional, corpora)
    sha256 = write(out, voice.part, text.part, terms)
    report = "\n".join([f"checkpoint {sha256[:12]}\n", shipped_table(figures), *voice.tables])
    save_atomic(out.with_suffix(".md"), report.encode())
    return report


def text_result(folder: Path, config: OpenConfig, cache: Cache) -> TextResult:
    """The text part fitted to the train lines and centred on neutral ones, and its figures on dev."""
    directory = locate(config.text.encoder, "text")
    identity = load_tensors(directory).installed.identity
    unchecked = TextEncoderConfig(name=config.text.encoder, identity=identity, pooling="mean", dim=1)
    encoder = TextEncoder(directory, unchecked, "cpu")
    lines = read_lines(folder, config.text.corpora, config.text.other_lines, config.seed)
    with progress("text embeddings", (1 + config.text.fragments) * -(-len(lines) // CHUNK), "chunks") as advance:
        phrases = embed(lines, encoder, config.text, cache, advance)
    train = phrases.rows("train")
    parts = text_out_of_fold(phrases, train, config.text.strength, folds=5)
    kept = [phrases.lines[i] for i in train]
    labels, weights = np.array([line.sad for line in kept]), balanced_lines(kept)
    scaling = fit_scaling(np.tile(labels, 2), parts.ravel(), np.tile(weights, 2), config.text.cap)
    weighed = scaling.model_copy(update={"scale": scaling.scale * config.text.weight, "shift": 0.0})
    plain = config.text.corpora[0]  # what its neutral lines say counts for nothing
    neutral = np.array([line.corpus == plain and line.emotion == "neutral" for line in kept])
    final = centred(weighed, parts[:, neutral].ravel())
    part = TextPart(
        fit_phrases(phrases, train, config.text.strength),
        unchecked.model_copy(update={"dim": encoder.dim}),
        final,
    )
    return TextResult(part, tuple(_text_figures(phrases, part, config)))


def _text_figures(phrases: Phrases, part: TextPart, config: OpenConfig) -> list[Figure]:
    resamples = config.resamples
    figures = []
    protocol = "fitted to train lines; dev lines not seen in train; bootstrap over dialogues"
    dev = phrases.rows("dev")
    for corpus in config.text.corpora:
        rows = np.array([i for i in dev if phrases.lines[i].corpus == corpus], dtype=np.int64)
        labels = np.array([phrases.lines[i].sad for i in rows])
        groups = [phrases.lines[i].dialogue for i in rows]
        for what, embedded, target in (
            ("as written", phrases.written, ""),
            ("fragments of 2 to 10 words", phrases.fragments[0], TEXT_TARGETS[corpus]),
        ):
            interval = over_groups(auc, labels, embedded[rows] @ part.weights, groups, resamples=resamples)
            figures.append(Figure(f"text AUC, {corpus} dev, {what}", interval, target, protocol))
    plain = config.text.corpora[0]
    rows = np.array([i for i in dev if phrases.lines[i].corpus == plain and phrases.lines[i].emotion == "neutral"])
    llrs = part.scaling(phrases.written[rows] @ part.weights)
    groups = [phrases.lines[i].dialogue for i in rows]
    mean = over_groups(lambda _, values: float(values.mean()), np.zeros(rows.size, np.int64), llrs, groups)
    return [*figures, Figure(f"mean text part of neutral {plain} dev lines", mean, "0 ± .1", protocol)]
