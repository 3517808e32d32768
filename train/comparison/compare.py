"""Runs beside each other: figures, paired tests of the first against the others, and the effect on each speaker."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sadstream.base.errors import DataError, UsageError
from train.corpora import manifest as manifests
from train.corpora.guards import Protocol
from train.metrics.markdown import markdown
from train.metrics.paired import against
from train.metrics.predictions import Predictions, pooled, read
from train.thesis import tables
from train.thesis.tables import SystemPredictions
from train.training.run import Run


def compare(folders: Sequence[Path], protocol: Protocol) -> str:
    """Markdown; folds of one configuration count as one run, whose test utterances are pooled.

    DataError for runs over other utterances: their figures stand beside each other and mean nothing.
    """
    scored = _scored([Run(folder) for folder in folders], protocol)
    if len(scored) < 2:
        raise UsageError("compare: expected at least two runs that differ in more than their fold")
    first = scored[0]
    for other in scored[1:]:
        if other.found.names != first.found.names:
            raise DataError(
                f"{other.title}: tested on other utterances than {first.title} "
                f"({len(other.found.names):,} and {len(first.found.names):,}): expected runs of one manifest and fold"
            )
    tests = against(first.title, {one.title: one.found for one in scored})
    return (
        f"## All figures, protocol {protocol}\n\n{tables.more_figures(scored)}\n{tables.spread(scored)}\n\n"
        f"## {first.title} against each other run\n\n{tables.paired_table(tests)}\n"
        f"## By speaker: utterances decided rightly, percent\n\n{_by_speaker(scored)}"
    )


def pooled_figures(runs: Sequence[Run], protocols: Sequence[Protocol]) -> str:
    """Every figure of these runs, the folds of one configuration pooled: each utterance is tested by the fold that did
    not learn from its speaker."""
    parts = []
    for protocol in protocols:
        scored = _scored(runs, protocol)
        text = f"## All figures, protocol {protocol}\n\n{tables.more_figures(scored)}\n"
        parts.append(text + "".join(f"{one.title}: {tables.spread([one])}\n" for one in scored))
    return "\n".join([*dict.fromkeys(filter(None, (run.provenance.partial for run in runs))), *parts])


def _scored(runs: Sequence[Run], protocol: Protocol) -> list[SystemPredictions]:
    """In the order of their first folders; a title says the seed where several runs would have the same."""
    groups: dict[tuple[str, int, str], list[Run]] = {}
    for run in runs:
        config = run.config
        groups.setdefault((config.title, config.seed, config.preset), []).append(run)
    titles = [title for title, _, _ in groups]
    scored = []
    for (title, seed, preset), folds in groups.items():
        if len({run.config.fold for run in folds}) < len(folds):
            raise UsageError(f"{folds[0].folder}: given twice, or another run of its configuration and fold")
        name = title if titles.count(title) == 1 else f"{title}, {preset}, seed {seed}"
        parts = [_test(run, protocol) for run in sorted(folds, key=lambda run: run.config.fold)]
        scored.append(SystemPredictions(folds[0].config.system, name, pooled(parts)))
    return scored


def _test(run: Run, protocol: Protocol) -> Predictions:
    return read(run.predictions_path(protocol), "test", run.rows(manifests.read(Path(run.config.manifest))))


def _by_speaker(scored: Sequence[SystemPredictions]) -> str:
    """A line a speaker, the first run's share, and what each other one adds to it in points."""
    first, speakers = scored[0].found, np.array(scored[0].found.speakers)
    right = [one.found.predicted == one.found.labels for one in scored]
    lines = []
    for speaker in sorted(set(first.speakers)):
        own = speakers == speaker
        shares = [100 * float(one[own].mean()) for one in right]
        added = [f"{share - shares[0]:+.1f}" for share in shares[1:]]
        lines.append([speaker, f"{int(own.sum()):,}", f"{int(first.labels[own].sum()):,}", f"{shares[0]:.1f}", *added])
    names = [one.title for one in scored]
    return markdown(
        ("speaker", "n", "sad", names[0], *(f"{name}: points more" for name in names[1:])), lines, numbers=True
    )
