"""Tables 1 and 2, verdicts and tests as Markdown, every number with its protocol, n and interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from train.corpora import folds
from train.corpora import manifest as manifests
from train.corpora.classes import NONE
from train.corpora.guards import Protocol
from train.corpora.manifest import Utterance
from train.metrics.markdown import markdown
from train.metrics.paired import PairedTest, confusion, never_sad, sad_figures
from train.metrics.predictions import Predictions, read
from train.metrics.targets import Targets, figures_of
from train.metrics.targets import confusion as emotion_confusion
from train.metrics.targets import read as read_targets
from train.presets import RunConfig
from train.thesis import printed as thesis
from train.training.run import Run

SHOWN = (
    "accuracy", "unweighted recall", "F1", "precision", "recall", "macro F1", "ROC AUC", "average precision", "ECE",
    "Brier",
)  # fmt: skip
OVER_SEEDS = ("F1", "macro F1", "unweighted recall", "ROC AUC")
LEAST_OF_A_CLASS = 20  # test utterances; of fewer each one moves recall by more than 5 points


@dataclass(frozen=True, slots=True, eq=False)
class SystemPredictions:
    """A system's test predictions under one protocol."""

    system: str
    title: str
    found: Predictions


def percent(value: float) -> str:
    """Two digits as the thesis prints them."""
    return f"{100 * value:.2f}"


def table_1(rows: Sequence[Utterance]) -> str:
    """Counts of each subset beside the thesis's."""
    lines = []
    for printed in thesis.TABLE_1:
        part = [row for row in rows if row.split == printed.split]
        sad = sum(row.sad for row in part)
        other = len(part) - sad
        if printed.balanced:
            sad = max(sad, other)
        here, there = (sad + other, sad, other), (printed.total, printed.sad, printed.other)
        lines.append([printed.subset, *(f"{n:,}" for n in there), *(f"{n:,}" for n in here)])
    head = ("subset", "thesis total", "thesis sad", "thesis non-sad", "here total", "here sad", "here non-sad")
    return markdown(head, lines, numbers=True)


def table_2(scored: Sequence[SystemPredictions], beside: bool = True) -> str:
    """The ladder, `beside` the thesis's numbers, percent; intervals are 95 percent over speakers."""
    names = ("acc.", "F1", "P", "R")
    head = ("system", *(f"thesis {name}" for name in names if beside), *names, "F1 interval", "n")
    lines = []
    for one in scored:
        printed = thesis.TABLE_2.get(one.system)
        lines.append(_line(one.title, printed, one.found, beside))
    lines.append(_line("never sad", thesis.NEVER_SAD, never_sad(scored[0].found), beside))
    return markdown(head, lines, numbers=True)


def _line(title: str, printed: thesis.Table2Row | None, found: Predictions, beside: bool) -> list[str]:
    figures = sad_figures(found)
    there = ["-"] * 4 if beside else []
    if printed and beside:
        there = [f"{value:.2f}" for value in (printed.accuracy, printed.f1, printed.precision, printed.recall)]
    here = [percent(figures[name].value) for name in ("accuracy", "F1", "precision", "recall")]
    f1 = figures["F1"]
    return [title, *there, *here, f"{percent(f1.low)} to {percent(f1.high)}", f"{f1.n:,}"]


def more_figures(scored: Sequence[SystemPredictions]) -> str:
    """Every figure with its interval."""
    lines = []
    for one in scored:
        figures = sad_figures(one.found)
        lines.append([one.title, *(str(figures[name]) for name in SHOWN)])
    return markdown(("system", *SHOWN), lines, numbers=True)


def confusions(scored: Sequence[SystemPredictions], beside: bool = True) -> str:
    """The confusion matrix of each system, `beside` the thesis's."""
    lines = [["thesis, Attention-based CNN-LSTM", *map(str, thesis.CONFUSION)]] if beside else []
    for one in scored:
        cells = confusion(one.found)
        lines.append([one.title, str(cells.tn), str(cells.fp), str(cells.fn), str(cells.tp)])
    return markdown(("system", "TN", "FP", "FN", "TP"), lines, numbers=True)


