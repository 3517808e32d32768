"""A small grid of settings and seeds: chosen on validation alone, its budget stated, the test set asked once."""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pydantic import ValidationError

from sadstream.base.errors import UsageError
from sadstream.base.files import expect_place, save_atomic
from train.corpora import manifest as manifests
from train.corpora.counts import require_whole
from train.corpora.folds import FIXED, assign
from train.corpora.manifest import CorpusManifest, Utterance
from train.metrics.markdown import markdown
from train.metrics.predictions import read
from train.presets import Preset, RunConfig, run_config
from train.thesis import tables
from train.thesis.latex import HEAD, latex
from train.thesis.tables import SystemPredictions, percent
from train.training.launch import PlannedRun, in_turn
from train.training.loop import EpochWeights
from train.training.records.history import Epoch
from train.training.run import Run, open_run
from train.training.session import Session, require_encoders

MARK = "# Sweep of "
SYSTEM = "system"  # before the keys of the one system that is swept
PARTS = ("features", "model", "audio", "text", "training")


@dataclass(frozen=True, slots=True)
class GridAxis:
    """A key of the preset and the values that it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What is tried, on what, and where it goes."""

    preset: Preset
    system: str
    manifest: Path
    out: Path
    axes: tuple[GridAxis, ...]
    seeds: int
    fold: str = FIXED
    allow_partial: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class SweptSetting:
    """One cell of the grid and its runs, a seed each."""

    values: tuple[Any, ...]
    planned: tuple[PlannedRun, ...]

    @property
    def runs(self) -> list[Run]:
        """In the order of their seeds."""
        return [Run(one.folder) for one in self.planned]

    @property
    def scores(self) -> list[float]:
        """Validation macro F1 of each seed, at the epoch that protocol strict takes."""
        return [_best(run).validation_macro_f1 for run in self.runs]


def axis_of(words: str) -> GridAxis:
    """`KEY=VALUE,VALUE`, values as TOML has them or plain words; UsageError for anything else."""
    key, _, written = words.partition("=")
    key = key.strip()
    try:
        values = tomllib.loads(f"values = [{written}]")["values"]
    except tomllib.TOMLDecodeError:
        values = [value.strip() for value in written.split(",")]
    if not key or not values or "" in values or any(values.count(value) > 1 for value in values):
        raise UsageError(f"--grid {words}: expected KEY=VALUE,VALUE..., each once, such as training.gamma=0.0,2.0")
    return GridAxis(key, tuple(values))


def sweep(wanted: SweepRequest, session: Session, say: Callable[[str], None]) -> str:
    """Fit every setting with every seed, choose by mean validation macro F1, test the chosen one; writes both tables.

    What is fitted is not fitted again. Returns the Markdown.
    """
    manifest = manifests.read(wanted.manifest)
    require_whole(manifest.corpus, manifest.rows, wanted.allow_partial)
    page, paper = wanted.out / "sweep.md", wanted.out / "sweep.tex"
    for path, mark in ((page, MARK), (paper, HEAD)):
        if path.exists():
            expect_place("--out", path, mark=mark.encode(), force=wanted.force)
    settings = _settings(wanted, manifest, session, say)
    say(f"{len(settings)} settings, {wanted.seeds} seeds: {len(settings) * wanted.seeds} runs")
    in_turn([run for one in settings for run in one.planned], lambda run: _fitted(run, manifest, session), say)
    chosen = max(settings, key=lambda one: mean(one.scores))  # the first of equals
    for planned in chosen.planned:
        session.finish(planned, manifest)
    text = _text(wanted, settings, chosen, manifest)
    save_atomic(page, text.encode())
    save_atomic(paper, latex(text).encode())
    return text


def _settings(
    wanted: SweepRequest, manifest: CorpusManifest, session: Session, say: Callable[[str], None]
) -> list[SweptSetting]:
    """The grid's cells; each is checked before anything is fitted."""
    path = wanted.manifest / manifests.NAME if wanted.manifest.is_dir() else wanted.manifest
    known = _keys(run_config(wanted.preset, wanted.system, str(path)))
    keys = [axis.key for axis in wanted.axes]
    for key in keys:
        if key not in known:
            raise UsageError(f"--grid {key}: no such key: expected one of {', '.join(known)}")
        if keys.count(key) > 1:
            raise UsageError(f"--grid {key}: given twice: expected all its values in one")
    told: list[str] = []
    made = []
    for values in itertools.product(*(axis.values for axis in wanted.axes)):
        preset = _changed(wanted, keys, values)
        variant = ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        runs = []
        for seed in range(wanted.seeds):
            asked = {"seed": seed, "fold": wanted.fold, "allow_partial": wanted.allow_partial, "variant": variant}
            config = run_config(preset, wanted.system, str(path.resolve()), **asked)
            require_encoders(config)
            config = session.with_words(config, manifest, told.append)
            runs.append(PlannedRun(wanted.out / "runs" / config.name, config))
        made.append(SweptSetting(values, tuple(runs)))
    for line in dict.fromkeys(told):
        say(line)
    return made


