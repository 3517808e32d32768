"""The figures of the default checkpoint beside their targets, and the tables of its model card."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sadstream.scoring.fusion.header import Metric
from train.corpora.clips import CALM, Clip
from train.metrics.calibration import probability
from train.metrics.detection import (
    Interval,
    auc,
    average_precision,
    brier,
    calibration_error,
    over_groups,
    perfect_calibration_error,
    true_positives_at,
)
from train.metrics.markdown import markdown

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]

Key: TypeAlias = Callable[[Clip], str]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, what it was to reach, and how it was measured."""

    name: str
    interval: Interval
    target: str
    protocol: str

    @property
    def metric(self) -> Metric:
        """As a checkpoint's header holds it."""
        return self.interval.metric(self.name, self.protocol)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredClips:
    """Segments with their calibrated log-likelihood ratios."""

    clips: tuple[Clip, ...]
    uncapped: Scores  # by which voices are learnt
    cap: float = math.inf

    @property
    def llrs(self) -> Scores:
        """(n,) ratios as the daemon gives them for voices as they come."""
        capped: Scores = np.clip(self.uncapped, -self.cap, self.cap)
        return capped

    @property
    def sad(self) -> Labels:
        """(n,) labels."""
        return np.array([clip.sad for clip in self.clips], dtype=np.int64)

    def only(self, wanted: Callable[[Clip], bool]) -> "ScoredClips":
        """The segments of the clips that are wanted."""
        rows = np.flatnonzero([wanted(clip) for clip in self.clips])
        return self.at(rows)

    def at(self, rows: NDArray[np.int64]) -> "ScoredClips":
        """The segments of these rows."""
        return ScoredClips(tuple(self.clips[i] for i in rows), self.uncapped[rows], self.cap)

    def against_calm(self) -> "ScoredClips":
        """Sad segments, and those of the others that are neutral or calm."""
        return self.only(lambda clip: bool(clip.sad) or clip.emotion in CALM)

    def over_speakers(self, figure: Callable[[Labels, Scores], float], resamples: int) -> Interval:
        """A figure of the pooled ratios with its interval over speakers."""
        return over_groups(figure, self.sad, self.llrs, [c.speaker for c in self.clips], resamples=resamples)


RANKING: tuple[tuple[str, bool, Callable[[Labels, Scores], float]], ...] = (  # what, against calm alone, figure
    ("AUC, sad against neutral and calm", True, auc),
    ("AUC, sad against everything", False, auc),
    ("true positive rate at 5 % false positives on neutral and calm", True, true_positives_at),
    ("average precision, sad against everything", False, average_precision),
)


def ranking_figures(
    scored: ScoredClips, whose: str, targets: Sequence[str], protocol: str, resamples: int
) -> list[Figure]:
    """The first figures of RANKING, one for each target."""
    calm, figures = scored.against_calm(), []
    for (what, against_calm, figure), target in zip(RANKING, targets, strict=False):
        interval = (calm if against_calm else scored).over_speakers(figure, resamples)
        figures.append(Figure(f"{whose}: {what}", interval, target, protocol))
    return figures


def voice_figures(
    scored: ScoredClips, corpora: dict[str, tuple[str, str]], protocol: str, resamples: int
) -> list[Figure]:
    """Ranking figures of each corpus; `corpora` names the targets against calm and of the rate."""
    figures = []
    for corpus, (calm, rate_at_5) in corpora.items():
        here = scored.only(lambda clip, corpus=corpus: clip.corpus == corpus)  # type: ignore[misc]
        figures += ranking_figures(here, corpus, (calm, "", rate_at_5, ""), protocol, resamples)
    return figures


def corpus_figure(scored: ScoredClips, first: str, protocol: str, resamples: int) -> Figure:
    """How well the score of segments that are not sad tells the corpus: it should not."""
    rest = scored.only(lambda clip: not clip.sad)
    labels = np.array([clip.corpus == first for clip in rest.clips], dtype=np.int64)
    interval = over_groups(auc, labels, rest.llrs, [c.speaker for c in rest.clips], resamples=resamples)
    name = f"AUC of corpus ({first}) from the score of segments that are not sad"
    return Figure(name, interval, ".45 to .55", protocol)


