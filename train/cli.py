"""The `sadstream-train` command; the only place of `train` that prints and exits."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sadstream.base.boundary import enter
from sadstream.base.errors import DataError, UnavailableError, UsageError
from sadstream.base.files import expect_folder, expect_place, make_folder

CHECKPOINT = b"sadstream-checkpoint"  # stands at the start of each

app = typer.Typer(
    name="sadstream-train",
    help="Train, measure and export what sadstream hears with; the thesis in one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

PresetOption = Annotated[str, typer.Option("--preset", help="thesis, thesis-small, ... or a TOML file.")]
PartialOption = Annotated[
    bool, typer.Option("--allow-partial", help="Accept counts that are not the corpus's, and lines left out.")
]
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder for computed features.", readable=False)]
ThreadsOption = Annotated[int, typer.Option("--threads", min=0, help="Of PyTorch; 0: its own choice.")]
ComputeOption = Annotated[str, typer.Option("--compute", help="auto, cpu or cuda.")]
SpeechOption = Annotated[
    str | None, typer.Option("--audio-encoder", help="Whisper's name, or the folder of an AutoModel speech encoder.")
]
TextOption = Annotated[str | None, typer.Option("--text-encoder", help="Name or folder; without it the preset's.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Also over a file that something else made.")]
ShareOption = Annotated[
    str | None, typer.Option("--share", metavar="I/N", help="The I-th of N parts, from 0; for job arrays.")
]
ClusterOption = Annotated[bool, typer.Option("--cluster", help="A task a run on the machines of a Ray cluster.")]
HeadOption = Annotated[str | None, typer.Option("--head", help="HOST[:PORT] of the cluster; default this machine's.")]
TokenOption = Annotated[Path | None, typer.Option("--token", help="File with the cluster's token.", readable=False)]
SEED = typer.Option(min=0, help="Of weights, order and oversampling.")


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="iemocap, ravdess, nemo, cremad, meld-text, goemotions or csv.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The corpus in its official layout, or a CSV file.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for manifest.csv.", readable=False)],
    allow_partial: PartialOption = False,
    force: ForceOption = False,
) -> None:
    """Read a corpus, check its counts, write its manifest."""
    from train.corpora.manifest import COLUMNS, NAME
    from train.corpora.prepare import prepare as prepare_corpus

    expect_folder("--out", out)
    if (out / NAME).exists():
        expect_place("--out", out / NAME, mark=",".join(COLUMNS).encode(), reads=(folder,), force=force)
    prepared = prepare_corpus(corpus, folder, out, allow_partial, say)
    rows, path = prepared.manifest.rows, out / "manifest.csv"
    print(f"{path}: {len(rows):,} utterances, {sum(row.sad for row in rows):,} sad")
    if prepared.left_out:
        raise DataError(
            f"{path}: holds the rest; {prepared.left_out:,} of {prepared.left_out + len(rows):,} utterances are named "
            "above and left out; mend them and prepare again, or accept it with --allow-partial"
        )


@app.command()
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
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; without it the preset's.")] = None,
    text_encoder: TextOption = None,
    audio_encoder: SpeechOption = None,
    allow_partial: PartialOption = False,
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16 on a GPU; changes the last digits.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile; pays from some ten epochs on.")] = False,
) -> None:
    """Train one system; the same command again goes on where it stopped."""
    from train.training.session import Session

    expect_folder("--out", out)
    session = Session.start(cache, compute, threads, amp=amp, compiled=compiled)
    preset = session.preset(config, epochs=epochs, text_encoder=text_encoder, audio_encoder=audio_encoder)
    run = session.fit(preset, system, manifest, out, seed=seed, fold=fold, allow_partial=allow_partial, say=say)
    last = run.history.epochs[-1]
    say(run.provenance.partial)
    print(f"{run.folder}: {last.epoch} epochs, lowest validation loss at {run.history.lowest_loss_epoch}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", readable=False)],
    protocol: Annotated[str, typer.Option(help="strict, thesis (optimistic), or both.")] = "both",
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Choose epoch and threshold as a protocol says, and write the predictions."""
    from train.corpora.guards import Protocol
    from train.thesis.tables import run_table
    from train.training.session import Session

    known: dict[str, list[Protocol]] = {"strict": ["strict"], "thesis": ["thesis"], "both": ["thesis", "strict"]}
    names = known.get(protocol)
    if names is None:
        raise UsageError(f"--protocol {protocol}: expected strict, thesis or both")
    session = Session.start(cache, compute, threads)
    print(run_table(session.evaluate(run, names), names))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, evaluated under strict.", readable=False)],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.", readable=False)] = Path("sadstream.safetensors"),
    licence: Annotated[str | None, typer.Option(help="Of the weights, for recordings of your own.")] = None,
    commercial_use: Annotated[
        bool | None, typer.Option("--commercial-use/--no-commercial-use", help="Whether that licence allows it.")
    ] = None,
    cache: CacheOption = None,
    force: ForceOption = False,
) -> None:
    """Make the daemon's checkpoint of a run; strict protocol only."""
    from sadstream.scoring.fusion.card import card_path
    from sadstream.scoring.fusion.checkpoint import read_header
    from train.training.session import Session

    expect_place("--out", out, mark=CHECKPOINT, force=force)
    sha256 = Session.start(cache, "cpu", 0).export(run, out, licence, commercial_use)
    header = read_header(out)
    say(header.terms + ("; state one with --licence" if header.commercial_use is None and licence is None else ""))
    if not card_path(out).exists():
        say(
            f"{card_path(out)}: not there: without a card the daemon sends scores, but no episodes, mood or uncertain; "
            "`sadstream-train days` measures one, for checkpoints of `sadstream-train open` alone"
        )
    print(f"{out}: {sha256[:12]}; use it with: [model] checkpoint = '{out.resolve()}'")


