"""The default checkpoint from open corpora: cross-validated, calibrated, fitted, exported, its figures written down."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from sadstream.base.files import save_atomic
from sadstream.base.progress import progress
from sadstream.cluster import nodes
from sadstream.scoring.fusion.header import TextEncoderConfig
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.weights.store import load_tensors
from train.corpora.clips import read_clips
from train.features.cache import Cache
from train.metrics.calibration import centred, fit_scaling
from train.metrics.detection import auc, over_groups
from train.shipped.config import OpenConfig
from train.shipped.cross_validation import OpenSpeech, every_fit, fitted, hear_share, never_heard, read_speech, ship
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
from train.training.cluster import ClusterChoice, ClusterJob, SharedPlace, do_jobs, shared_place
from train.training.launch import ProcessShare

HEARD_PARTS = 64  # of the hearing on a cluster; each loads the encoder once more
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
    aside = [clip for clip in read_clips(data / "speech") if not config.fits(clip)]
    strangers = never_heard(voice.part, speech.states(aside, 1), config.resamples) if aside else []
    figures = [*voice.figures, *strangers, *text.figures]
    corpora = (*sorted({clip.corpus for clip in speech.heard.clips}), *config.text.corpora)
    terms = HeaderTerms(config.prior, voice.threshold, tuple(f.metric for f in figures), provisional, corpora)
    sha256 = write(out, voice.part, text.part, terms)
    report = "\n".join([f"checkpoint {sha256[:12]}\n", shipped_table(figures), *voice.tables])
    save_atomic(out.with_suffix(".md"), report.encode())
    return report


def make_share(
    data: Path, config: OpenConfig, cache: Path, share: ProcessShare, say: Callable[[str], None] = print
) -> None:
    """This process's part of what takes long, into the cache, from where `make_checkpoint` takes it.

    Each hears its own part, then what nobody has heard by then, and fits its part of the models.
    """
    torch.set_num_threads(1)
    say("hearing")
    hear_share(data, config, Cache(cache), share)
    speech = read_speech(data, config, Cache(cache))
    mine = share.of(every_fit(speech))
    for number, rows in enumerate(mine, start=1):
        say(f"fit {number} of {len(mine)}")
        fitted(speech, rows)


def make_on_cluster(
    data: Path, config: OpenConfig, cache: Path, choice: ClusterChoice, say: Callable[[str], None]
) -> None:
    """All that takes long, on the machines of a cluster, into the cache, from where `make_checkpoint` takes it."""
    clips = [clip for name in ("speech", "english") for clip in read_clips(data / name)]
    corpora = {clip.corpus for clip in read_clips(data / "speech") if config.fits(clip)}
    heard = min(HEARD_PARTS, len({clip.speaker for clip in clips}))
    fits = 1 + config.folds + (len(corpora) if len(corpora) > 1 else 0)
    with nodes.cluster(choice.head, choice.token) as library, shared_place(cache) as place:
        for what, count in (("hear", heard), ("fit", fits)):
            parts = [ProcessShare(number, count, array=True) for number in range(count)]
            tasks = [OpenTask(what, data.resolve(), config, cache.resolve(), part, place) for part in parts]
            jobs = [ClusterJob(f"{what} {part.rank + 1}", task) for part, task in zip(parts, tasks, strict=True)]
            do_jobs(library, jobs, threads=1, gpus=0.0, say=say)


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A part of the hearing or of the fits, for a machine of a cluster."""

    what: str
    data: Path
    config: OpenConfig
    cache: Path
    share: ProcessShare
    place: SharedPlace

    def __call__(self) -> None:
        """Put it into the cache."""
        self.place.enter()
        if self.what == "hear":
            hear_share(self.data, self.config, Cache(self.cache), self.share)
            return
        speech = _speech(self.data, self.config, self.cache)
        for rows in self.share.of(every_fit(speech)):
            fitted(speech, rows)


@lru_cache(maxsize=1)
def _speech(data: Path, config: OpenConfig, cache: Path) -> OpenSpeech:
    """Of one process: gigabytes, read once for all its fits."""
    return read_speech(data, config, Cache(cache))


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
