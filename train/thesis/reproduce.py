"""The thesis in one command: every run that was asked for, then its tables. Finished runs are not done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sadstream.base.errors import UsageError
from train.corpora.counts import partial_note, require_whole
from train.corpora.folds import FIXED, fold_names
from train.corpora.manifest import NAME, CorpusManifest, as_bytes, parse
from train.corpora.manifest import read as read_manifest
from train.corpora.prepare import prepare as prepare_corpus
from train.corpora.prepare import read_corpus
from train.presets import Preset, RunConfig, run_config
from train.thesis.ablations import VARIANTS, varied
from train.thesis.benchmark import estimate
from train.thesis.report import expect_report, write_report
from train.training.launch import ProcessShare
from train.training.loop import EpochWeights
from train.training.run import PROTOCOLS, Run, evaluate_run, open_run
from train.training.session import Session, require_encoders

CORPUS = "iemocap"


@dataclass(frozen=True, slots=True)
class ThesisRequest:
    """What of the thesis is to be reproduced, and where."""

    corpus: Path
    out: Path
    preset: Preset
    systems: tuple[str, ...]
    seeds: int
    loso: bool
    ablations: bool
    allow_partial: bool
    force: bool = False

    def configs(self) -> list[RunConfig]:
        """Every run in the order in which it is done: features that several share come together."""
        for system in self.systems:
            if system not in self.preset.systems:
                raise UsageError(f"--system {system}: expected one of {', '.join(self.preset.systems)}")
        folds = (FIXED, *fold_names(loso=True)) if self.loso else (FIXED,)
        where = str((self.out / NAME).resolve())
        runs = [
            run_config(self.preset, system, where, seed=seed, fold=fold, allow_partial=self.allow_partial)
            for system in self.systems
            for fold in folds
            for seed in range(self.seeds)
        ]
        if self.ablations:
            base = run_config(self.preset, "attention", where, allow_partial=self.allow_partial)
            runs += [varied(base, variant) for variant in VARIANTS]
        return runs


def reproduce(wanted: ThesisRequest, session: Session, dry_run: bool, say: Callable[[str], None]) -> str:
    """Do it, or with `dry_run` say how long it will take; returns what to print."""
    configs = wanted.configs()
    for config in configs:
        require_encoders(config)
    if dry_run:
        return _estimate(wanted, configs, session, say)
    expect_report(wanted.out, {config.text.label for config in configs if config.spec.text}, wanted.force)
    manifest, share = _manifest(wanted, say), ProcessShare.of_environment()
    mine = share.of(configs)
    for number, config in enumerate(mine, start=1):
        say(f"{number} of {len(mine)}: {config.title}, seed {config.seed}, fold {config.fold}")
        _one(wanted.out / "runs" / config.name, config, manifest, session)
    share.wait_for_all()
    if share.rank:
        return ""
    markdown, page = write_report(wanted.out / "runs", wanted.out, wanted.force)
    return f"{markdown.read_text(encoding='utf-8')}\n{markdown}\n{page}\n"


def _manifest(wanted: ThesisRequest, say: Callable[[str], None]) -> CorpusManifest:
    """The manifest of this corpus; one that stands there must be the same, or the runs beside it are another's."""
    path = wanted.out / NAME
    if not path.is_file():
        return prepare_corpus(CORPUS, wanted.corpus, wanted.out, wanted.allow_partial, say).manifest
    manifest = read_manifest(path)
    found = parse(as_bytes(read_corpus(CORPUS, wanted.corpus).rows), str(wanted.corpus))
    if found.sha256 != manifest.sha256:
        raise UsageError(f"{path}: made from another corpus than {wanted.corpus}; choose another --out")
    require_whole(CORPUS, manifest.rows, wanted.allow_partial)
    return manifest


def _one(folder: Path, config: RunConfig, manifest: CorpusManifest, session: Session) -> None:
    """Fit and evaluate one run; of its weights the two chosen epochs stay."""
    run = open_run(folder, config)
    protocols = PROTOCOLS if config.fold == FIXED else ("strict",)
    if all(run.evaluated(protocol) for protocol in protocols):
        run.rows(manifest)  # the guards hold for finished runs too
        return
    inputs = session.fit_run(run, manifest)
    chosen = [evaluate_run(run, inputs, protocol, session.compute.device).epoch for protocol in protocols]

    EpochWeights(run.folder).keep(chosen)


def _estimate(wanted: ThesisRequest, configs: Sequence[RunConfig], session: Session, say: Callable[[str], None]) -> str:
    rows = read_corpus(CORPUS, wanted.corpus).rows
    require_whole(CORPUS, rows, wanted.allow_partial)
    say(partial_note(CORPUS, rows))
    done = {config.name for config in configs if Run(wanted.out / "runs" / config.name).evaluated("strict")}
    return estimate([config for config in configs if config.name not in done], rows, session)
