"""From a configuration to its models, each found, checked against the checkpoint and in memory."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sadstream.audio.silero import SpeechGate
from sadstream.base.errors import UnavailableError
from sadstream.config import Config
from sadstream.scoring.analysis import text_part
from sadstream.scoring.fusion import checkpoint as checkpoints
from sadstream.scoring.fusion.header import Calibration, Header, WhisperStatesConfig
from sadstream.scoring.speakers.encoder import SpeakerEncoder
from sadstream.scoring.speakers.gate import SpeakerGate
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.recognizer import Whisper

if TYPE_CHECKING:
    from sadstream.scoring.fusion.network import Fusion

log = logging.getLogger("sadstream")

LANGUAGE_IDENTIFIER = "base"  # the smallest that knows languages and can be had
# Words that say nothing of how anybody feels: what a text part makes of them shows whether it was trained on words.
ORDINARY = (
    "I'll be there in a minute.",
    "The train leaves at nine.",
    "Could you pass me the salt?",
    "We painted the kitchen on Tuesday.",
)
NOTHING_LOGIT = 0.02  # half precision moves the part of no words by less
ABSURD_LOGIT = 8.0  # odds of 3,000 to 1


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """All that a configuration's scores are made with, on one device."""

    config: Config
    device: str  # cuda or cpu
    header: Header
    model_id: str  # first 12 hex digits of the checkpoint's SHA-256
    fusion: "Fusion"
    speech_gate: SpeechGate
    speaker_gate: SpeakerGate | None  # nobody is turned away
    speaker_encoder: SpeakerEncoder | None  # the fusion model asks nobody's voice
    text_encoder: TextEncoder | None  # words are off
    whisper: Whisper | None  # hears the words; none where they are off
    state_whisper: Whisper | None  # its encoder's states are what the fusion model hears; often the same
    language_identifier: Whisper | None  # none where words are off or no multilingual model is here

    @property
    def whisper_name(self) -> str:
        """Which model hears the words, or `off`."""
        return self.whisper.name if self.whisper else "off"


def load_models(config: Config) -> Models:
    """The models of a configuration; UnavailableError for one that is not here or does not fit the checkpoint."""
    import torch

    if config.compute.threads:
        torch.set_num_threads(config.compute.threads)
    device = compute_device(config.compute.device)
    loaded = checkpoints.load(checkpoints.named(config.model.checkpoint))
    fusion, model_id = loaded.fusion.to(device), loaded.sha256[:12]
    speech_gate, speaker_gate = SpeechGate(), SpeakerGate(config) if config.voice.only else None
    encoder = _text_encoder(config, loaded.header, device)
    if encoder is not None and (trouble := words_trouble(fusion, loaded.header.calibration, encoder)):
        log.warning(
            "checkpoint %s: %s; words are off, scores are of the sound alone. Fit and export it again, or set "
            "[text] encoder = 'off'",
            model_id,
            trouble,
        )
        encoder = None
    whisper = None if encoder is None else _whisper(config, device)
    return Models(
        config=config,
        device=device,
        header=loaded.header,
        model_id=model_id,
        fusion=fusion,
        speech_gate=speech_gate,
        speaker_gate=speaker_gate,
        speaker_encoder=_speaker_encoder(loaded.header),
        text_encoder=encoder,
        whisper=whisper,
        state_whisper=_state_whisper(loaded.header, whisper, device),
        language_identifier=_language_identifier(config, whisper, device),
    )


def expect_models(config: Config) -> None:
    """UnavailableError for a model that a configuration needs on a CPU and that is not here; nothing is loaded."""
    header = checkpoints.read_header(checkpoints.named(config.model.checkpoint))
    if header.text is not None and config.text.encoder != "off":
        locate(header.text.name if config.text.encoder == "auto" else config.text.encoder, "text")
        locate(whisper_model(config.whisper.model, "cpu"), "whisper")
    if isinstance(header.audio, WhisperStatesConfig):
        locate(header.audio.model, "whisper")
    if header.speaker is not None:
        locate(header.speaker.name, "speaker")