def calibration_figures(scored: ScoredClips, protocol: str, resamples: int) -> list[Figure]:
    """Calibration of the probabilities at the pooled share of sad segments: pooled, and the median speaker."""
    share = float(scored.sad.mean())

    def of(figure: Callable[[Labels, Scores], float], part: ScoredClips) -> float:
        return figure(part.sad, probability(part.llrs, share))

    pooled = [
        Figure(
            f"{name} at a prior of {share:.3f}",
            scored.over_speakers(lambda labels, llrs, f=f: f(labels, probability(llrs, share)), resamples),  # type: ignore[misc]
            target,
            protocol,
        )
        for name, f, target in (("ECE, pooled", calibration_error, "<= .03"), ("Brier score, pooled", brier, ""))
    ]
    speakers = sorted({clip.speaker for clip in scored.clips})
    parts = [scored.only(lambda clip, s=s: clip.speaker == s) for s in speakers]  # type: ignore[misc]
    errors = [of(calibration_error, part) for part in parts]
    perfect = [perfect_calibration_error(probability(part.llrs, share)) for part in parts]
    low, high = np.percentile(errors, [25, 75])
    median = Interval(float(np.median(errors)), float(low), float(high), len(parts))
    name = f"ECE of the median speaker, with quartiles (perfectly calibrated: {np.median(perfect):.3f})"
    return [*pooled, Figure(name, median, "<= .09", protocol)]


def shipped_table(figures: Sequence[Figure]) -> str:
    """Markdown: figure, value with interval, n, target."""
    rows = [(f.name, str(f.interval), f"{f.interval.n:,}", f.target or "–") for f in figures]
    return markdown(("figure", "value [95 % interval]", "n", "target"), rows)


def rates_table(scored: ScoredClips, threshold: float, prior: float, key: Key, title: str) -> str:
    """Markdown: segments, AUC, and rates at the shipped threshold of each speaker, corpus or gender."""
    rows = []
    for name in sorted({key(clip) for clip in scored.clips}):
        part = scored.only(lambda clip, name=name: key(clip) == name)  # type: ignore[misc]
        calm = part.only(lambda clip: not clip.sad and clip.emotion in CALM)
        sad = part.only(lambda clip: bool(clip.sad))
        rows.append(
            (
                name,
                f"{len(part.clips):,}",
                f"{len(sad.clips):,}",
                _number(auc(part.sad, part.llrs)),
                _number(auc(part.against_calm().sad, part.against_calm().llrs)),
                _number(rate(sad, threshold, prior)),
                _number(rate(calm, threshold, prior)),
                _number(rate(part.only(lambda clip: not clip.sad), threshold, prior)),
            )
        )
    columns = (title, "segments", "sad", "AUC all", "AUC calm", "true pos.", "false pos. calm", "false pos. all")
    return markdown(columns, rows)


def rate(scored: ScoredClips, threshold: float, prior: float) -> float:
    """Share of segments at or above the threshold; NaN without any."""
    if not scored.clips:
        return float("nan")
    return float((probability(scored.llrs, prior) >= threshold).mean())


def talk_rates_table(scored: ScoredClips, threshold: float, prior: float) -> str:
    """Markdown: false positives on ordinary talk, pooled and over speakers, of each corpus."""
    rows = []
    for corpus in sorted({clip.corpus for clip in scored.clips}):
        part = scored.only(lambda clip, corpus=corpus: clip.corpus == corpus)  # type: ignore[misc]
        speakers = sorted({clip.speaker for clip in part.clips})
        each = [rate(part.only(lambda clip, s=s: clip.speaker == s), threshold, prior) for s in speakers]  # type: ignore[misc]
        rows.append(
            (
                corpus,
                f"{len(speakers)}",
                f"{len(part.clips):,}",
                _number(rate(part, threshold, prior)),
                _number(float(np.median(each))),
                _number(float(np.percentile(each, 90))),
            )
        )
    return markdown(("corpus", "speakers", "segments", "pooled", "median speaker", "90th percentile"), rows)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
