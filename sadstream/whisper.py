"""Whisper: the words of a segment, and the states of its encoder. One thread owns a model at a time.

openai-whisper registers hooks on shared modules while it decodes, so two threads would corrupt each other.
"""

import math
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sadstream.audio import SAMPLE_RATE
from sadstream.errors import UnavailableError
from sadstream.events import TextReason
from sadstream.greedy import CutEncoder, GreedyDecoder, convolved, log_mels
from sadstream.header import WhisperStatesConfig
from sadstream.models import load_tensors

if TYPE_CHECKING:
    from torch import Tensor

NO_SPEECH = 0.6  # Whisper's own pair of limits: silence needs both
AVG_LOGPROB = -1.0
COMPRESSION_RATIO = 2.4
MAX_REPEATS = 3  # one sequence of words this often in a row is a loop; short loops barely compress


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard, how sure Whisper was, and whether the words may count."""

    text: str
    no_speech: float
    avg_logprob: float
    reason: TextReason  # none: the words count

    @property
    def kept(self) -> bool:
        """The words may reach the text branch."""
        return self.reason == "none"


class Whisper:
    """A Whisper model by its folder, on one device: half precision with CUDA, else float32."""

    def __init__(self, directory: Path, device: str, language: str) -> None:
        import torch
        import whisper as openai_whisper

        loaded = load_tensors(directory)
        self.name = loaded.installed.name
        self.identity = loaded.installed.identity
        try:
            dims = openai_whisper.model.ModelDimensions(**loaded.config)
            model = openai_whisper.model.Whisper(dims)
            model.load_state_dict({name: torch.from_numpy(array) for name, array in loaded.tensors.items()})
        except (TypeError, RuntimeError) as error:
            raise UnavailableError(f"{directory}: not a Whisper model: {str(error).splitlines()[0]}") from None
        if language != "en" and not model.is_multilingual:
            raise UnavailableError(
                f"{directory}: {self.name} hears English only and language = {language!r}; set [whisper] model = 'base'"
            )
        self._model: Any = model.to(device).eval().requires_grad_(False)
        self._log_mel: Any = openai_whisper.log_mel_spectrogram
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # openai-whisper leaves its vocabulary file open
            self._tokenizer: Any = openai_whisper.tokenizer.get_tokenizer(
                model.is_multilingual, num_languages=model.num_languages, language=language, task="transcribe"
            )
        self._cut_encoder = CutEncoder(self._model, self._log_mel, half=device == "cuda")
        self._decoder = GreedyDecoder(self._model, self._tokenizer)

    def transcribe(self, samples: "Tensor") -> Transcript:
        """The words in (48000,) float32 samples, greedy."""
        states = self._cut_encoder(samples.unsqueeze(0).to(self._model.device))
        (heard,) = self._decoder(states)
        text = self._tokenizer.decode(list(heard.tokens)).strip()
        reason = judge(text, heard.looped, heard.no_speech, heard.avg_logprob)
        return Transcript(text, heard.no_speech, heard.avg_logprob, reason)

    def states(self, samples: "Tensor", config: WhisperStatesConfig) -> "Tensor":
        """(batch, layers, frames, width) float32 encoder states of (batch, 48000) samples, as the header fixes them.

        A pass of their own over the 3 s, without padding to 30 s: states of a padded pass are other numbers.
        """
        import torch

        if config.identity != self.identity:
            raise UnavailableError(
                f"checkpoint: reads states of {config.model} {config.identity[:12]}, "
                f"found {self.name} {self.identity[:12]}; fetch it with: sadstream models fetch {config.model}"
            )
        encoder = self._model.encoder  # its weights are float32 on either device: Whisper casts them as it decodes
        x = convolved(encoder, log_mels(self._log_mel, samples.to(self._model.device), self._model.dims.n_mels))
        layers = [x]
        for block in encoder.blocks:
            layers.append(block(layers[-1]))
        picked = torch.stack([layers[layer] for layer in config.layers], dim=1)
        batch, n_layers, positions, width = picked.shape
        pooled: Tensor = picked.reshape(batch, n_layers, positions // config.pool, config.pool, width).mean(3)
        return pooled


def judge(text: str, looped: bool, no_speech: float, avg_logprob: float) -> TextReason:
    """Why these words must not count, or `none`. A number that is not one is a rejection."""
    if not (math.isfinite(no_speech) and math.isfinite(avg_logprob)):
        return "low-confidence"
    if not re.search(r"\w", text):
        return "silence"
    if no_speech > NO_SPEECH and avg_logprob < AVG_LOGPROB:
        return "silence"
    if looped or _compression_ratio(text) > COMPRESSION_RATIO or _repeats(text) > MAX_REPEATS:
        return "loop"
    if avg_logprob < AVG_LOGPROB:
        return "low-confidence"
    return "none"


def _compression_ratio(text: str) -> float:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def _repeats(text: str) -> int:
    """How often the most repeated run of one to four words stands in a row."""
    words = re.findall(r"[\w']+", text.lower())
    most = Counter[int]()
    for size in range(1, 5):
        run = 1
        for at in range(size, len(words) - size + 1, 1):
            run = run + 1 if _same(words, at, size) else 1
            most[size] = max(most[size], (run - 1) // size + 1)
    return max(most.values(), default=1)


def _same(words: Sequence[str], at: int, size: int) -> bool:
    return words[at] == words[at - size]


def samples_heard(t_start: float, t_end: float) -> int:
    """Samples of a segment that hold audio and not the zeros that fill it up."""
    return round((t_end - t_start) * SAMPLE_RATE)