def _keys(config: RunConfig) -> list[str]:
    """Every key that a grid may name."""
    table = config.model_dump()
    of_parts = [f"{part}.{key}" for part in PARTS for key in table[part]]
    return of_parts + [f"{SYSTEM}.{key}" for key in table["spec"] if key != "title"]


def _changed(wanted: SweepRequest, keys: Sequence[str], values: Sequence[Any]) -> Preset:
    table = wanted.preset.model_dump()
    for key, value in zip(keys, values, strict=True):
        part, _, name = key.partition(".")
        place = table["systems"][wanted.system] if part == SYSTEM else table[part]
        place[name] = value
    try:
        return Preset.model_validate(table)
    except ValidationError as error:
        tried = ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        raise UsageError(f"--grid {tried}: {error.errors()[0]['msg']}") from None


def _fitted(planned: PlannedRun, manifest: CorpusManifest, session: Session) -> None:
    """Train a run; of its weights the epoch stays that validation chooses, and nobody looks at the test set."""
    run = open_run(planned.folder, planned.config)
    if run.fitted:
        run.rows(manifest)  # the guards hold for finished runs too
        return
    session.fit_run(run, manifest)
    EpochWeights(run.folder).keep([_best(run).epoch])


def _best(run: Run) -> Epoch:
    return max(run.history.epochs, key=lambda epoch: (epoch.validation_macro_f1, -epoch.epoch))


def _text(
    wanted: SweepRequest, settings: Sequence[SweptSetting], chosen: SweptSetting, manifest: CorpusManifest
) -> str:
    rows = assign(manifest.rows, wanted.fold)
    validation = [row for row in rows if row.split == "validation"]
    partial = chosen.runs[0].provenance.partial
    note = f"**{partial}**\n\n" if partial else ""
    title = f"{wanted.preset.systems[wanted.system].title}, preset {wanted.preset.name}"
    budget = _budget(settings)
    tested = list(_tested(chosen, rows, len(settings)))
    values = ", ".join(f"{axis.key} {value}" for axis, value in zip(wanted.axes, chosen.values, strict=True))
    head = (*(axis.key for axis in wanted.axes), "epochs", "s", "validation macro F1", "SD", "each seed", "chosen")
    lines = [_line(one, one is chosen) for one in settings]
    tried = f"{len(settings)} setting{'s' if len(settings) > 1 else ''}"
    heard = f"{len(validation):,} utterances, {len({row.speaker for row in validation})} speakers"
    return (
        f"{MARK}{title}: {manifest.corpus}, fold {wanted.fold}\n\n"
        f"Budget: {budget}. Chosen by the mean over seeds of validation macro F1 at 0.5 ({heard}), which makes that of "
        f"the chosen one optimistic; only the chosen one was tested.\n\n## {tried} on validation; budget: {budget}\n\n"
        f"{note}{markdown(head, lines, numbers=True)}\n"
        f"## The chosen one of {tried} ({values or 'the preset'}) on test, protocol strict\n\n"
        f"{note}{tables.more_figures(tested)}\n{tables.spread(tested)}\n\n"
        f"## The chosen one of {tried} on test, over seeds\n\n{note}{_over_seeds(tested)}"
    )


def _line(one: SweptSetting, is_chosen: bool) -> list[str]:
    epochs = sum(len(run.history.epochs) for run in one.runs)
    seconds = sum(sum(run.timing.seconds) for run in one.runs)
    spread = percent(stdev(one.scores)) if len(one.scores) > 1 else "-"
    each = ", ".join(map(percent, one.scores))
    said = "yes" if is_chosen else "no"
    return [*map(str, one.values), str(epochs), f"{seconds:.1f}", percent(mean(one.scores)), spread, each, said]


def _budget(settings: Sequence[SweptSetting]) -> str:
    runs = [run for one in settings for run in one.runs]
    epochs, seconds = sum(len(run.history.epochs) for run in runs), sum(sum(run.timing.seconds) for run in runs)
    seeds = len(settings[0].planned)
    return (
        f"{len(settings)} settings x {seeds} seeds = {len(runs)} runs, {epochs:,} epochs, {seconds:,.1f} wall seconds"
    )


def _tested(chosen: SweptSetting, rows: Sequence[Utterance], tried: int) -> Iterator[SystemPredictions]:
    for run in chosen.runs:
        found = read(run.predictions_path("strict"), "test", rows)
        yield SystemPredictions(run.config.system, f"seed {run.config.seed}, chosen of {tried}", found)


def _over_seeds(tested: Sequence[SystemPredictions]) -> str:
    same = {at: [SystemPredictions(one.system, "chosen", one.found)] for at, one in enumerate(tested)}
    return tables.seeds_table(tables.seed_lines(same, "strict"))
