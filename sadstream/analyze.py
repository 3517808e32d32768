"""A segment in, its sad score and where it came from out. One thread owns the models."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sadstream import checkpoint as checkpoints
from sadstream.config import Config
from sadstream.errors import UnavailableError
from sadstream.events import TextReason
from sadstream.features import at_level, heard_frames, log_mel
from sadstream.gate import SURE_SPEECH
from sadstream.header import Calibration, Header, WhisperStatesConfig
from sadstream.models import locate
from sadstream.segment import Segment
from sadstream.speech import NotSpeech, SpeechGate
from sadstream.text import TextEncoder
from sadstream.whisper import Transcript, Whisper, samples_heard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

LINGUIST = "base"  # the smallest that knows languages and can be had
LEVEL_DBFS = -20.0  # what Whisper is given; its own log-Mel keeps absolute level


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What is known of a segment after the models: calibrated logit parts, words, and the time each took."""

    bias_logit: float
    audio_logit: float
    text_logit: float
    p_sad: float
    threshold: float
    transcript: Transcript
    model: str  # first 12 hex digits of the checkpoint's SHA-256
    whisper_ms: float
    text_ms: float
    fusion_ms: float
    attention: "NDArray[np.float32] | None"  # (frames,) over the segment's feature frames
    speech: float = 1.0  # probability that anybody speaks
    offset_logit: float = 0.0  # the voice's own, once it is known
    mood: float | None = None  # probability of a sad stretch, once there is a before
    uncertain: bool | None = None

    @property
    def sure_speech(self) -> bool:
        """More likely than not that somebody speaks."""
        return self.speech >= SURE_SPEECH

    @property
    def sad(self) -> bool:
        """The decision at the threshold in force."""
        return self.p_sad >= self.threshold


