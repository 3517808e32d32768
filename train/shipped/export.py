"""The daemon's checkpoint from its two parts: one state dict, one header, one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sadstream import __version__
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.header import (
    Calibration,
    FusionConfig,
    Header,
    Metric,
    TextEncoderConfig,
    WhisperStatesConfig,
)
from sadstream.scoring.fusion.network import Fusion
from train.metrics.calibration import PlattScaling

SYSTEM = "whisper-attention"


@dataclass(frozen=True, slots=True)
class CorpusTerms:
    """Whose recordings or lines weights were fitted to, under which licence, and whether that allows a business."""

    attribution: str
    licence: str
    commercial_use: bool


TERMS = {
    "ravdess": CorpusTerms(
        "RAVDESS (Livingstone and Russo 2018), actors 01-15, CC BY-NC-SA 4.0", "CC BY-NC-SA 4.0", False
    ),
    "nemo": CorpusTerms("nEMO (Christop 2024), 7 of 9 speakers, CC BY-NC-SA 4.0", "CC BY-NC-SA 4.0", False),
    "cremad": CorpusTerms(
        "CREMA-D (Cao et al. 2014), 64 of 91 actors, rebuilt from log-Mel pictures, ODbL 1.0 and DbCL 1.0",
        "ODbL 1.0 and DbCL 1.0",
        True,
    ),
    "goemotions": CorpusTerms("GoEmotions (Demszky et al. 2020), train, CC BY 4.0", "CC BY 4.0", True),
    "meld": CorpusTerms("MELD (Poria et al. 2019), train, text, GPL-3.0", "GPL-3.0", False),
}


@dataclass(frozen=True, slots=True, eq=False)
class AudioPart:
    """The trained audio part, whose states it reads, and its calibration."""

    fusion: Fusion
    audio: WhisperStatesConfig
    scaling: PlattScaling


@dataclass(frozen=True, slots=True, eq=False)
class TextPart:
    """The trained weights on a text embedding, whose it is, and their calibration."""

    weights: NDArray[np.float64]
    encoder: TextEncoderConfig
    scaling: PlattScaling


@dataclass(frozen=True, slots=True)
class HeaderTerms:
    """What is decided and measured, not trained."""

    prior: float
    threshold: float
    metrics: tuple[Metric, ...]
    provisional: bool
    corpora: Sequence[str]  # of TERMS


def joined(voice: AudioPart, text: TextPart) -> Fusion:
    """One fusion model that holds both parts; each part's logit is what it was alone."""
    config: FusionConfig = voice.fusion.config.model_copy(update={"text_dim": text.encoder.dim, "dropout": 0.0})
    fusion = Fusion(config)
    tensors = dict(voice.fusion.state_dict())
    tensors["text_out.weight"] = torch.from_numpy(text.weights).float().unsqueeze(0)
    fusion.load_state_dict(tensors)
    return fusion.eval()


def header(voice: AudioPart, text: TextPart, terms: HeaderTerms) -> Header:
    """What the file says of itself."""
    licence, allowed, sources = licensed(terms.corpora)
    return Header(
        system=SYSTEM,
        provisional=terms.provisional,
        fusion=joined(voice, text).config,
        masked=True,
        audio=voice.audio,
        text=text.encoder,
        calibration=Calibration(
            audio_scale=voice.scaling.scale,
            audio_shift=voice.scaling.shift,
            audio_cap=voice.scaling.cap,
            text_scale=text.scaling.scale,
            text_shift=text.scaling.shift,
            text_cap=text.scaling.cap,
        ),
        prior=terms.prior,
        threshold=terms.threshold,
        trained_on=tuple(sources),
        metrics=terms.metrics,
        licence=licence,
        commercial_use=allowed,
        created_with=f"sadstream {__version__}",
    )


def licensed(corpora: Sequence[str]) -> tuple[str, bool | None, list[str]]:
    """Licence, whether it allows commercial use, and sources of weights from these corpora.

    One that forbids it forbids it to the whole, and CC BY-NC-SA asks for itself; of a corpus without TERMS nobody said.
    """
    known = [TERMS[name] for name in corpora if name in TERMS]
    sources = [TERMS[name].attribution if name in TERMS else f"{name}, licence not known" for name in corpora]
    if any(not terms.commercial_use for terms in known):
        return "CC BY-NC-SA 4.0", False, sources
    if len(known) < len(corpora):
        return "not known", None, sources
    return ", ".join(dict.fromkeys(terms.licence for terms in known)), True, sources


def write(path: Path, voice: AudioPart, text: TextPart, terms: HeaderTerms) -> str:
    """Write the checkpoint whole or not at all; returns its SHA-256."""
    return checkpoint.save(path, joined(voice, text), header(voice, text, terms))