def seed_lines(tried: Mapping[int, Sequence[SystemPredictions]], protocol: str) -> list[list[str]]:
    """A line a system of which several seeds were tried under a protocol, percent."""
    by_title: dict[str, dict[int, Predictions]] = {}
    for seed, scored in tried.items():
        for one in scored:
            by_title.setdefault(one.title, {})[seed] = one.found
    lines = []
    for title, found in by_title.items():
        values = [[sad_figures(one)[name].value for one in found.values()] for name in OVER_SEEDS]
        deviations = [(percent(mean(v)), percent(stdev(v)) if len(v) > 1 else "-") for v in values]
        each = ", ".join(f"{seed}: {percent(value)}" for seed, value in zip(found, values[0], strict=True))
        lines.append([title, protocol, str(len(found)), *(cell for pair in deviations for cell in pair), each])
    return lines


def seeds_table(lines: Sequence[Sequence[str]]) -> str:
    """Mean and standard deviation over seeds, and F1 of each."""
    means = [cell for name in OVER_SEEDS for cell in (f"mean {name}", "SD")]
    return markdown(("system", "protocol", "seeds", *means, "F1 of each seed"), lines, numbers=True)


@dataclass(frozen=True, slots=True, eq=False)
class SystemTargets:
    """What a system says beside sad of the test utterances."""

    title: str
    found: Targets


def target_figures(scored: Sequence[SystemTargets]) -> str:
    """What is said beside sad: every figure with its interval."""
    names = tuple(figures_of(scored[0].found))
    lines = []
    for one in scored:
        figures = figures_of(one.found)
        lines.append([one.title, *(str(figures[name]) for name in names), f"{figures[names[0]].n:,}"])
    return markdown(("system", *names, "n"), lines, numbers=True)


def target_confusion(one: SystemTargets) -> str:
    """Utterances of each emotion in a row, in a column what they are called, and the recall of each."""
    cells = emotion_confusion(one.found)
    lines = []
    for name, row in zip(one.found.emotions, cells.tolist(), strict=True):
        at = one.found.emotions.index(name)
        recall = f"{100 * row[at] / sum(row):.1f}" if sum(row) else "-"
        lines.append([name, *(f"{cell:,}" for cell in row), recall])
    return markdown((one.title, *one.found.emotions, "recall"), lines, numbers=True)


def target_spread(config: RunConfig, found: Targets) -> str:
    """What the figures beside sad rest on, so that they can stand beside others'."""
    speakers = f"{len(set(found.speakers))} speakers; intervals: 95 percent, bootstrap over speakers"
    if config.dimensions:
        rated = int((~np.isnan(found.rated)).any(1).sum())
        return f"{rated:,} utterances with ratings, scaled to -1 to 1; concordance (CCC); {speakers}."
    classes = ", ".join(
        one.name if one.labels == (one.name,) else f"{one.name} ({' and '.join(one.labels)})" for one in config.classes
    )
    kept = found.true[found.true != NONE]
    counts = ", ".join(f"{name} {int((kept == at).sum()):,}" for at, name in enumerate(found.emotions))
    return (
        f"{kept.size:,} of {found.true.size:,} utterances are one of {len(config.classes)} emotions: {classes}. "
        f"Tested: {counts}. Accuracy is the weighted recall of other tables. Sad alone was trained on the others too. "
        f"{speakers}."
    )


def spread(scored: Sequence[SystemPredictions], advice: str = "") -> str:
    """How many speakers and dialogues the intervals rest on, and how to test more of them."""
    found = scored[0].found
    speakers, dialogues = len(set(found.speakers)), len(set(found.dialogues) - {""})
    note = ""
    if speakers < 5:
        note = (
            f" {speakers} speakers give {'three' if speakers == 2 else 'few'} different draws: such an interval is a "
        )
        note += f"lower bound of the uncertainty{advice and '; '}{advice}."
    if speakers < 2:
        note = f" One speaker: no interval, and nothing here says how it is with others{advice and '; '}{advice}."
    if min(int(found.labels.sum()), int((1 - found.labels).sum())) < LEAST_OF_A_CLASS:
        note += f" Fewer than {LEAST_OF_A_CLASS} of a class: too few utterances to judge by."
    return (
        f"n = {found.labels.size:,} utterances, {int(found.labels.sum()):,} sad, {speakers} speakers"
        f"{f', {dialogues} dialogues' if dialogues else ''}. Intervals: 95 percent, bootstrap over speakers.{note}"
    )