@app.command()
def reproduce(
    iemocap: Annotated[Path, typer.Option(help="The IEMOCAP release, or the folder above it.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for manifest, runs and report.", readable=False)] = Path(
        "reproduction"
    ),
    preset: PresetOption = "thesis",
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; without it the preset's.")] = None,
    text_encoder: TextOption = None,
    audio_encoder: SpeechOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds, from 0.")] = 1,
    loso: Annotated[bool, typer.Option("--loso", help="Also leave one session out at a time.")] = False,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also the thesis's open questions.")] = False,
    system: Annotated[list[str] | None, typer.Option(help="Only these; without it all eleven.")] = None,
    force: ForceOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done and how long.")] = False,
    allow_partial: PartialOption = False,
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16 on a GPU; changes the last digits.")] = False,
    share: ShareOption = None,
    cluster: ClusterOption = False,
    head: HeadOption = None,
    token: TokenOption = None,
    per_gpu: Annotated[int, typer.Option("--per-gpu", min=1, max=64, help="Runs at a time on a GPU of it.")] = 2,
) -> None:
    """Tables 1 and 2 of the thesis: six systems, a seventh and four more under both protocols."""
    from train.thesis.reproduce import ThesisRequest
    from train.thesis.reproduce import reproduce as reproduce_thesis
    from train.training.cluster import ClusterChoice
    from train.training.launch import ProcessShare
    from train.training.session import Session

    mine = ProcessShare.asked(share)
    machines = ClusterChoice.asked(cluster, head, token, mine, per_gpu=per_gpu, compute=compute, amp=amp)
    # What a cluster's machines compute with is theirs; this one reads the corpus.
    here = "auto" if machines and compute == "cuda" else compute
    session = Session.start(cache, here, threads, amp=amp)
    chosen = session.preset(preset, epochs=epochs, text_encoder=text_encoder, audio_encoder=audio_encoder)
    wanted = ThesisRequest(
        corpus=iemocap,
        out=out,
        preset=chosen,
        systems=tuple(system or chosen.systems),
        seeds=seeds,
        loso=loso,
        ablations=ablations,
        allow_partial=allow_partial,
        force=force,
        share=mine,
        cluster=machines,
    )
    print(reproduce_thesis(wanted, session, dry_run, say), end="")


