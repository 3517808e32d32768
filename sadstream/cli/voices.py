"""How one voice sounds: `sadstream calibrate` and `sadstream enroll`; numbers alone are kept."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sadstream.cli.options import ComputeOption, ConfigOption, ForceOption


def calibrate(
    source: Annotated[str, typer.Option(help="mic, a recording's path, or - for raw PCM.")] = "mic",
    seconds: Annotated[float, typer.Option(min=10.0, max=3600.0, help="Of speech to hear.")] = 120.0,
    out: Annotated[
        Path | None, typer.Option(help="File for the numbers; default where the daemon looks.", readable=False)
    ] = None,
    force: ForceOption = False,
    config: ConfigOption = None,
    compute: ComputeOption = None,
) -> None:
    """Learn how you sound when nothing is the matter: talk for a few minutes; only numbers are kept."""
    from sadstream.audio.hearing import SpeechProgress
    from sadstream.audio.sources.opening import open_source
    from sadstream.config.loading import configured
    from sadstream.scoring.mood.calibration import calibrate as hear
    from sadstream.scoring.mood.calibration import voice_path
    from sadstream.scoring.mood.voice import expect_place, write_voice

    settings = configured(
        config, {"stream": {"source": source}, "compute": {"device": compute.value if compute else None}}
    )
    path = voice_path(settings, out)
    expect_place(path, (Path(source), config), force)
    for said in hear(open_source(settings.stream[0], settings), settings, seconds):
        if isinstance(said, SpeechProgress):
            print(f"heard {said.speech_s:.0f} of {said.wanted_s:.0f} s of speech", file=sys.stderr, flush=True)
            continue
        write_voice(path, said)
        print(f"{path}: offset {said.offset_logit:+.2f} from {said.segments} segments, {said.speech_s:.0f} s of speech")


def enroll(
    name: Annotated[str, typer.Argument(help="Small letters, digits and hyphens.")],
    source: Annotated[str, typer.Option(help="mic, a recording's path, or - for raw PCM.")] = "mic",
    seconds: Annotated[float, typer.Option(min=10.0, max=600.0, help="Of speech to hear.")] = 20.0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the numbers; default where the daemon looks.", readable=False)
    ] = None,
    force: ForceOption = False,
    config: ConfigOption = None,
) -> None:
    """Learn one person's voice, so that `[voice] only` scores nobody else; only numbers are kept."""
    from sadstream.audio.hearing import SpeechProgress
    from sadstream.audio.sources.opening import open_source
    from sadstream.config.loading import configured
    from sadstream.scoring.speakers.enrolled import check_name, expect_place, write_enrolled
    from sadstream.scoring.speakers.enrolment import enroll as hear
    from sadstream.scoring.speakers.gate import speakers_folder

    check_name(name)
    settings = configured(config, {"stream": {"source": source}})
    folder = out or speakers_folder(settings)
    expect_place(folder, name, force)
    for said in hear(name, open_source(settings.stream[0], settings), settings, seconds):
        if isinstance(said, SpeechProgress):
            print(f"heard {said.speech_s:.0f} of {said.wanted_s:.0f} s of speech", file=sys.stderr, flush=True)
            continue
        path = write_enrolled(folder, said)
        print(f"{path}: {said.segments} segments, {said.speech_s:.0f} s of speech; [voice] only = [{name!r}] uses it")