def compute_device(wanted: str) -> str:
    """`cuda` where it is there and not ruled out, else `cpu`; UnavailableError for a CUDA that is not there."""
    import torch

    if wanted == "remote":
        raise UnavailableError("compute: device = 'remote' is for `sadstream run`; use --compute auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("compute: device = 'cuda', but this torch finds none; use --compute auto or cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def settle(device: str) -> None:
    """Wait for what a GPU still computes: a clock that is read before would charge it to the next stage."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def whisper_model(wanted: str, device: str) -> str:
    """`auto` is tiny.en on a CPU and base with CUDA."""
    return {"cuda": "base", "cpu": "tiny.en"}[device] if wanted == "auto" else wanted


def words_trouble(fusion: "Fusion", calibration: Calibration, encoder: TextEncoder) -> str:
    """That the text part was trained on no words, or makes something absurd of ordinary ones; or nothing."""
    import torch

    if not fusion.config.is_additive:
        return ""  # it has no part of its own

    with torch.inference_mode():
        raw = fusion.text_out(encoder(["", *ORDINARY])).squeeze(1).tolist()
    nothing, *parts = (text_part(calibration, one) for one in raw)
    one_way = all(part > 1.0 for part in parts) or all(part < -1.0 for part in parts)
    mean = sum(parts) / len(parts)
    if abs(nothing) < NOTHING_LOGIT and one_way:  # the mean over its training words, taken out at export
        return "its text part was trained on empty words"
    return f"its text part gives {mean:+.1f} to ordinary words" if abs(mean) > ABSURD_LOGIT else ""


def _text_encoder(config: Config, header: Header, device: str) -> TextEncoder | None:
    wanted = header.text
    if wanted is None or config.text.encoder == "off":
        return None
    name = wanted.name if config.text.encoder == "auto" else config.text.encoder
    encoder = TextEncoder(locate(name, "text"), wanted, device)
    if encoder.dim != wanted.dim:
        raise UnavailableError(f"text.encoder: {name} gives {encoder.dim} numbers, the checkpoint reads {wanted.dim}")
    return encoder


def _speaker_encoder(header: Header) -> SpeakerEncoder | None:
    if (wanted := header.speaker) is None:
        return None
    encoder = SpeakerEncoder(locate(wanted.name, "speaker"))
    if encoder.identity != wanted.identity:
        known, found = wanted.identity[:12], encoder.identity[:12]
        raise UnavailableError(f"{wanted.name} {found}: the checkpoint was trained with {known}; use that one")
    return encoder


def _whisper(config: Config, device: str) -> Whisper:
    return Whisper(locate(whisper_model(config.whisper.model, device), "whisper"), device, config.whisper.language)


def _state_whisper(header: Header, whisper: Whisper | None, device: str) -> Whisper | None:
    """The one that hears the words, where it is the one whose states the checkpoint reads."""
    audio = header.audio
    if not isinstance(audio, WhisperStatesConfig):
        return None
    if whisper is not None and whisper.identity == audio.identity:
        return whisper
    return Whisper(locate(audio.model, "whisper"), device, "en")


def _language_identifier(config: Config, whisper: Whisper | None, device: str) -> Whisper | None:
    """The one that hears the words, where it knows languages, else the one that was asked for or can be had."""
    wanted = config.whisper.linguist
    if whisper is None or wanted == "off":
        return None
    if whisper.multilingual:
        return whisper
    try:
        found = Whisper(locate(LANGUAGE_IDENTIFIER if wanted == "auto" else wanted, "whisper"), device, "en")
    except UnavailableError:
        if wanted != "auto":
            raise
        return None
    if not found.multilingual:
        raise UnavailableError(f"whisper.linguist = {wanted!r}: hears English only; expected a multilingual model")
    found.keep_languages()
    return found
