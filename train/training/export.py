"""A run of the strict protocol as the daemon's checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from sadstream import __version__
from sadstream.base.errors import DataError, UnavailableError, UsageError
from sadstream.base.odds import logit
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.header import (
    Calibration,
    Header,
    LogMelConfig,
    Metric,
    TextEncoderConfig,
    WhisperStatesConfig,
)
from sadstream.scoring.fusion.network import Fusion
from train.corpora.readers.formats.emobox import PREFIX as EMOBOX
from train.features.inputs import Inputs
from train.features.words import words_fixed
from train.metrics.paired import sad_figures
from train.metrics.predictions import read
from train.metrics.targets import figures_of
from train.metrics.targets import read as read_targets
from train.presets import RunConfig
from train.training.loop import EpochWeights
from train.training.run import Run
from train.training.selection import CAP, Selection

NOT_STATED = "not stated"
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

    return -logit(selection.prior)


@dataclass(frozen=True, slots=True)
class LicenceTerms:
    """Under which licence the weights are, and whether a business may use them; None: nobody said."""

    licence: str
    commercial_use: bool | None


def terms_of(corpus: str, licence: str | None, commercial_use: bool | None) -> LicenceTerms:
    """The terms of a known corpus, or those that the makers of an own one state; UsageError for the wrong one."""
    corpus = corpus.removeprefix(EMOBOX)
    if corpus in LICENCES:
        if licence is not None or commercial_use is not None:
            raise UsageError(f"--licence, --commercial-use: {corpus} has its own licence: {LICENCES[corpus]}")
        return LicenceTerms(LICENCES[corpus], corpus in COMMERCIAL)
    if licence is not None and not licence.strip():
        raise UsageError("--licence: empty: expected a licence's name, such as 'CC BY 4.0'")
    if licence is None and commercial_use is not None:
        raise UsageError("--commercial-use: expected --licence too, which says so")
    return LicenceTerms(licence or NOT_STATED, commercial_use)


def export(run: Run, inputs: Inputs, path: Path, licence: str | None = None, commercial: bool | None = None) -> str:
    """Write the checkpoint; returns its SHA-256. DataError for a run that the daemon could not repeat."""
    config = run.config
    terms = terms_of(inputs.rows[0].corpus, licence, commercial)
    _require_repeatable(run, config, inputs.audio_config)
    _require_words(run, inputs)
    selection = run.selection("strict")
    fusion = Fusion(inputs.fusion)
    EpochWeights(run.folder).load(selection.epoch, fusion)
    tuned = calibration(selection, float(fusion.bias.detach()))
    if not config.spec.text or config.spec.front_end == "none" or not inputs.fusion.is_additive:
        tuned = _single(tuned, config.spec.front_end != "none")
    header = Header(
        system=config.name,
        provisional=False,
        fusion=inputs.fusion,
        masked=config.spec.masked,
        audio=inputs.audio_config,
        text=inputs.text_config,
        speaker=inputs.speaker_config,
        calibration=tuned,
        heads=selection.heads,
        prior=selection.prior,
        threshold=selection.threshold,
        trained_on=(_trained_on(run, inputs),),
        metrics=_metrics(run, inputs),
        licence=terms.licence,
        commercial_use=terms.commercial_use,
        created_with=f"sadstream {__version__}",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return checkpoint.save(path, fusion, header)
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}; choose another --out") from None
    except ValueError as error:  # weights beyond the daemon's limit
        raise DataError(f"{error}; choose a smaller preset, such as thesis-small") from None


def _single(both: Calibration, hears: bool) -> Calibration:
    """With one branch alone, or with two that are no sum, all of bias and shift belong to one part."""
    whole = both.audio_shift + both.text_shift
    if hears:
        return both.model_copy(update={"audio_shift": whole, "text_shift": 0.0})
    return both.model_copy(update={"text_shift": whole, "audio_shift": 0.0})


def _require_repeatable(
    run: Run, config: RunConfig, audio: LogMelConfig | WhisperStatesConfig | TextEncoderConfig | None
) -> None:
    if not run.evaluated("strict"):
        raise DataError(f"{run.folder}: not evaluated under the strict protocol; run: sadstream-train evaluate")
    reasons = {
        "whole utterances": config.audio.view == "whole",
        f"states of {config.audio.encoder}, which the daemon does not compute": (
            config.spec.front_end == "states" and audio is None
        ),
        "words of earlier utterances": config.text.window_s is not None and config.spec.text,
    }
    for reason, applies in reasons.items():
        if applies:
            raise DataError(f"{run.folder}: reads {reason}: expected a run over 3-second segments")


def _require_words(run: Run, inputs: Inputs) -> None:
    """A text part that learned from the same few sentences says what it likes of any other words."""
    if inputs.texts and inputs.rows[0].corpus != "iemocap" and (trouble := words_fixed(inputs.rows, inputs.texts)):
        raise DataError(f"{run.folder}: its text part learned nothing: {trouble}; `sadstream-train fit` leaves it out")


def _trained_on(run: Run, inputs: Inputs) -> str:
    rows = [row for row in inputs.rows if row.split == "train"]
    speakers = len({row.speaker for row in rows})
    note = run.provenance.partial
    return f"{rows[0].corpus}: {len(rows)} utterances of {speakers} speakers{'. ' + note if note else ''}"


def _metrics(run: Run, inputs: Inputs) -> tuple[Metric, ...]:

    found = read(run.predictions_path("strict"), "test", inputs.rows)
    protocol = f"strict, fold {run.config.fold}"
    if (most := run.config.spec.segments) > 1:
        protocol += f", utterances of up to {most} segments; the daemon hears one"
    figures = sad_figures(found)
    if run.config.target != "sad":
        figures = figures | {
            f"{run.config.target}: {name}": one
            for name, one in figures_of(read_targets(run.targets_path, "test")).items()
        }
    return tuple(figure.metric(name, protocol) for name, figure in figures.items())
