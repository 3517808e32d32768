"""Emotions beside sad for a checkpoint that reads encoder states: a linear head on their mean and deviation over time.

Sad stays as it was, bit for bit: the head reads what was measured, not what was learned for sad.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from sadstream.base.errors import DataError
from sadstream.base.progress import progress
from sadstream.scoring.fusion.card import read_card
from sadstream.scoring.fusion.checkpoint import Checkpoint, load, save
from sadstream.scoring.fusion.header import Heads, Metric, Record
from sadstream.scoring.fusion.network import Fusion, over_time
from train.corpora.classes import NONE, EmotionClass
from train.corpora.clips import Clip, read_clips
from train.evaluation.card import write_card
from train.features.cache import Cache
from train.features.states import SegmentStates
from train.metrics.markdown import markdown
from train.metrics.targets import Targets, confusion, emotion_figures
from train.shipped.config import OpenConfig
from train.shipped.cross_validation import read_speech
from train.shipped.speaker_folds import apart, grouped_folds
from train.training.beside import temperature

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

CLASSES = tuple(
    EmotionClass(name=name, labels=labels)
    for name, labels in (
        ("angry", ("angry",)),
        ("disgusted", ("disgust",)),
        ("fearful", ("fear",)),
        ("happy", ("happy",)),
        ("neutral", ("neutral", "calm")),
        ("sad", ("sad",)),
    )
)
NAMES = tuple(one.name for one in CLASSES)
NEUTRAL, SAD = NAMES.index("neutral"), NAMES.index("sad")
MARK = "emotions: "  # before the names of its figures in the header


class EmotionsConfig(Record):
    """How the head is fitted, and for which rooms its probabilities stand."""

    strength: float = Field(default=1e-3, gt=0.0)  # inverse regularisation
    iterations: int = Field(default=150, ge=1)
    neutral: float = Field(default=0.7, gt=0.0, lt=1.0)  # share of a room's talk


@dataclass(frozen=True, slots=True, eq=False)
class HeardEmotions:
    """(n, 2 * layers * width) normalised mean and deviation over time of segments, and (n,) which emotion each is."""

    columns: NDArray[np.float32]
    emotions: Rows
    clips: tuple[Clip, ...]

    def at(self, rows: Rows) -> "HeardEmotions":
        """Some of them."""
        return HeardEmotions(self.columns[rows], self.emotions[rows], tuple(self.clips[i] for i in rows))


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """(emotions, columns) weights and (emotions,) biases of logits at equal shares."""

    weights: Floats
    bias: Floats

    def __call__(self, heard: HeardEmotions) -> Floats:
        """(n, emotions) logits."""
        logits: Floats = heard.columns @ self.weights.T + self.bias
        return logits


def add_emotions(
    data: Path, checkpoint: Path, out: Path, recipe: OpenConfig, config: EmotionsConfig, cache: Path
) -> str:
    """Write the checkpoint with the head, and its card, to `out`; returns the tables of every figure.

    Figures are of models that did not hear the speaker, or anything of the corpus; what is written is fitted to train.
    """
    known = load(checkpoint)
    card = read_card(checkpoint, known.sha256[:12])
    speech = read_speech(data, recipe.model_copy(update={"views": 1}), Cache(cache))
    heard = hear(known, speech.heard)
    folds = grouped_folds(heard.clips, recipe.folds, recipe.seed)
    held = [np.array([clip.speaker in speakers for clip in heard.clips]) for speakers in folds]
    corpora = sorted({clip.corpus for clip in heard.clips})
    aside = [np.array([clip.corpus == corpus for clip in heard.clips]) for corpus in corpora if len(corpora) > 1]
    train = np.array([clip.split == "train" for clip in heard.clips])
    raw = np.full((train.size, len(NAMES)), np.nan)
    strangers = []
    with progress("emotions", len(held) + len(aside) + 1, "fits") as advance:
        head = fit(heard.at(np.flatnonzero(train)), config)
        advance()
        for test in held:
            raw[test] = _of_strangers(heard, test, config)
            advance()
        for test in aside:
            strangers.append(_of_strangers(heard, test, config))
            advance()
    warm = temperature(_told(heard, raw))
    figures = _of_corpora(heard, raw, warm)
    for corpus, test, logits in zip(corpora, aside, strangers, strict=False):
        protocol = f"segments; trained on the other corpora, all speakers of {corpus}, bootstrap over speakers"
        figures += figures_of(heard.at(np.flatnonzero(test)), logits, warm, f"{corpus} left out", protocol)
    sha256 = write_with_head(known, out, MeasuredHead(head, warm, config, tuple(figures)))
    if card is not None:
        write_card(out, card.model_copy(update={"model": sha256[:12]}))
    talk = speech.states(read_clips(data / "english"), 1)
    tables = [_table(figures), _matrix(_told(heard, raw)), _talk(load(out).fusion, talk)]
    return "\n".join([f"checkpoint {sha256[:12]}, temperature {warm:.2f}\n", *tables])


def hear(known: Checkpoint, heard: SegmentStates) -> HeardEmotions:
    """The segments that are one of CLASSES; DataError for a checkpoint that has no statistics to read."""
    if not known.fusion.config.statistics:
        raise DataError("--checkpoint: reads no mean and deviation over time: expected one that `open` made")
    index = {label: at for at, one in enumerate(CLASSES) for label in one.labels}
    emotions = np.array([index.get(clip.emotion, NONE) for clip in heard.clips])
    rows = np.flatnonzero(emotions != NONE)
    columns = [_columns(known.fusion, heard, some) for some in np.array_split(rows, -(-rows.size // 256))]
    return HeardEmotions(np.concatenate(columns), emotions[rows], tuple(heard.clips[i] for i in rows))


def _columns(fusion: Fusion, heard: SegmentStates, rows: Rows) -> NDArray[np.float32]:
    states = torch.from_numpy(heard.states[rows]).float()
    mask = (torch.arange(states.shape[2]) < torch.from_numpy(heard.frames[rows]).unsqueeze(1)).float()
    normal = (over_time(states, mask) - fusion.statistics.mean) * fusion.statistics.scale
    columns: NDArray[np.float32] = normal.numpy()
    return columns


def fit(heard: HeardEmotions, config: EmotionsConfig) -> LinearHead:
    """A multinomial logistic regression; each corpus counts the same, and in it each of its emotions."""
    weights = np.zeros(heard.emotions.size)
    cells: dict[tuple[str, int], list[int]] = {}
    for row, (clip, emotion) in enumerate(zip(heard.clips, heard.emotions.tolist(), strict=True)):
        cells.setdefault((clip.corpus, emotion), []).append(row)
    emotions = {corpus: sum(name == corpus for name, _ in cells) for corpus, _ in cells}
    for (corpus, _), rows in cells.items():
        weights[rows] = 1.0 / (len(rows) * emotions[corpus])
    model = LogisticRegression(C=config.strength, max_iter=config.iterations, tol=1e-3)
    model.fit(heard.columns, heard.emotions, sample_weight=weights / weights.mean())
    if set(model.classes_) != set(range(len(NAMES))):
        raise DataError(f"emotions: expected some of each of {', '.join(NAMES)} to train with")
    return LinearHead(model.coef_.astype(np.float64), model.intercept_.astype(np.float64))


def _of_strangers(heard: HeardEmotions, test: NDArray[np.bool_], config: EmotionsConfig) -> Floats:
    """(test rows, emotions) logits of a head that did not hear who speaks."""
    train, rows = np.flatnonzero(~test), np.flatnonzero(test)
    apart([heard.clips[i] for i in train], [heard.clips[i] for i in rows])
    return fit(heard.at(train), config)(heard.at(rows))


def _told(heard: HeardEmotions, logits: Floats) -> Targets:
    nothing = np.zeros((heard.emotions.size, 0))
    return Targets(
        names=tuple(str(clip.path) for clip in heard.clips),
        speakers=tuple(clip.speaker for clip in heard.clips),
        emotions=NAMES,
        true=heard.emotions,
        shares=logits,
        dimensions=(),
        rated=nothing,
        said=nothing,
    )


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredHead:
    """What is to be written: the head, its temperature, how it was fitted, what was measured."""

    head: LinearHead
    temperature: float
    config: EmotionsConfig
    figures: tuple[Metric, ...]


def figures_of(heard: HeardEmotions, logits: Floats, warm: float, whose: str, protocol: str) -> list[Metric]:
    """Unweighted recall and accuracy at equal shares, and the calibration error at the shares of what was measured."""
    equal = emotion_figures(_told(heard, logits))
    counts = np.bincount(heard.emotions, minlength=len(NAMES))
    with np.errstate(divide="ignore"):
        shifted = logits / warm + np.log(counts / counts.sum())
    natural = emotion_figures(_told(heard, softmax(shifted, axis=1)))
    found = {"unweighted recall": equal["unweighted recall"], "accuracy": equal["accuracy"], "ECE": natural["ECE"]}
    return [figure.metric(f"{MARK}{whose}: {name}", protocol) for name, figure in found.items()]


def _of_corpora(heard: HeardEmotions, logits: Floats, warm: float) -> list[Metric]:
    """Of all segments, and of each corpus."""
    protocol = "segments, the sound alone, voices as they come; cross-validated by speaker, bootstrap over speakers"
    corpus_of = np.array([clip.corpus for clip in heard.clips])
    figures = figures_of(heard, logits, warm, "all", protocol)
    for corpus in sorted(set(corpus_of.tolist())):
        rows = np.flatnonzero(corpus_of == corpus)
        figures += figures_of(heard.at(rows), logits[rows], warm, corpus, protocol)
    return figures


def write_with_head(known: Checkpoint, out: Path, trained: MeasuredHead) -> str:
    """The checkpoint with the head in the place of any that it had; its SHA-256."""
    shares = room(known.header.prior, trained.config.neutral)
    config = known.fusion.config.model_copy(update={"emotions": len(NAMES), "dimensions": 0})
    fusion = Fusion(config)
    kept = {name: tensor for name, tensor in known.fusion.state_dict().items() if not name.startswith("beside.")}
    fusion.load_state_dict(kept, strict=False)
    attended = _sound_width(fusion) - trained.head.weights.shape[1]
    with torch.no_grad():
        fusion.beside.sound.weight.zero_()
        fusion.beside.sound.weight[:, attended:] = torch.from_numpy(trained.head.weights)
        if config.text_dim:
            fusion.beside.words.weight.zero_()
        shift = trained.temperature * np.log(np.array(shares) * len(NAMES))
        fusion.beside.bias.copy_(torch.from_numpy(trained.head.bias + shift))
    heads = Heads(emotions=NAMES, temperature=trained.temperature, prior=shares)
    metrics = (*(one for one in known.header.metrics if not one.name.startswith(MARK)), *trained.figures)
    return save(out, fusion, known.header.model_copy(update={"fusion": config, "heads": heads, "metrics": metrics}))


def _sound_width(fusion: Fusion) -> int:
    """Numbers that the last layer of sad reads of the sound."""
    return int(fusion.audio_out.weight.shape[1])


def room(sad: float, neutral: float) -> tuple[float, ...]:
    """(emotions,) shares of a room's talk: sad as the checkpoint has it, neutral mostly, the rest alike."""
    rest = (1.0 - sad - neutral) / (len(NAMES) - 2)
    if rest <= 0.0:
        raise DataError(
            f"emotions: sad {sad:g} and neutral {neutral:g} of a room's talk: expected less than 1 together"
        )
    return tuple({SAD: sad, NEUTRAL: neutral}.get(at, rest) for at in range(len(NAMES)))


