"""`sadstream-train open`, `days`, `gates`, `trust`: the checkpoints that ship, and every figure of theirs."""

from pathlib import Path
from typing import Annotated

import typer

from sadstream.base.errors import UsageError
from sadstream.base.files import expect_folder, expect_place, make_folder
from train.cli.options import (
    CHECKPOINT,
    SEED,
    CacheOption,
    ClusterOption,
    DataOption,
    ForceOption,
    HeadOption,
    PresetOption,
    ShareOption,
    TextOption,
    TokenOption,
    say,
)


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


def emotions(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The checkpoint to write; its card goes beside it.", readable=False)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Which gets the head; default the one that ships.", readable=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Its recipe; without it configs/open.toml.", readable=False)
    ] = None,
    strength: Annotated[float, typer.Option(min=1e-8, help="Inverse regularisation.")] = 1e-3,
    force: ForceOption = False,
    cache: CacheOption = None,
) -> None:
    """Give a checkpoint a head of emotions beside sad, which stays as it was; prints every figure of it."""
    from sadstream.scoring.fusion.checkpoint import default_path
    from train.evaluation.emotions import EmotionsConfig, add_emotions
    from train.features.cache import default_folder
    from train.presets import presets_folder
    from train.shipped.config import read_config

    make_folder("--out", out.parent)
    expect_place("--out", out, mark=CHECKPOINT, reads=(config,), force=force)
    recipe = read_config(config or presets_folder() / "open.toml")
    asked = EmotionsConfig(strength=strength)
    print(add_emotions(data, checkpoint or default_path(), out, recipe, asked, cache or default_folder()), end="")


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


def trust(
    data: DataOption,
    scale: Annotated[float, typer.Option(min=0.01, max=10.0, help="1: 1,500 Polish clips and all others.")] = 1.0,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """Fit the weights by which the daemon trusts words, and measure them on recordings that they were not fitted to."""
    from train.evaluation import measure as evaluation

    print(evaluation.trust(data, scale, seed))
