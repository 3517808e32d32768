"""`sadstream-train reproduce`, `report`, `compare`, `cross`, `sweep`, `synth-iemocap`, `benchmark`: the ladder."""

from pathlib import Path
from typing import Annotated

import typer

from sadstream.base.errors import UsageError
from sadstream.base.files import expect_folder
from train.cli.options import (
    SEED,
    CacheOption,
    ClassesOption,
    ClusterOption,
    ComputeOption,
    FoldsOption,
    ForceOption,
    HeadOption,
    PartialOption,
    PresetOption,
    ShareOption,
    SpeechOption,
    TargetOption,
    TextOption,
    ThreadsOption,
    TokenOption,
    TrackOption,
    say,
)


def reproduce(
    iemocap: Annotated[
        Path | None, typer.Option(help="The IEMOCAP release, or the folder above it.", readable=False)
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Instead: any corpus, by what `prepare` wrote.", readable=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for manifest, runs and report.", readable=False)] = Path(
        "reproduction"
    ),
    preset: PresetOption = "thesis",
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; without it the preset's.")] = None,
    text_encoder: TextOption = None,
    audio_encoder: SpeechOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds, from 0.")] = 1,
    loso: Annotated[
        bool, typer.Option("--loso", help="Also leave one session out at a time; where there are none, one speaker.")
    ] = False,
    folds: FoldsOption = 0,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also the thesis's open questions.")] = False,
    system: Annotated[list[str] | None, typer.Option(help="Only these; without it all eleven.")] = None,
    target: TargetOption = "sad",
    classes: ClassesOption = None,
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
    track: TrackOption = None,
) -> None:
    """Tables 1 and 2 of the thesis: six systems, a seventh and four more under both protocols."""
    from train.thesis.reproduce import ThesisRequest
    from train.thesis.reproduce import reproduce as reproduce_thesis
    from train.training.cluster import ClusterChoice
    from train.training.launch import ProcessShare
    from train.training.session import Session, TargetRequest

    if (iemocap is None) == (manifest is None):
        raise UsageError("reproduce: expected one of --iemocap and --manifest")
    mine = ProcessShare.asked(share)
    beside = TargetRequest.asked(target, classes)
    machines = ClusterChoice.asked(cluster, head, token, mine, per_gpu=per_gpu, compute=compute, amp=amp)
    if machines and track:
        raise UsageError("--track, --cluster: a cluster's tasks tell no tracker; leave one of the two away")
    # What a cluster's machines compute with is theirs; this one reads the corpus.
    here = "auto" if machines and compute == "cuda" else compute
    session = Session.start(cache, here, threads, amp=amp, track=track)
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
        folds=folds,
        manifest=manifest,
        share=mine,
        cluster=machines,
        target=beside,
    )
    print(reproduce_thesis(wanted, session, dry_run, say), end="")


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


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Evaluated runs, the base first.", readable=False),
    ],
    protocol: Annotated[str, typer.Option(help="strict, or thesis (optimistic).")] = "strict",
) -> None:
    """Runs beside each other: figures, paired tests with Holm's correction, the effect on each speaker."""
    from train.comparison.compare import compare as compared

    if protocol not in ("strict", "thesis"):
        raise UsageError(f"--protocol {protocol}: expected strict or thesis")
    print(compared(runs, "strict" if protocol == "strict" else "thesis"), end="")


def cross(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST MANIFEST...", help="What `prepare` wrote.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the runs, one a corpus.", readable=False)] = Path("cross"),
    preset: PresetOption = "thesis-small",
    system: Annotated[str, typer.Option(help="Which of the preset's systems.")] = "cnn-lstm",
    seed: Annotated[int, SEED] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; without it the preset's.")] = None,
    text_encoder: TextOption = None,
    audio_encoder: SpeechOption = None,
    allow_partial: PartialOption = False,
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Trained on each corpus, tested on every other: a matrix with intervals."""
    from train.comparison.cross import CrossRequest
    from train.comparison.cross import cross as crossed
    from train.training.session import Session

    expect_folder("--out", out)
    session = Session.start(cache, compute, threads)
    chosen = session.preset(preset, epochs=epochs, text_encoder=text_encoder, audio_encoder=audio_encoder)
    print(crossed(CrossRequest(tuple(manifests), out, chosen, system, seed, allow_partial), session, say), end="")


def sweep(
    config: Annotated[str, typer.Argument(metavar="PRESET", help="A preset's name or TOML file.")],
    manifest: Annotated[Path, typer.Option(help="What `prepare` wrote.", readable=False)],
    grid: Annotated[
        list[str] | None, typer.Option("--grid", metavar="KEY=V,V", help="Of the preset; system.KEY: of the system.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the tables.", readable=False)] = Path("sweep"),
    system: Annotated[str, typer.Option(help="Which of the preset's systems.")] = "attention",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds, from 0.")] = 1,
    fold: Annotated[str, typer.Option(help="fixed, s1 to s5, or KofN.")] = "fixed",
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; without it the preset's.")] = None,
    text_encoder: TextOption = None,
    audio_encoder: SpeechOption = None,
    allow_partial: PartialOption = False,
    force: ForceOption = False,
    cache: CacheOption = None,
    compute: ComputeOption = "auto",
    threads: ThreadsOption = 0,
    track: TrackOption = None,
) -> None:
    """A small grid over settings and seeds: chosen on validation, its budget in the table, the chosen one tested."""
    from train.comparison.sweep import SweepRequest, axis_of
    from train.comparison.sweep import sweep as swept
    from train.training.session import Session

    axes = tuple(map(axis_of, grid or ()))
    expect_folder("--out", out)
    session = Session.start(cache, compute, threads, track=track)
    preset = session.preset(config, epochs=epochs, text_encoder=text_encoder, audio_encoder=audio_encoder)
    wanted = SweepRequest(preset, system, manifest, out, axes, seeds, fold, allow_partial, force)
    print(swept(wanted, session, say), end="")


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