def _talk(fusion: Fusion, talk: SegmentStates) -> str:
    """Markdown: of each corpus of ordinary talk the segments whose likeliest emotion, in a room, is this one."""
    called = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(talk.clips)), -(-len(talk.clips) // 256)):
            parts = fusion.parts(torch.from_numpy(talk.states[rows]).float(), None, torch.from_numpy(talk.frames[rows]))
            assert parts.beside is not None
            called += parts.beside.argmax(1).tolist()
    lines = []
    for corpus in sorted({clip.corpus for clip in talk.clips}):
        here = [emotion for emotion, clip in zip(called, talk.clips, strict=True) if clip.corpus == corpus]
        speakers = {clip.speaker for clip in talk.clips if clip.corpus == corpus}
        shares = (f"{100 * here.count(at) / len(here):.1f}" for at in range(len(NAMES)))
        lines.append([corpus, *shares, f"{len(here):,}", f"{len(speakers)}"])
    return markdown(("ordinary talk, percent called", *NAMES, "n", "speakers"), lines, numbers=True)


def _table(figures: Sequence[Metric]) -> str:
    """Markdown: figure, value with interval, n."""
    rows = [(one.name, f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]", f"{one.n:,}") for one in figures]
    return markdown(("figure", "value [95 % interval]", "n"), rows)


def _matrix(found: Targets) -> str:
    """Markdown: segments of each emotion, in percent what they are called at equal shares."""
    cells = confusion(found)
    lines = [
        [name, *(f"{100 * cell / row.sum():.0f}" for cell in row), f"{row.sum():,}"]
        for name, row in zip(NAMES, cells, strict=True)
    ]
    return markdown(("percent called", *NAMES, "n"), lines, numbers=True)
