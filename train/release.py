"""A run of the strict protocol as the daemon's checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING

from sadstream import __version__, checkpoint
from sadstream.errors import DataError
from sadstream.header import Calibration, Header, LogMelConfig, Metric, TextEncoderConfig, WhisperStatesConfig
from train.config import RunConfig
from train.run import Run
from train.selection import CAP, Selection
from train.statistics import sad_figures

if TYPE_CHECKING:
    from train.inputs import Inputs

LICENCES = {
    "iemocap": "none of its own; made from IEMOCAP, whose licence binds its use",
    "ravdess": "CC BY-NC-SA 4.0",
    "nemo": "CC BY-NC-SA 4.0",
    "cremad": "ODbL 1.0",
    "meld-text": "GPL-3.0",
    "goemotions": "CC BY 4.0",
}
COMMERCIAL = frozenset({"cremad", "goemotions"})


def calibration(selection: Selection, bias: float) -> Calibration:
    """Both parts on the calibrated scale; the text part is 0 on average, so no words count as average words.

    scale * (bias + audio + text) + shift is what the run calibrated; bias, shift and the text's mean go to the
    part that is always there.
    """
    line = selection.calibration
    scale, shift = (line.scale, line.shift) if line else (1.0, _raw_shift(selection))
    centre = scale * selection.text_mean
    return Calibration(
        audio_scale=scale,
        audio_shift=scale * bias + shift + centre,
        audio_cap=CAP,
        text_scale=scale,
        text_shift=-centre,
        text_cap=CAP,
    )


def _raw_shift(selection: Selection) -> float:
    import math

    return -math.log(selection.prior / (1.0 - selection.prior))


def export(run: Run, inputs: "Inputs", path: Path) -> str:
    """Write the checkpoint; returns its SHA-256. DataError for a run that the daemon could not repeat."""
    from sadstream.model import Fusion
    from train.loop import Weights

    config = run.config
    _require_repeatable(run, config, inputs.audio_config)
    selection = run.selection("strict")
    fusion = Fusion(inputs.fusion)
    Weights(run.folder).load(selection.epoch, fusion)
    tuned = calibration(selection, float(fusion.bias.detach()))
    if not config.spec.text or config.spec.front_end == "none":
        tuned = _single(tuned, config)
    header = Header(
        system=config.name,
        provisional=False,
        fusion=inputs.fusion,
        masked=config.spec.masked,
        audio=inputs.audio_config,
        text=inputs.text_config,
        calibration=tuned,
        prior=selection.prior,
        threshold=selection.threshold,
        trained_on=(_trained_on(run, inputs),),
        metrics=_metrics(run, inputs),
        licence=LICENCES.get(inputs.rows[0].corpus, "unknown; that of the corpus it was trained on"),
        commercial_use=inputs.rows[0].corpus in COMMERCIAL,
        created_with=f"sadstream {__version__}",
    )
    return checkpoint.save(path, fusion, header)


def _single(both: Calibration, config: RunConfig) -> Calibration:
    """With one branch alone, all of bias and shift belong to it."""
    whole = both.audio_shift + both.text_shift
    if config.spec.text:
        return both.model_copy(update={"text_shift": whole, "audio_shift": 0.0})
    return both.model_copy(update={"audio_shift": whole, "text_shift": 0.0})


def _require_repeatable(
    run: Run, config: RunConfig, audio: "LogMelConfig | WhisperStatesConfig | TextEncoderConfig | None"
) -> None:
    if not run.evaluated("strict"):
        raise DataError(f"{run.folder}: not evaluated under the strict protocol; run: sadstream-train evaluate")
    reasons = {
        "whole utterances": config.audio.view == "whole",
        f"states of {config.audio.encoder}, which the daemon does not compute": (
            config.spec.front_end == "states" and audio is None
        ),
        "cross-attention, whose parts do not add up": config.spec.pooling == "cross-attention",
        "words of earlier utterances": config.text.window_s is not None and config.spec.text,
    }
    for reason, applies in reasons.items():
        if applies:
            raise DataError(f"{run.folder}: reads {reason}: expected a run over 3-second segments")


def _trained_on(run: Run, inputs: "Inputs") -> str:
    rows = [row for row in inputs.rows if row.split == "train"]
    speakers = len({row.speaker for row in rows})
    note = run.provenance.partial
    return f"{rows[0].corpus}: {len(rows)} utterances of {speakers} speakers{'. ' + note if note else ''}"


def _metrics(run: Run, inputs: "Inputs") -> tuple[Metric, ...]:
    from train.predictions import read

    found = read(run.predictions_path("strict"), "test", inputs.rows)
    return tuple(figure.metric(name, f"strict, fold {run.config.fold}") for name, figure in sad_figures(found).items())
