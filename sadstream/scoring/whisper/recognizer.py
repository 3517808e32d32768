"""Whisper: the words of a segment, and the states of its encoder. One thread owns a model at a time.

openai-whisper registers hooks on shared modules while it decodes, so two threads would corrupt each other.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sadstream.base.errors import UnavailableError
from sadstream.base.samples import SEGMENT_S
from sadstream.events import TextReason
from sadstream.scoring.fusion.header import WhisperStatesConfig
from sadstream.scoring.weights.openai_whisper import library
from sadstream.scoring.weights.store import load_tensors
from sadstream.scoring.whisper.decoder import (
    ENCODED_POSITIONS,
    OTHER_LANGUAGES_POSITIONS,
    CutEncoder,
    GreedyDecoder,
    convolved,
    log_mels,
)
from sadstream.scoring.whisper.trust import Evidence, Languages, judge

if TYPE_CHECKING:
    from torch import Tensor


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
    """A Whisper model by its folder, on one device: words in half precision with CUDA, else in float32.

    half: one of the two in spite of that; packed layers, which a CPU has, know float32 alone.
    """

    def __init__(self, directory: Path, device: str, language: str, half: bool | None = None) -> None:
        import torch

        from sadstream.scoring.weights.packed import Uninitialised, can_pack, pack

        openai_whisper = library()
        loaded = load_tensors(directory)
        self.name = loaded.installed.name
        self.identity = loaded.installed.identity
        try:
            dims = openai_whisper.model.ModelDimensions(**loaded.config)
            with Uninitialised():
                model = openai_whisper.model.Whisper(dims)
            tensors = {name: torch.from_numpy(array) for name, array in loaded.tensors.items()}
            model.load_state_dict(tensors, assign=True)
        except (TypeError, RuntimeError) as error:
            raise UnavailableError(f"{directory}: not a Whisper model: {str(error).splitlines()[0]}") from None
        if language != "en" and not model.is_multilingual:
            raise UnavailableError(
                f"{directory}: {self.name} hears English only and language = {language!r}; set [whisper] model = 'base'"
            )
        self._model: Any = model.to(device).eval().requires_grad_(False)
        pack(self._model)
        self._log_mel: Any = openai_whisper.log_mel_spectrogram
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # openai-whisper leaves its vocabulary file open
            self._tokenizer: Any = openai_whisper.tokenizer.get_tokenizer(
                model.is_multilingual, num_languages=model.num_languages, language=language, task="transcribe"
            )
        half = device == "cuda" if half is None else half
        self._cut_encoder = CutEncoder(
            self._model,
            self._log_mel,
            half=half,
            name=f"{self.identity} {device} {half} {can_pack()}",
            positions=ENCODED_POSITIONS if language == "en" else OTHER_LANGUAGES_POSITIONS,
        )
        self._decoder = GreedyDecoder(self._model, self._tokenizer)

    def transcribe(
        self,
        samples: "Tensor",
        speech: Sequence[float] | None = None,
        seconds: Sequence[float] | None = None,
        language_identifier: "Whisper | None" = None,
    ) -> list[Transcript]:
        """The words in each of (batch, 48000) float32 samples, greedy.

        speech: probability that somebody speaks in each; seconds: of audio in each, the rest is silence;
        language_identifier: a multilingual model to be asked in doubt.
        """
        evidence = self.evidence(samples, speech, seconds)
        doubtful = [n for n, one in enumerate(evidence) if one.text and not one.sure and not one.looped]
        if language_identifier is not None and doubtful:
            for n, languages in zip(doubtful, language_identifier.languages(samples[doubtful]), strict=True):
                evidence[n] = replace(evidence[n], languages=languages)
        return [Transcript(one.text, one.no_speech, one.avg_logprob, judge(one)) for one in evidence]

    def evidence(
        self, samples: "Tensor", speech: Sequence[float] | None = None, seconds: Sequence[float] | None = None
    ) -> list[Evidence]:
        """The words in each of (batch, 48000) samples and what speaks for them, but for the language."""
        states = self._cut_encoder(samples.to(self._model.device))
        everyone = zip(
            self._decoder(states, self._cut_encoder.silence()),
            speech or [1.0] * len(samples),
            seconds or [SEGMENT_S] * len(samples),
            strict=True,
        )
        return [
            Evidence(
                text=self._tokenizer.decode(list(heard.tokens)).strip(),
                looped=heard.looped,
                no_speech=heard.no_speech,
                avg_logprob=heard.avg_logprob,
                tokens=len(heard.tokens),
                seconds=length,
                speech=chance,
            )
            for heard, chance, length in everyone
        ]

    @property
    def multilingual(self) -> bool:
        """It can tell languages apart."""
        return bool(self._model.is_multilingual)

    def keep_languages(self) -> None:
        """From now on it is asked for languages alone, and holds no more of its vocabulary than that takes."""
        self._decoder.keep_tokens([self._tokenizer.sot, *self._tokenizer.all_language_tokens])

    def languages(self, samples: "Tensor") -> list[Languages]:
        """What each of (batch, 48000) samples may be spoken in, by the decoder's first step."""
        import torch

        states = self._cut_encoder(samples.to(self._model.device))
        known = list(self._tokenizer.all_language_tokens)
        own = known.index(self._tokenizer.language_token)
        p = self._decoder.after(self._tokenizer.sot, known, states, self._cut_encoder.silence()).softmax(1)
        others = torch.cat([p[:, :own], p[:, own + 1 :]], dim=1)
        columns = (p[:, own], others.max(1).values, torch.special.entr(p).sum(1))
        return [Languages(*row) for row in torch.stack(columns, dim=1).tolist()]

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
        dims = self._model.dims
        if max(config.layers) > dims.n_audio_layer:
            raise UnavailableError(
                f"checkpoint: reads layer {max(config.layers)} of {self.name}, which has {dims.n_audio_layer}"
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