def compute_device(wanted: str) -> str:
    """`cuda` where it is there and not ruled out, else `cpu`; UnavailableError for a CUDA that is not there."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("compute: device = 'cuda', but this torch finds none; use --compute auto or cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def whisper_model(wanted: str, device: str) -> str:
    """`auto` is tiny.en on a CPU and base with CUDA."""
    return {"cuda": "base", "cpu": "tiny.en"}[device] if wanted == "auto" else wanted


class Analyzer:
    """Whisper, the text encoder and the fusion model, loaded once and warm."""

    def __init__(self, config: Config) -> None:
        import torch

        if config.compute.threads:
            torch.set_num_threads(config.compute.threads)
        self.device = compute_device(config.compute.device)
        path = checkpoints.default_path()
        if config.model.checkpoint != "default":
            path = Path(config.model.checkpoint).expanduser()
        loaded = checkpoints.load(path)
        self.header: Header = loaded.header
        self.model_id = loaded.sha256[:12]
        self._prior_logit = _logit(config.model.prior or self.header.prior)
        self._threshold = _threshold(config, self.header)
        self._fusion = loaded.fusion.to(self.device)
        self._gate = SpeechGate()
        self._least_speech = config.gate.speech
        self._text = self._text_encoder(config)
        self._whisper, self._state_whisper = self._whispers(config)
        self.whisper_name = self._whisper.name if self._whisper else "off"
        self._linguist = self._who_knows_languages(config)
        self._warm_up()

    def __call__(self, segment: Segment) -> Analysis | NotSpeech:
        """The score of a segment, its parts, and the milliseconds that each stage took; or that nobody spoke."""
        start = time.perf_counter()
        speech = self._gate(segment.samples)
        return NotSpeech(speech) if speech < self._least_speech else self._score(segment, speech, start)

    def is_speech(self, segment: Segment) -> bool:
        """The segment would be scored."""
        return self._gate(segment.samples) >= self._least_speech

    def _score(self, segment: Segment, speech: float, start: float) -> Analysis:
        import torch

        with torch.inference_mode():
            transcript = self._transcribe(segment, speech)
            heard = time.perf_counter()
            embedding = self._text([transcript.text]) if self._text and transcript.kept else None
            embedded = time.perf_counter()
            raw_audio, raw_text, attention = self._parts(segment, embedding)
            calibration = self.header.calibration
            audio = audio_part(calibration, raw_audio) if self.header.audio else 0.0
            if speech < SURE_SPEECH:
                audio = min(audio, 0.0)  # what may be a dog is no evidence of sadness
            text = 0.0 if embedding is None else text_part(calibration, raw_text)
        logit = self._prior_logit + audio + text
        return Analysis(
            bias_logit=self._prior_logit,
            audio_logit=audio,
            text_logit=text,
            p_sad=1.0 / (1.0 + math.exp(-logit)),
            threshold=self._threshold,
            transcript=transcript,
            model=self.model_id,
            whisper_ms=1000 * (heard - start),
            text_ms=1000 * (embedded - heard),
            fusion_ms=1000 * (time.perf_counter() - embedded),
            attention=attention,
            speech=speech,
        )

    def _text_encoder(self, config: Config) -> TextEncoder | None:
        wanted = self.header.text
        if wanted is None or config.text.encoder == "off":
            return None
        name = wanted.name if config.text.encoder == "auto" else config.text.encoder
        return TextEncoder(locate(name, "text"), wanted, self.device)

    def _whispers(self, config: Config) -> tuple[Whisper | None, Whisper | None]:
        """The model that hears words (None when words are off) and the one whose states are read; often the same."""
        words = None
        if self._text is not None:
            directory = locate(whisper_model(config.whisper.model, self.device), "whisper")
            words = Whisper(directory, self.device, config.whisper.language)
        audio = self.header.audio
        if not isinstance(audio, WhisperStatesConfig):
            return words, None
        if words is not None and words.identity == audio.identity:
            return words, words
        return words, Whisper(locate(audio.model, "whisper"), self.device, "en")

    def _who_knows_languages(self, config: Config) -> Whisper | None:
        """Whom to ask which language is spoken; nobody where words are off or no multilingual model is here."""
        wanted = config.whisper.linguist
        if self._whisper is None or wanted == "off":
            return None
        if self._whisper.multilingual:
            return self._whisper
        try:
            linguist = Whisper(locate(LINGUIST if wanted == "auto" else wanted, "whisper"), self.device, "en")
        except UnavailableError:
            if wanted != "auto":
                raise
            return None
        if not linguist.multilingual:
            raise UnavailableError(f"whisper.linguist = {wanted!r}: hears English only; expected a multilingual model")
        return linguist

    def _transcribe(self, segment: Segment, speech: float) -> Transcript:
        import torch

        if self._whisper is None:
            reason: TextReason = "off"
            return Transcript("", 0.0, 0.0, reason)
        return self._whisper.transcribe(torch.from_numpy(at_level(segment.samples, LEVEL_DBFS)), speech, self._linguist)

    def _parts(self, segment: Segment, embedding: "Tensor | None") -> "tuple[float, float, NDArray[np.float32] | None]":
        import torch

        config = self.header.audio
        features = heard = None
        if config is not None:
            samples = torch.from_numpy(at_level(segment.samples, config.level_dbfs)).unsqueeze(0)
            if isinstance(config, WhisperStatesConfig):
                assert self._state_whisper is not None
                features = self._state_whisper.states(samples, config)
            else:
                features = log_mel(samples, config).to(self.device)
            if self.header.masked:
                frames = heard_frames(samples_heard(segment.t_start, segment.t_end), config.n_frames)
                heard = torch.tensor([frames], device=self.device)
        elif embedding is None:
            return 0.0, 0.0, None
        parts = self._fusion.parts(features, embedding, heard)
        attention = None if parts.attention is None else parts.attention[0].float().cpu().numpy()
        return float(parts.audio[0]), float(parts.text[0]), attention

    def _warm_up(self) -> None:
        """Two dummy segments, so that the first real one is as quick as the rest."""
        import numpy as np

        noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * np.float32(0.01)
        for number in range(2):
            dummy = Segment(number=number, samples=noise, t_start=0.0, t_end=3.0, voiced=1.0, arrived_s=0.0)
            self._score(dummy, self._gate(noise), time.perf_counter())


def audio_part(calibration: Calibration, raw: float) -> float:
    """The audio log-likelihood ratio in a raw audio part."""
    return _clip(calibration.audio_scale * raw + calibration.audio_shift, calibration.audio_cap)


def text_part(calibration: Calibration, raw: float) -> float:
    """The text log-likelihood ratio in a raw text part."""
    return _clip(calibration.text_scale * raw + calibration.text_shift, calibration.text_cap)


def _clip(value: float, cap: float) -> float:
    if not math.isfinite(value):
        raise ArithmeticError("the fusion model gave a part that is not a number")
    return max(-cap, min(cap, value))


def _threshold(config: Config, header: Header) -> float:
    """The threshold in force; the header's moves with a changed prior, so that it means the same evidence."""
    if config.model.threshold is not None:
        return config.model.threshold
    if config.model.prior is None:
        return header.threshold
    moved = _logit(header.threshold) - _logit(header.prior) + _logit(config.model.prior)
    return 1.0 / (1.0 + math.exp(-moved))


def _logit(p: float) -> float:
    return math.log(p / (1.0 - p))
