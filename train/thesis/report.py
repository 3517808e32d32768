"""The report of a folder of runs: Markdown with its figures beside it, and one HTML page that holds everything."""

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from sadstream.base.errors import DataError, SadstreamError
from sadstream.base.files import expect_folder, expect_place, save_atomic
from train.corpora.folds import FIXED, advice, assign, fold_count, fold_names, parts, units
from train.corpora.guards import Protocol
from train.corpora.manifest import CorpusManifest, Utterance, read
from train.metrics.markdown import markdown
from train.metrics.paired import against
from train.metrics.predictions import Predictions, pooled
from train.metrics.predictions import read as read_predictions
from train.metrics.targets import pooled as pooled_targets
from train.metrics.targets import read as read_targets
from train.presets import Target
from train.thesis import plots as figures
from train.thesis import printed as thesis
from train.thesis import tables
from train.thesis.attention import PICTURED, picture
from train.thesis.latex import HEAD, latex
from train.thesis.tables import SystemPredictions, SystemTargets
from train.training.run import PROTOCOLS, Run

MARK = b"Sadness in "  # the title of each, near its start
FIGURE = b"tEXtSoftware\0training of sadstream"  # figures.py writes it into each
THESIS_ENCODERS = ("BERT", "no text")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; }
th, td { border: 1px solid #ccc; padding: .25rem .5rem; }
th { background: #f3f3f3; } img { max-width: 100%; } code { background: #f3f3f3; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { font-size: 9pt; max-width: none; margin: 0; padding: 0; } table { font-size: 6.5pt; }
  tr, img, h2, h3 { break-inside: avoid; } h2, h3 { break-after: avoid; } th, td { padding: .1rem .2rem; }
}
"""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Runs that may stand in one table: same preset, same text encoder, same manifest, the same beside sad."""

    preset: str
    encoder: str
    runs: tuple[Run, ...]
    manifest: CorpusManifest
    target: Target = "sad"

    @property
    def seeds(self) -> list[int]:
        """Of its runs, in order; the first one's stand in the tables, all of them in those over seeds."""
        return sorted({run.config.seed for run in self.runs if not run.config.variant} or {0})

    def chosen(self, fold: str = FIXED, seed: int | None = None, variant: bool = False) -> list[Run]:
        """The runs of a fold and seed (the first): the ladder's, or those of the ablations."""
        wanted = (fold, self.seeds[0] if seed is None else seed)
        found = [run for run in self.runs if (run.config.fold, run.config.seed) == wanted]
        return [run for run in found if bool(run.config.variant) == variant]

    def scored(self, runs: Sequence[Run], protocol: Protocol) -> list[SystemPredictions]:
        """Test predictions of these runs, checked against the manifest."""
        return [
            SystemPredictions(run.config.system, run.config.title, _test(run, protocol, self.manifest))
            for run in runs
            if run.evaluated(protocol)
        ]


def _test(run: Run, protocol: Protocol, manifest: CorpusManifest) -> Predictions:
    return read_predictions(run.predictions_path(protocol), "test", run.rows(manifest))


def ladders(folder: Path) -> list[Ladder]:
    """The evaluated runs under a folder, sorted into ladders; DataError if there is none."""
    found = [Run(path.parent) for path in sorted(folder.rglob("config.json"))]
    runs = [run for run in found if any(run.evaluated(protocol) for protocol in PROTOCOLS)]
    if not runs:
        raise DataError(f"{folder}: no evaluated run in it; make one with: sadstream-train fit, then evaluate")
    keys = {_key(r, r.config.text.label) for r in runs if r.config.spec.text}
    keys |= {_key(r, "no text") for r in runs} if not keys else set()
    made = []
    for preset, encoder, manifest, target in sorted(keys):
        part = [r for r in runs if _key(r, encoder) == (preset, encoder, manifest, target)]
        part = [r for r in part if not r.config.spec.text or r.config.text.label == encoder]
        order = list(dict.fromkeys([*thesis.TABLE_2, *(r.config.system for r in part)]))
        part.sort(key=lambda r: (order.index(r.config.system), r.config.seed, r.config.fold, r.config.name))
        made.append(Ladder(preset, encoder, tuple(part), read(Path(manifest)), target))
    return made


def _key(run: Run, encoder: str) -> tuple[str, str, str, Target]:
    return run.config.preset, encoder, run.config.manifest, run.config.target


def expect_report(out: Path, encoders: Iterable[str], force: bool) -> tuple[Path, Path]:
    """Before the work: where report.md and report.html go; a stand-in for BERT is part of their names."""
    names = sorted({encoder.partition(",")[0] for encoder in encoders if encoder not in THESIS_ENCODERS})
    stem = "-".join(["report", *(Path(name).name for name in names)])
    expect_folder("--out", out)
    places = out / f"{stem}.md", out / f"{stem}.html"
    for place, mark in ((places[0], MARK), (places[1], MARK), (out / f"{stem}.tex", HEAD.encode())):
        if os.path.lexists(place):
            expect_place("--out", place, mark=mark, force=force)
    return places


def write_report(runs: Path, out: Path, force: bool = False) -> tuple[Path, Path]:
    """Write report.md, its figures, report.html, which prints on A4, and its tables as report.tex."""
    found = ladders(runs)
    markdown_path, page = expect_report(out, (ladder.encoder for ladder in found), force)
    text = ""
    pictures: dict[str, bytes] = {}
    for number, ladder in enumerate(found):
        part, drawn = _ladder(ladder, number)
        text, pictures = text + part, pictures | drawn
    for name in pictures:
        if os.path.lexists(out / name):
            expect_place("--out", out / name, mark=FIGURE, force=force)
    for name, png in pictures.items():
        save_atomic(out / name, png)
    save_atomic(markdown_path, text.encode())
    save_atomic(page, html(text, pictures).encode())
    save_atomic(markdown_path.with_suffix(".tex"), latex(text).encode())
    return markdown_path, page


def thesis_encoder(ladder: Ladder) -> bool:
    """Whether its text encoder is the thesis's, or it reads no text."""
    return ladder.encoder in THESIS_ENCODERS


def _ladder(ladder: Ladder, number: int) -> tuple[str, dict[str, bytes]]:
    corpus, partial = ladder.manifest.corpus, ladder.runs[0].provenance.partial
    note = f"**{partial}**\n\n" if partial else ""
    beside = "" if ladder.target == "sad" else f", with {ladder.target}"
    text = f"# Sadness in {corpus}{beside}: preset {ladder.preset}, text encoder {ladder.encoder}\n\n"
    text += f"{note}{_origin(ladder)}\n"
    rows = assign(ladder.manifest.rows, FIXED)
    if corpus == "iemocap":
        text += f"## Table 1\n\n{note}{tables.table_1(rows)}\n{thesis.WHY_TABLE_1_DIFFERS}\n\n"
    pictures: dict[str, bytes] = {}
    for protocol in PROTOCOLS:
        scored = ladder.scored(ladder.chosen(), protocol)
        if scored:
            text += _protocol(protocol, scored, ladder, note)
            stem = f"figures/{number}-{protocol}"
            pictures |= {
                f"{stem}-confusion.png": figures.confusion_matrices(scored),
                f"{stem}-curves.png": figures.curves(scored),
            }
            text += f"![Confusion matrices, {protocol}]({stem}-confusion.png)\n\n"
            text += f"![Precision over recall, and reliability, {protocol}]({stem}-curves.png)\n\n"
    if corpus == thesis.CORPUS:
        text += "## The thesis's own numbers\n\n" + _list(tables.thesis_verdicts())
    text += _beside(ladder, note) + _seeds(ladder, note) + _crossed(ladder, note) + _ablations(ladder, note)
    more, drawn = _training(ladder, number, rows)
    return text + more, pictures | drawn


def _origin(ladder: Ladder) -> str:
    origin = ladder.runs[0].provenance
    return (
        f"{thesis.BUDGET}\n\nManifest {origin.manifest_sha256[:12]}, sadstream {origin.sadstream} "
        f"({origin.commit or 'no checkout'}), {', '.join(origin.libraries)}; {origin.machine}, {origin.device}, "
        f"{origin.threads} threads.\n{_mixed(ladder)}"
    )


def _mixed(ladder: Ladder) -> str:
    """What else the runs were computed with; the same run has other last digits there."""
    found = [run.provenance for run in ladder.runs]
    kinds = list(dict.fromkeys(f"{one.machine}, {one.device}, {one.threads} threads" for one in found))
    return f"\n**Runs of {len(kinds)} kinds of machine: {'; '.join(kinds)}.**\n" if len(kinds) > 1 else ""


def _verdicts(scored: Sequence[SystemPredictions], ladder: Ladder) -> list[str]:
    """On what the thesis claims, where it can be judged: on the corpus and the split that it speaks of."""
    if ladder.manifest.corpus != thesis.CORPUS:
        return [f"Not judged: the thesis's claim and hypothesis are about IEMOCAP, not about {ladder.manifest.corpus}."]
    if ladder.runs[0].provenance.partial:
        return ["Not judged: the thesis's claim and hypothesis are about the whole of IEMOCAP."]
    return tables.found_verdicts(scored)


def _protocol(protocol: Protocol, scored: Sequence[SystemPredictions], ladder: Ladder, note: str) -> str:
    what = thesis.WHY_OPTIMISTIC if protocol == "thesis" else thesis.WHAT_STRICT_IS
    label = "protocol thesis (optimistic)" if protocol == "thesis" else "protocol strict"
    beside = ladder.manifest.corpus == thesis.CORPUS
    title = f"## {'Table 2' if beside else 'Systems'}, {label}, text encoder {ladder.encoder}"
    text = f"{title}\n\n{note}{what}\n\n{tables.table_2(scored, beside)}\n"
    text += f"{tables.spread(scored, advice(ladder.manifest.rows))}\n\n"
    text += f"### Verdicts, {label}\n\n{_list(_verdicts(scored, ladder))}"
    text += f"### All figures, {label}\n\n{note}{tables.more_figures(scored)}\n"
    text += f"### Confusion, {label}\n\n{tables.confusions(scored, beside)}\n"
    systems = {one.title: one.found for one in scored}
    attention = next((one.title for one in scored if one.system == "attention"), None)
    if attention and len(systems) > 1:
        tests = tables.paired_table(against(attention, systems))
        text += f"### {attention} against each other system, {label}\n\n{tests}\n"
    return text


def _list(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines) + "\n"


def _seeds(ladder: Ladder, note: str) -> str:
    """Every seed's F1, and what they come to: of the fixed split under both protocols, and of the pooled folds."""
    if len(ladder.seeds) < 2:
        return ""
    lines = []
    for protocol in PROTOCOLS:
        tried = {seed: ladder.scored(ladder.chosen(seed=seed), protocol) for seed in ladder.seeds}
        lines += tables.seed_lines(tried, protocol)
    for folds, name in _crossings(ladder):
        tried = {seed: _out_of_fold(ladder, folds, seed) for seed in ladder.seeds}
        lines += tables.seed_lines(tried, f"strict, {name}")
    if not lines:
        return ""
    first = f"The tables above and below are seed {ladder.seeds[0]}'s."
    return f"## F1 over seeds\n\n{note}{first}\n\n{tables.seeds_table(lines)}\n"


def _crossings(ladder: Ladder) -> list[tuple[list[str], str]]:
    """The cross-validations that the ladder may hold, each with its folds and its name."""
    alone = len(units(ladder.manifest.rows))
    counts = sorted({fold_count(run.config.fold) for run in ladder.runs} - {0})
    named = [(parts(n), "leave one speaker out" if n == alone else f"{n} folds by speaker") for n in counts]
    return [(list(fold_names(loso=True)), "leave one session out"), *named]


def _crossed(ladder: Ladder, note: str) -> str:
    """Leave one session out, and each number of parts by speaker, of which all folds were evaluated."""
    text = ""
    for folds, name in _crossings(ladder):
        scored = _out_of_fold(ladder, folds)
        if not scored:
            continue
        by_speaker = f"Cross-validation by speaker, {len(folds)} folds"
        by_speaker += f" ({name})" if "one" in name else ""
        title = name.capitalize() if folds[0] == "s1" else by_speaker
        part = "session" if folds[0] == "s1" else "part of the speakers"
        text += f"## {title}, protocol strict\n\n{note}Each fold tests one {part}, validates on the one before and "
        text += "trains on the rest; threshold and calibration are each fold's own; predictions are pooled.\n\n"
        text += f"{tables.more_figures(scored)}\n{tables.spread(scored)}\n\n"
        attention = next((one.title for one in scored if one.system == "attention"), None)
        if attention and len(scored) > 1:
            tests = against(attention, {one.title: one.found for one in scored})
            text += f"### {attention} against each other system, {name}\n\n{tables.paired_table(tests)}\n"
    return text


def _out_of_fold(ladder: Ladder, folds: Sequence[str], seed: int | None = None) -> list[SystemPredictions]:
    """The systems of which every fold was evaluated, each utterance as the fold that tests it says."""
    runs = {fold: ladder.chosen(fold=fold, seed=seed) for fold in folds}
    scored = []
    for title in [run.config.title for run in runs[folds[0]]]:
        same = [run for fold in folds for run in runs[fold] if run.config.title == title and run.evaluated("strict")]
        if len(same) == len(folds):
            tests = [_test(run, "strict", ladder.manifest) for run in same]
            scored.append(SystemPredictions(same[0].config.system, title, pooled(tests)))
    return scored


def _beside(ladder: Ladder, note: str) -> str:
    """What is said beside sad, of the split that stands in the manifest and pooled over folds."""
    if ladder.target == "sad":
        return ""
    counts = sorted({fold_count(run.config.fold) for run in ladder.runs} - {0})
    designs = {
        "the corpus's own split": [FIXED],
        "one session left out at a time": list(fold_names(loso=True)),
        **{f"{n} folds by speaker": [f"{number}of{n}" for number in range(1, n + 1)] for n in counts},
    }
    text = ""
    for design, folds in designs.items():
        scored = _told(ladder, folds)
        if not scored:
            continue
        config = ladder.chosen(fold=folds[0])[0].config
        text += f"## {ladder.target.capitalize()} beside sad, protocol strict, {design}\n\n{note}"
        text += f"{tables.target_figures(scored)}\n{tables.target_spread(config, scored[0].found)} Epoch and "
        text += "calibration are chosen on validation; predictions of folds are pooled.\n\n"
        text += "".join(f"{tables.target_confusion(one)}\n" for one in scored if config.classes)
    return text


def _told(ladder: Ladder, folds: Sequence[str]) -> list[SystemTargets]:
    runs = [run for fold in folds for run in ladder.chosen(fold=fold) if run.evaluated("strict")]
    found = []
    for title in dict.fromkeys(run.config.title for run in runs):
        same = [run for run in runs if run.config.title == title]
        if len(same) == len(folds):
            found.append(SystemTargets(title, pooled_targets([read_targets(run.targets_path, "test") for run in same])))
    return found


def _ablations(ladder: Ladder, note: str) -> str:
    variants = ladder.chosen(variant=True)
    return "".join(
        _varied([run for run in ladder.chosen() if run.config.system == system], runs, ladder, note)
        for system in dict.fromkeys(run.config.system for run in variants)
        if (runs := [run for run in variants if run.config.system == system])
    )


def _varied(base: Sequence[Run], runs: Sequence[Run], ladder: Ladder, note: str) -> str:
    """One system's variants beside it, and tested against it."""
    name, text = runs[0].config.spec.title, ""
    if base:
        name = base[0].config.spec.title
    for protocol in PROTOCOLS:
        scored = ladder.scored([*base, *runs], protocol)
        text += f"## Ablations of {name}, protocol {protocol}\n\n{note}{tables.more_figures(scored)}\n"
        if base and len(scored) > 1:
            tests = against(scored[0].title, {one.title: one.found for one in scored})
            text += f"### {name} against each variant, protocol {protocol}\n\n{tables.paired_table(tests)}\n"
    return text


def _training(ladder: Ladder, number: int, rows: Sequence[Utterance]) -> tuple[str, dict[str, bytes]]:
    runs = [run for run in ladder.chosen() if run.evaluated("strict")]
    if not runs:
        return "", {}
    lines = []
    for run in runs:
        chosen = [str(run.selection(p).epoch) if run.evaluated(p) else "-" for p in PROTOCOLS]
        lines.append([run.config.title, str(len(run.history.epochs)), *chosen, *_speed(run)])
    head = ("system", "epochs", "epoch chosen, thesis", "epoch chosen, strict", "s an epoch", "utterances/s")
    name = f"figures/{number}-learning.png"
    text = f"## Training\n\n{markdown(head, lines, numbers=True)}\n![Learning curves]({name})\n\n"
    pictures = {name: figures.learning_curves(runs)}
    for looked in (r for r in runs if r.config.system in PICTURED and r.config.spec.front_end == "cnn"):
        found = _test(looked, "strict", ladder.manifest)
        best = max((i for i, sad in enumerate(found.labels) if sad), key=lambda i: float(found.probabilities[i]))
        row = next(row for row in rows if row.utterance == found.names[best])
        which = looked.config.system if looked.config.system == "attention" else f"{looked.config.system}-attention"
        try:
            pictures[f"figures/{number}-{which}.png"] = picture(looked, row)
            text += f"![{looked.config.title}: where it looks](figures/{number}-{which}.png)\n\n"
        except SadstreamError as error:
            text += f"No picture of {looked.config.title}: {error}\n\n"
    return text, pictures


def _speed(run: Run) -> tuple[str, str]:
    """Seconds an epoch and training utterances a second, where the run's times are all there."""
    epochs, seconds = run.history.epochs, run.timing.seconds
    if len(seconds) != len(epochs) or not all(seconds):
        return "-", "-"
    rates = [epoch.utterances / took for epoch, took in zip(epochs, seconds, strict=True)]
    return f"{mean(seconds):.1f}", f"{mean(rates):,.0f}"


def html(text: str, pictures: dict[str, bytes]) -> str:
    """One page without anything outside itself."""
    from markdown_it import MarkdownIt

    body = str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
    for name, png in pictures.items():
        data = base64.b64encode(png).decode()
        body = body.replace(f'src="{name}"', f'src="data:image/png;base64,{data}"')
    title = text.partition("\n")[0].removeprefix("# ").replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
