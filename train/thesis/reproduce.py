"""The thesis in one command: every run that was asked for, then its tables. Finished runs are not done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sadstream.base.errors import DataError, UsageError
from sadstream.base.files import expect_folder
from train.corpora.counts import partial_note, require_whole
from train.corpora.folds import FIXED, crossing, fold_names
from train.corpora.manifest import NAME, CorpusManifest, Utterance, as_bytes, parse
from train.corpora.manifest import read as read_manifest
from train.corpora.prepare import prepare as prepare_corpus
from train.corpora.prepare import read_corpus
from train.presets import Preset, RunConfig, run_config
from train.thesis.ablations import VARIANTS, varied
from train.thesis.benchmark import estimate
from train.thesis.report import expect_report, write_report
from train.training.cluster import ClusterChoice, finish_all
from train.training.launch import PlannedRun, ProcessShare
from train.training.run import PROTOCOLS, Run
from train.training.session import Session, TargetRequest, require_encoders

CORPUS = "iemocap"


@dataclass(frozen=True, slots=True)
class ThesisRequest:
    """What of the thesis is to be reproduced, and where: with IEMOCAP, or with what a manifest names."""

    corpus: Path | None
    out: Path
    preset: Preset
    systems: tuple[str, ...]
    seeds: int
    loso: bool
    ablations: bool
    allow_partial: bool
    force: bool = False
    folds: int = 0  # by speaker
    manifest: Path | None = None
    share: ProcessShare = field(default_factory=ProcessShare.of_environment)
    cluster: ClusterChoice | None = None
    target: TargetRequest = field(default_factory=lambda: TargetRequest("sad"))

    def rows(self) -> tuple[Utterance, ...]:
        """The utterances of whatever was named, as they are found."""
        if self.manifest is not None:
            return read_manifest(self.manifest).rows
        if self.corpus is None:
            raise UsageError("reproduce: expected --iemocap, or --manifest with what `prepare` wrote")
        return read_corpus(CORPUS, self.corpus).rows

    def crossed(self) -> tuple[str, ...]:
        """The folds beside the corpus's own split."""
        if self.manifest is None and not self.folds:
            return fold_names(loso=True) if self.loso else ()
        return crossing(self.rows(), self.loso, self.folds) if self.loso or self.folds else ()

    def configs(self) -> list[RunConfig]:
        """Every run in the order in which it is done: features that several share come together."""
        for system in self.systems:
            if system not in self.preset.systems:
                raise UsageError(f"--system {system}: expected one of {', '.join(self.preset.systems)}")
        folds = (FIXED, *self.crossed())
        where = str((self.out / NAME if self.manifest is None else _file(self.manifest)).resolve())
        runs = [
            run_config(self.preset, system, where, seed=seed, fold=fold, allow_partial=self.allow_partial)
            for system in self.systems
            for fold in folds
            for seed in range(self.seeds)
        ]
        if self.ablations:
            known = [variant for variant in VARIANTS if variant.base in self.preset.systems]
            bases = {
                name: run_config(self.preset, name, where, allow_partial=self.allow_partial)
                for name in {variant.base for variant in known}
            }
            runs += [varied(bases[variant.base], variant) for variant in known]
        return runs


def reproduce(wanted: ThesisRequest, session: Session, dry_run: bool, say: Callable[[str], None]) -> str:
    """Do it, or with `dry_run` say how long it will take; returns what to print."""
    configs = wanted.configs()
    for config in configs:
        require_encoders(config)
    if dry_run:
        return _estimate(wanted, configs, session, say)
    if wanted.share.array:
        expect_folder("--out", wanted.out)
    else:
        encoders = {config.text.label for config in configs if config.spec.text}
        expect_report(wanted.out, encoders, wanted.force)
    manifest, share = _manifest(wanted, say), wanted.share
    configs = [wanted.target.added_to(config, manifest.rows) for config in configs]
    if wanted.manifest is not None:
        configs = _with_words(configs, manifest, session, say)
    planned = [_planned(wanted.out, config) for config in configs]
    if not finish_all(planned, manifest, session, share, wanted.cluster, say):
        if share.array:
            say(f"after the last share: sadstream-train report {wanted.out}")
        return ""
    markdown, page = write_report(wanted.out / "runs", wanted.out, wanted.force)
    return f"{markdown.read_text(encoding='utf-8')}\n{markdown}\n{page}\n"


def _manifest(wanted: ThesisRequest, say: Callable[[str], None]) -> CorpusManifest:
    """The manifest of this corpus; one that stands there must be the same, or the runs beside it are another's."""
    if wanted.manifest is not None or wanted.corpus is None:
        own = read_manifest(wanted.manifest or wanted.out)
        require_whole(own.corpus, own.rows, wanted.allow_partial)
        return own
    path = wanted.out / NAME
    if not path.is_file():
        return prepare_corpus(CORPUS, wanted.corpus, wanted.out, wanted.allow_partial, say).manifest
    manifest = read_manifest(path)
    found = parse(as_bytes(read_corpus(CORPUS, wanted.corpus).rows), str(wanted.corpus))
    if found.sha256 != manifest.sha256:
        raise UsageError(f"{path}: made from another corpus than {wanted.corpus}; choose another --out")
    require_whole(CORPUS, manifest.rows, wanted.allow_partial)
    return manifest


def _file(manifest: Path) -> Path:
    return manifest / NAME if manifest.is_dir() else manifest


def _with_words(
    configs: Sequence[RunConfig], manifest: CorpusManifest, session: Session, say: Callable[[str], None]
) -> list[RunConfig]:
    """The runs that this corpus can have: where its words say nothing none reads words alone, and the others none."""
    found: list[RunConfig] = []
    told: dict[str, str] = {}  # of a system once, however many folds and seeds
    for config in configs:
        try:
            found.append(session.with_words(config, manifest, partial(told.setdefault, config.system)))
        except DataError as error:
            if config.spec.front_end != "none":
                raise
            told.setdefault(config.system, f"left out: {error}")
    for line in told.values():
        say(line)
    return found


def _planned(out: Path, config: RunConfig) -> PlannedRun:
    return PlannedRun(out / "runs" / config.name, config, PROTOCOLS if config.fold == FIXED else ("strict",))


def _estimate(wanted: ThesisRequest, configs: Sequence[RunConfig], session: Session, say: Callable[[str], None]) -> str:
    rows = wanted.rows()
    require_whole(rows[0].corpus, rows, wanted.allow_partial)
    say(partial_note(rows[0].corpus, rows))
    configs = [wanted.target.added_to(config, rows) for config in configs]
    done = {config.name for config in configs if Run(wanted.out / "runs" / config.name).evaluated("strict")}
    return estimate([config for config in wanted.share.of(configs) if config.name not in done], rows, session)