def paired_table(tests: Sequence[PairedTest]) -> str:
    """Paired tests of one system against the others."""
    lines = [
        [
            test.second,
            f"{100 * test.f1_difference.value:+.2f} [{100 * test.f1_difference.low:+.2f}, "
            f"{100 * test.f1_difference.high:+.2f}]",
            f"{test.p_f1:.4f}",
            f"{test.p_f1_holm:.4f}",
            f"{test.p_decisions:.2g}",
            f"{test.p_decisions_holm:.2g}",
        ]
        for test in tests
    ]
    return markdown(
        ("against", "F1 points [interval]", "p (dialogues swapped)", "Holm", "p (McNemar, exact)", "Holm"),
        lines,
        numbers=True,
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A system's figure beside the best of those it is compared with, percent."""

    name: str
    value: float
    base_name: str
    base: float

    @property
    def points(self) -> float:
        """Absolute difference."""
        return self.value - self.base

    @property
    def relative(self) -> float:
        """Difference in percent of the base; infinite over a base of 0."""
        return 100 * self.points / self.base if self.base else float("inf")

    def __str__(self) -> str:
        return (
            f"{self.name} {self.value:.2f} against {self.base_name} {self.base:.2f}: "
            f"{self.points:+.2f} points, {self.relative:+.1f} percent relative"
        )


def verdicts(accuracy: Mapping[str, float], f1: Mapping[str, float]) -> list[str]:
    """The thesis's claim (F1) and hypothesis (accuracy), absolute and relative, met or not; figures in percent."""
    if not {"attention"} <= f1.keys() or not (set(thesis.AUDIO_ONLY) & f1.keys()):
        return ["Neither claim nor hypothesis can be judged without the attention system and an audio-only one."]
    best = max((name for name in thesis.UNIMODAL if name in f1), key=lambda name: f1[name])
    claim = Pair("attention", f1["attention"], best, f1[best])
    audio = max((name for name in thesis.AUDIO_ONLY if name in accuracy), key=lambda name: accuracy[name])
    multi = max((name for name in thesis.MULTIMODAL if name in accuracy), key=lambda name: accuracy[name])
    hypothesis = Pair(multi, accuracy[multi], audio, accuracy[audio])
    lines = [
        f"Claim (F1 of the attention system more than {thesis.CLAIM_RELATIVE:.0f} percent, relative, above the best "
        f"unimodal system): {_met(claim.relative > thesis.CLAIM_RELATIVE)}. {claim}.",
        f"Hypothesis (accuracy of a multimodal system at least {thesis.HYPOTHESIS_RELATIVE:.0f} percent above audio "
        f"only), read as relative: {_met(hypothesis.relative >= thesis.HYPOTHESIS_RELATIVE)}; read as points: "
        f"{_met(hypothesis.points >= thesis.HYPOTHESIS_RELATIVE)}. {hypothesis}.",
    ]
    never = accuracy.get("never sad")
    if never is not None:
        above = [name for name in accuracy if name != "never sad" and accuracy[name] > never]
        lines.append(f'Answering "never sad" is {never:.2f} percent accurate; above it: {", ".join(above) or "none"}.')
    return lines


def _met(yes: bool) -> str:
    return "MET" if yes else "NOT MET"


def thesis_verdicts() -> list[str]:
    """The verdicts on the numbers that the thesis prints."""
    accuracy = {name: row.accuracy for name, row in thesis.TABLE_2.items()} | {"never sad": thesis.NEVER_SAD.accuracy}
    return verdicts(accuracy, {name: row.f1 for name, row in thesis.TABLE_2.items()})


def found_verdicts(scored: Sequence[SystemPredictions]) -> list[str]:
    """The verdicts on what was found."""
    figures = {one.system: sad_figures(one.found) for one in scored}
    accuracy = {name: 100 * figure["accuracy"].value for name, figure in figures.items()}
    accuracy["never sad"] = 100 * float((scored[0].found.labels == 0).mean())
    return verdicts(accuracy, {name: 100 * figure["F1"].value for name, figure in figures.items()})


def run_table(run: Run, protocols: Sequence[Protocol]) -> str:
    """One run's test figures under these protocols."""
    config = run.config
    advice = folds.advice(manifests.read(Path(config.manifest)).rows)
    scored = [
        SystemPredictions(config.system, f"{config.title}, {protocol}", read(run.predictions_path(protocol), "test"))
        for protocol in protocols
    ]
    lines = [run.provenance.partial, more_figures(scored), spread(scored, advice)]
    if config.target != "sad" and "strict" in protocols:
        beside = SystemTargets(f"{config.title}, strict", read_targets(run.targets_path, "test"))
        lines += ["", target_figures([beside])]
        lines += [target_confusion(beside)] if config.classes else []
        lines.append(target_spread(config, beside.found))
    return "\n".join(line for line in lines if line)
