"""Trained on one corpus, tested on another: the matrix over any manifests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sadstream.base.errors import UsageError
from train.corpora import manifest as manifests
from train.corpora.guards import LeakError
from train.corpora.manifest import CorpusManifest
from train.metrics.markdown import markdown
from train.metrics.paired import sad_figures
from train.metrics.predictions import Predictions, read
from train.presets import Preset
from train.training.run import Run, logits_of
from train.training.session import Session

FIGURES = ("ROC AUC", "unweighted recall", "F1")


@dataclass(frozen=True, slots=True)
class CrossRequest:
    """What is trained on each of these manifests and tested on all of them."""

    manifests: tuple[Path, ...]
    out: Path
    preset: Preset
    system: str
    seed: int = 0
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class _Corpus:
    """A manifest, and what it is called in the table."""

    name: str
    path: Path
    manifest: CorpusManifest


@dataclass(frozen=True, slots=True)
class _Trained:
    """A corpus, the run that learned from it, and what it heard."""

    corpus: _Corpus
    run: Run
    digests: frozenset[str]  # SHA-256 of its recordings


def cross(wanted: CrossRequest, session: Session, say: Callable[[str], None]) -> str:
    """Markdown: a matrix a figure, each cell with its interval over the tested speakers and its n.

    Trained under the strict protocol: epoch, calibration and threshold are the training corpus's own. On the diagonal
    stands its test split, elsewhere all of the other corpus. LeakError for a recording that stands in two corpora.
    """
    corpora = _named(wanted.manifests)
    trained = [_trained(corpus, wanted, session, say) for corpus in corpora]
    found = [[_tested(one, other, session) for other in corpora] for one in trained]
    title = trained[0].run.config.title
    text = f"# {title}: trained on a row's corpus, tested on a column's\n\n"
    text += "Epoch, calibration and threshold are those of the training corpus (protocol strict). "
    text += "The diagonal is its test split, the rest all of the other corpus. Intervals: 95 percent, over speakers.\n"
    for figure in FIGURES:
        text += f"\n## {figure}\n\n{_matrix(corpora, found, figure)}"
    return text


def _named(paths: Sequence[Path]) -> list[_Corpus]:
    """By corpus; two of one name by their folders."""
    if len(paths) < 2:
        raise UsageError("cross: expected at least two manifests")
    read_ = [manifests.read(path) for path in paths]
    names = [one.corpus for one in read_]
    files = [path / manifests.NAME if path.is_dir() else path for path in paths]
    chosen = [name if names.count(name) == 1 else file.parent.name for name, file in zip(names, files, strict=True)]
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"cross: {', '.join(chosen)}: expected corpora, or folders of manifests, of different names")
    return [_Corpus(*one) for one in zip(chosen, files, read_, strict=True)]


def _trained(corpus: _Corpus, wanted: CrossRequest, session: Session, say: Callable[[str], None]) -> _Trained:
    out = wanted.out / corpus.name
    asked = {"seed": wanted.seed, "allow_partial": wanted.allow_partial}
    run = session.fit(wanted.preset, wanted.system, corpus.path, out, say=say, **asked)  # type: ignore[arg-type]
    session.evaluate(run.folder, ["strict"])
    inputs = session.load(run.rows(corpus.manifest), run.config)
    return _Trained(corpus, run, frozenset(filter(None, inputs.digests)))


def _tested(trained: _Trained, other: _Corpus, session: Session) -> Predictions:
    run = trained.run
    if trained.corpus is other:
        return read(run.predictions_path("strict"), "test", run.rows(other.manifest))
    rows = other.manifest.rows
    inputs = session.load(rows, run.config)
    _expect_others(trained, other, inputs.digests)
    chosen = run.selection("strict")
    logits = logits_of(run, inputs, torch.arange(inputs.owner.numel()), session.compute.device)
    p = chosen.probability(logits)
    return Predictions(
        names=tuple(row.utterance for row in rows),
        speakers=tuple(row.speaker for row in rows),
        dialogues=tuple(row.dialogue for row in rows),
        labels=np.array([row.sad for row in rows]),
        logits=logits,
        probabilities=p,
        predicted=(p >= chosen.threshold).astype(np.int64),
    )


def _expect_others(trained: _Trained, other: _Corpus, digests: Sequence[str]) -> None:
    """Nobody is tested on what was trained on, under whatever name it lies there."""
    own, twice = trained.corpus, trained.digests & set(digests)
    if twice:
        known = dict(zip(digests, other.manifest.rows, strict=True))
        row = known[min(twice)]
        raise LeakError(
            f"{other.path}: {row.utterance}: {len(twice):,} recording(s) of {other.name} stand in {own.name} too"
        )
    if own.manifest.corpus == other.manifest.corpus:
        same = {row.speaker for row in own.manifest.rows} & {row.speaker for row in other.manifest.rows}
        if same:
            raise LeakError(f"{other.path}: {min(same)}: {len(same):,} speaker(s) stand in {own.name} too")


def _matrix(corpora: Sequence[_Corpus], found: Sequence[Sequence[Predictions]], figure: str) -> str:
    lines = []
    for corpus, row in zip(corpora, found, strict=True):
        cells = [sad_figures(one)[figure] for one in row]
        lines.append([corpus.name, *(f"{cell} n {cell.n:,}" for cell in cells)])
    return markdown(("trained on", *(corpus.name for corpus in corpora)), lines, numbers=True)