@app.command()
def report(
    runs: Annotated[
        Path, typer.Argument(metavar="RUNS", help="Folder of runs, or what `reproduce` made.", readable=False)
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for report.md and report.html.", readable=False)] = None,
    force: ForceOption = False,
) -> None:
    """Tables and figures of all evaluated runs: Markdown, and one HTML page that needs nothing else."""
    from train.thesis.report import write_report

    for path in write_report(runs, out or runs, force):
        print(path)


@app.command("open")
def open_data(
    data: Annotated[Path, typer.Option(help="Folder with speech/ and text/, each with its manifest.", readable=False)],
    out: Annotated[
        Path, typer.Option(help="The checkpoint to write; its report goes beside it.", readable=False)
    ] = Path("open.safetensors"),
    config: Annotated[Path | None, typer.Option(help="TOML; without it configs/open.toml.", readable=False)] = None,
    cache: CacheOption = None,
    provisional: Annotated[bool, typer.Option("--provisional", help="Say in the header that it is.")] = False,
    force: ForceOption = False,
    ladder: Annotated[
        Path | None, typer.Option(help="Instead: the thesis's systems on the same data, here.", readable=False)
    ] = None,
    preset: PresetOption = "thesis-small",
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the ladder, at most; else the preset's.")] = None,
    text_encoder: TextOption = None,
    share: ShareOption = None,
    cluster: ClusterOption = False,
    head: HeadOption = None,
    token: TokenOption = None,
) -> None:
    """The default checkpoint from open corpora, with every figure of its model card; or the ladder beside it."""
    from train.features.cache import default_folder
    from train.presets import presets_folder
    from train.shipped.checkpoint import make_checkpoint, make_on_cluster, make_share
    from train.shipped.config import read_config
    from train.training.cluster import ClusterChoice
    from train.training.launch import ProcessShare

    mine = ProcessShare.asked(share)
    machines = ClusterChoice.asked(cluster, head, token, mine)
    if ladder is not None:
        from train.thesis.open_ladder import climb
        from train.training.session import Session

        session = Session.start(cache, "auto", 0)
        asked = session.preset(preset, epochs=epochs, text_encoder=text_encoder)
        print(climb(data, ladder, asked, session, say, mine, machines), end="")
        return
    chosen, kept = read_config(config or presets_folder() / "open.toml"), cache or default_folder()
    if mine.array:
        make_share(data, chosen, kept, mine, say)
        say(f"share {share}: done; after the last share: the same command without --share")
        return
    make_folder("--out", out.parent)
    expect_place("--out", out, mark=CHECKPOINT, reads=(config,), force=force)
    if machines:
        make_on_cluster(data, chosen, kept, machines, say)
    print(make_checkpoint(data, out, chosen, kept, provisional))


DataOption = Annotated[Path, typer.Option("--data", help="Folder with speech/, english/ and noise/.", readable=False)]


@app.command()
def days(
    data: DataOption,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Whose card is made; default the one that ships.", readable=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Its recipe; without it configs/open.toml.", readable=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the days with their truth.", readable=False)] = None,
    force: ForceOption = False,
    strings: Annotated[int, typer.Option(min=1, help="Of clips, for each speaker.")] = 12,
    seed: Annotated[int, SEED] = 0,
    cache: CacheOption = None,
) -> None:
    """Simulate days of talk, measure episodes on them, and write the checkpoint's card."""
    from sadstream.scoring.fusion.checkpoint import default_path
    from train.evaluation.days import DaysConfig
    from train.evaluation.measure import simulate
    from train.features.cache import default_folder
    from train.presets import presets_folder
    from train.shipped.config import read_config

    if out is not None:
        expect_folder("--out", out)
        if (out / "days.jsonl").exists():
            expect_place("--out", out / "days.jsonl", mark=b'{"speaker":', force=force)
    recipe = read_config(config or presets_folder() / "open.toml")
    asked = DaysConfig(seed=seed, hours=strings)
    print(simulate(data, checkpoint or default_path(), recipe, asked, cache or default_folder(), out).text)


@app.command()
def gates(
    data: DataOption,
    part: Annotated[
        list[str] | None,
        typer.Option(help="noise, speech, language, talk, robustness, signal, clean, channels, voices; or all."),
    ] = None,
    scale: Annotated[float, typer.Option(min=0.001, max=10.0, help="1: 30 h of non-speech, 2,000 clips.")] = 1.0,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """Measure through the daemon's own objects what its gates let through and what they lose."""
    from train.evaluation.measure import PARTS, measure

    for name in part or PARTS:
        if name not in PARTS:
            raise UsageError(f"--part {name}: expected one of {', '.join(PARTS)}")
        print(f"## {name}\n\n{measure(data, name, scale, seed)}", flush=True)


@app.command()
def trust(
    data: DataOption,
    scale: Annotated[float, typer.Option(min=0.01, max=10.0, help="1: 1,500 Polish clips and all others.")] = 1.0,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """Fit the weights by which the daemon trusts words, and measure them on recordings that they were not fitted to."""
    from train.evaluation import measure as evaluation

    print(evaluation.trust(data, scale, seed))


@app.command("synth-iemocap")
def synth_iemocap(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", readable=False)],
    utterances: Annotated[int, typer.Option(min=50, max=20_000, help="About this many.")] = 300,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """A small corpus in IEMOCAP's layout, spoken by espeak-ng, for tests and for people without a licence."""
    from train.corpora.synthetic import espeak, require_espeak, script, write_corpus

    require_espeak()
    expect_folder("DIR", folder)
    lines = script(utterances, seed)
    release = write_corpus(folder, lines, espeak)
    print(f"{release}: {len(lines)} utterances, {sum(line.label == 'sad' for line in lines)} sad")


@app.command()
def benchmark(
    preset: PresetOption = "thesis-small",
    utterances: Annotated[int, typer.Option(min=100, help="Of the simulated corpus.")] = 10_039,
    steps: Annotated[int, typer.Option(min=2, help="Batches timed for each system.")] = 12,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Seconds an epoch of each system on a simulated corpus of IEMOCAP's size and durations."""
    from train.thesis.benchmark import measure
    from train.training.session import Session

    session = Session.start(None, compute, threads)
    found = measure(session.preset(preset), utterances, steps, session.compute)
    print(found.model_dump_json() if as_json else found.table())


def say(line: str) -> None:
    """Something that a person should know, on standard error; nothing if it is empty."""
    if line:
        print(f"sadstream-train: {line}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command; every failure is one line on standard error and a documented exit code."""
    enter(_run, "sadstream-train", arguments, interrupted="stopped; the same command goes on from here")


def _run(arguments: list[str], **options: Any) -> Any:
    try:
        return app(arguments, **options)
    except ImportError as error:
        if not error.name or error.name.split(".")[0] in ("sadstream", "train"):
            raise
        raise UnavailableError(f"{error.name}: not installed; in the checkout: pip install '.[train]'") from None


if __name__ == "__main__":
    main()
