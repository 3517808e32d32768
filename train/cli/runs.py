"""`sadstream-train prepare`, `fit`, `evaluate`, `export`: a corpus, its runs, a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from sadstream.base.errors import DataError, UsageError
from sadstream.base.files import expect_folder, expect_place
from train.cli.options import (
    CHECKPOINT,
    SEED,
    CacheOption,
    ClassesOption,
    ComputeOption,
    FoldsOption,
    ForceOption,
    PartialOption,
    SpeechOption,
    TargetOption,
    TextOption,
    ThreadsOption,
    TrackOption,
    say,
)


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="iemocap, ravdess, nemo, cremad, meld-text, goemotions, csv, audiofolder, emobox, audformat; or a "
            "reader of your own, *.py."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The corpus in its official layout, or a CSV file.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for manifest.csv.", readable=False)],
    label: Annotated[
        str | None, typer.Option(help="Of audformat: the column of the emotions, as COLUMN or TABLE.COLUMN.")
    ] = None,
    allow_partial: PartialOption = False,
    force: ForceOption = False,
) -> None:
    """Read a corpus, check its counts, write its manifest."""
    from train.corpora.manifest import COLUMNS, NAME
    from train.corpora.prepare import prepare as prepare_corpus

    expect_folder("--out", out)
    if (out / NAME).exists():
        expect_place("--out", out / NAME, mark=",".join(COLUMNS).encode(), reads=(folder,), force=force)
    prepared = prepare_corpus(corpus, folder, out, allow_partial, say, label)
    rows, path = prepared.manifest.rows, out / "manifest.csv"
    print(f"{path}: {len(rows):,} utterances, {sum(row.sad for row in rows):,} sad")
    if prepared.left_out:
        raise DataError(
            f"{path}: holds the rest; {prepared.left_out:,} of {prepared.left_out + len(rows):,} utterances are named "
            "above and left out; mend them and prepare again, or accept it with --allow-partial"
        )


def fit(
    config: Annotated[str, typer.Argument(help="A preset's name or TOML file.")],
    manifest: Annotated[Path, typer.Option(help="What `prepare` wrote.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder of runs; each run gets its own inside.", readable=False)] = Path(
        "runs"
    ),
    system: Annotated[str, typer.Option(help="Which of the preset's systems.")] = "attention",
    seed: Annotated[int, SEED] = 0,
    fold: Annotated[
        str, typer.Option(help="fixed; s1 to s5: the session that is tested; KofN, such as 1of5: by speaker.")
    ] = "fixed",
    folds: FoldsOption = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; without it the preset's.")] = None,
    text_encoder: TextOption = None,
    audio_encoder: SpeechOption = None,
    target: TargetOption = "sad",
    classes: ClassesOption = None,
    allow_partial: PartialOption = False,
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16 on a GPU; changes the last digits.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile; pays from some ten epochs on.")] = False,
    track: TrackOption = None,
) -> None:
    """Train one system; the same command again goes on where it stopped."""
    from train.corpora.folds import FIXED, crossing
    from train.corpora.manifest import read
    from train.training.session import Session, TargetRequest

    if folds and fold != FIXED:
        raise UsageError(f"--fold {fold}, --folds {folds}: expected one of them: a fold, or all of so many")
    asked = TargetRequest.asked(target, classes)
    expect_folder("--out", out)
    session = Session.start(cache, compute, threads, amp=amp, compiled=compiled, track=track)
    preset = session.preset(config, epochs=epochs, text_encoder=text_encoder, audio_encoder=audio_encoder)
    for each in crossing(read(manifest).rows, loso=False, count=folds) if folds else (fold,):
        run = session.fit(
            preset, system, manifest, out, seed=seed, fold=each, allow_partial=allow_partial, target=asked, say=say
        )
        last = run.history.epochs[-1]
        say(run.provenance.partial)
        print(f"{run.folder}: {last.epoch} epochs, lowest validation loss at {run.history.lowest_loss_epoch}")


def evaluate(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="A run's folder, or those of its folds.", readable=False)
    ],
    protocol: Annotated[str, typer.Option(help="strict, thesis (optimistic), or both.")] = "both",
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Choose epoch and threshold as a protocol says, and write the predictions; those of folds are pooled."""
    from train.comparison.compare import pooled_figures
    from train.corpora.guards import Protocol
    from train.thesis.tables import run_table
    from train.training.session import Session

    known: dict[str, list[Protocol]] = {"strict": ["strict"], "thesis": ["thesis"], "both": ["thesis", "strict"]}
    names = known.get(protocol)
    if names is None:
        raise UsageError(f"--protocol {protocol}: expected strict, thesis or both")
    session = Session.start(cache, compute, threads)
    done = [session.evaluate(run, names) for run in runs]
    print(run_table(done[0], names) if len(done) == 1 else pooled_figures(done, names))


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, evaluated under strict.", readable=False)],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.", readable=False)] = Path("sadstream.safetensors"),
    licence: Annotated[str | None, typer.Option(help="Of the weights, for recordings of your own.")] = None,
    commercial_use: Annotated[
        bool | None, typer.Option("--commercial-use/--no-commercial-use", help="Whether that licence allows it.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Also a folder beside it as the Hugging Face hub keeps models.")
    ] = False,
    cache: CacheOption = None,
    force: ForceOption = False,
) -> None:
    """Make the daemon's checkpoint of a run; strict protocol only."""
    from sadstream.scoring.fusion.card import card_path
    from sadstream.scoring.fusion.checkpoint import read_header
    from train.training.session import Session

    expect_place("--out", out, mark=CHECKPOINT, force=force)
    folder = out.with_name(f"{out.stem}-repository")
    if card:
        _expect_repository("--card", folder, force)
    sha256 = Session.start(cache, "cpu", 0).export(run, out, licence, commercial_use)
    header = read_header(out)
    say(header.terms + ("; state one with --licence" if header.commercial_use is None and licence is None else ""))
    if not card_path(out).exists():
        say(
            f"{card_path(out)}: not there: without a card the daemon sends scores, but no episodes, mood or uncertain; "
            "`sadstream-train days` measures one, for checkpoints of `sadstream-train open` alone"
        )
    print(f"{out}: {sha256[:12]}; use it with: [model] checkpoint = '{out.resolve()}'")
    if card:
        print(_published(out, folder))


def card(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's file; or default or open, which ship.")],
    out: Annotated[Path, typer.Option(help="Folder of the repository.", readable=False)],
    force: ForceOption = False,
) -> None:
    """Write a checkpoint as the Hugging Face hub keeps models: its file, its card, a README; nothing is uploaded."""
    from sadstream.scoring.fusion.checkpoint import named

    _expect_repository("--out", out, force)
    print(_published(named(checkpoint), out))


def _expect_repository(option: str, folder: Path, force: bool) -> None:
    from train.shipped.repository import MARK, README

    expect_folder(option, folder)
    if (folder / README).exists():
        expect_place(option, folder / README, mark=MARK, force=force)


def _published(path: Path, folder: Path) -> str:
    from train.shipped.repository import publish

    files = publish(path, folder)
    return f"{folder}: {', '.join(file.name for file in files)}; read back with: sadstream models fetch --from {folder}"
