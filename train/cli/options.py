"""Options that several commands have, and what is said beside their answers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

CHECKPOINT = b"sadstream-checkpoint"  # stands at the start of each

PresetOption = Annotated[str, typer.Option("--preset", help="thesis, thesis-small, ... or a TOML file.")]
PartialOption = Annotated[
    bool, typer.Option("--allow-partial", help="Accept counts that are not the corpus's, and lines left out.")
]
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder for computed features.", readable=False)]
ThreadsOption = Annotated[int, typer.Option("--threads", min=0, help="Of PyTorch; 0: its own choice.")]
ComputeOption = Annotated[str, typer.Option("--compute", help="auto, cpu or cuda.")]
SpeechOption = Annotated[
    str | None,
    typer.Option("--audio-encoder", help="Whisper's name, a folder of one, or of an AutoModel speech encoder."),
]
TextOption = Annotated[str | None, typer.Option("--text-encoder", help="Name or folder; without it the preset's.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Also over a file that something else made.")]
ShareOption = Annotated[
    str | None, typer.Option("--share", metavar="I/N", help="The I-th of N parts, from 0; for job arrays.")
]
ClusterOption = Annotated[bool, typer.Option("--cluster", help="A task a run on the machines of a Ray cluster.")]
HeadOption = Annotated[str | None, typer.Option("--head", help="HOST[:PORT] of the cluster; default this machine's.")]
TokenOption = Annotated[Path | None, typer.Option("--token", help="File with the cluster's token.", readable=False)]
FoldsOption = Annotated[int, typer.Option("--folds", min=0, max=999, help="All N folds by speaker, N from 3.")]
TrackOption = Annotated[
    str | None, typer.Option("--track", help="Show the runs in tensorboard or mlflow; local, nothing is sent.")
]
TargetOption = Annotated[
    str, typer.Option("--target", help="sad; emotions or dimensions: learned beside sad, from the same features.")
]
ClassesOption = Annotated[
    str | None,
    typer.Option("--classes", help="Which labels are which emotions: all, or such as angry=ang,happy=hap+exc,sad=sad."),
]
SEED = typer.Option(min=0, help="Of weights, order and oversampling.")
DataOption = Annotated[Path, typer.Option("--data", help="Folder with speech/, english/ and noise/.", readable=False)]


def say(line: str) -> None:
    """Something that a person should know, on standard error; nothing if it is empty."""
    if line:
        print(f"sadstream-train: {line}", file=sys.stderr, flush=True)
