"""A segment in, its sad score and where it came from out. One thread owns the models."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sadstream.audio.filters.level import at_level
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import SpeechGate, Unscored
from sadstream.base.errors import UnavailableError
from sadstream.base.odds import logit, sigmoid
from sadstream.config import Config
from sadstream.scoring.analysis import (
    UNHEARD,
    Analysis,
    Early,
    audio_part,
    is_sure_speech,
    text_part,
    threshold_in_force,
)
from sadstream.scoring.fusion import checkpoint as checkpoints
from sadstream.scoring.fusion.features import heard_frames, log_mel
from sadstream.scoring.fusion.header import WHISPER_DBFS, Header, WhisperStatesConfig
from sadstream.scoring.speakers.gate import People
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.store import locate
from sadstream.scoring.whisper.recognizer import Transcript, Whisper

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

log = logging.getLogger("sadstream")

LINGUIST = "base"  # the smallest that knows languages and can be had
# Words that say nothing of how anybody feels: what a text part makes of them shows whether it was trained on words.
ORDINARY = (
    "I'll be there in a minute.",
    "The train leaves at nine.",
    "Could you pass me the salt?",
    "We painted the kitchen on Tuesday.",
)
NOTHING_LOGIT = 0.02  # half precision moves the part of no words by less
ABSURD_LOGIT = 8.0  # odds of 3,000 to 1


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
        loaded = checkpoints.load(checkpoints.named(config.model.checkpoint))
        self.header: Header = loaded.header
        self.model_id = loaded.sha256[:12]
        self._prior_logit = logit(config.model.prior or self.header.prior)
        self._threshold = threshold_in_force(config, self.header)
        self._fusion = loaded.fusion.to(self.device)
        self._gate = SpeechGate()
        self._least_speech = config.gate.speech
        self._people = People(config) if config.voice.only else None
        self._text = self._text_encoder(config)
        self._whisper, self._state_whisper = self._whispers(config)
        self.whisper_name = self._whisper.name if self._whisper else "off"
        self._linguist = self._who_knows_languages(config)
        self._warm_up()

    def __call__(self, segment: Segment) -> Analysis | Unscored:
        """The score of a segment, its parts, and the milliseconds that each stage took; or that nobody spoke."""
        return self.many([segment])[0]

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | Unscored]:
        """As if each were analysed alone, in less time; a segment waits for its whole batch.

        early: is told which of them it is, and what its sound alone comes to, before the words are heard.
        """
        start = time.perf_counter()
        chances = [self._gate(segment.samples) for segment in segments]
        answers: list[Analysis | Unscored] = [Unscored(chance) for chance in chances]
        spoken = [number for number, chance in enumerate(chances) if chance >= self._least_speech]
        if self._people is not None:
            strangers = [number for number in spoken if not self._people.know(segments[number])]
            spoken = [number for number in spoken if number not in strangers]
            for number in strangers:
                answers[number] = Unscored(chances[number], stranger=True)
        if spoken:
            batch = _Batch([segments[n] for n in spoken], [chances[n] for n in spoken], start)
            say = None if early is None else (lambda n, analysis: early(spoken[n], analysis))
            for number, analysis in zip(spoken, self._score(batch, say), strict=True):
                answers[number] = analysis
        return answers

    def is_speech(self, segment: Segment) -> bool:
        """The segment would be scored."""
        return self._gate(segment.samples) >= self._least_speech

    def _score(self, batch: "_Batch", early: Early | None) -> list[Analysis]:
        import torch

        everyone = range(len(batch.segments))
        with torch.inference_mode():
            features, frames = self._features(batch.segments)
            if early is not None:
                parts = self._parts(features, frames, [], None, len(everyone))
                spent = (1000 * (time.perf_counter() - batch.start), 0.0, 0.0)
                for n in everyone:
                    early(n, replace(self._analysis(UNHEARD, batch.speech[n], parts[n], spent), provisional=True))
            transcripts = self._transcribe(batch)
            heard = time.perf_counter()
            kept = [n for n in everyone if transcripts[n].kept]
            embedding = self._text([transcripts[n].text for n in kept]) if self._text and kept else None
            embedded = time.perf_counter()
            parts = self._parts(features, frames, kept, embedding, len(everyone))
        spent = (heard - batch.start, embedded - heard, time.perf_counter() - embedded)
        milliseconds = (1000 * spent[0], 1000 * spent[1], 1000 * spent[2])
        return [self._analysis(transcripts[n], batch.speech[n], parts[n], milliseconds) for n in everyone]

    def _analysis(
        self, transcript: Transcript, speech: float, raw: "_Raw", spent_ms: tuple[float, float, float]
    ) -> Analysis:
        calibration = self.header.calibration
        audio = audio_part(calibration, raw.audio) if self.header.audio else 0.0
        if not is_sure_speech(speech, transcript):
            audio = min(audio, 0.0)  # what may be a dog, or babble that nobody says, is no evidence of sadness
        text = 0.0 if raw.text is None else text_part(calibration, raw.text)
        whisper_ms, text_ms, fusion_ms = spent_ms
        return Analysis(
            bias_logit=self._prior_logit,
            audio_logit=audio,
            text_logit=text,
            p_sad=sigmoid(self._prior_logit + audio + text),
            threshold=self._threshold,
            transcript=transcript,
            model=self.model_id,
            whisper_ms=whisper_ms,
            text_ms=text_ms,
            fusion_ms=fusion_ms,
            attention=raw.attention,
            speech=speech,
        )

    def _text_encoder(self, config: Config) -> TextEncoder | None:
        wanted = self.header.text
        if wanted is None or config.text.encoder == "off":
            return None
        name = wanted.name if config.text.encoder == "auto" else config.text.encoder
        encoder = TextEncoder(locate(name, "text"), wanted, self.device)
        if encoder.dim != wanted.dim:
            raise UnavailableError(
                f"text.encoder: {name} gives {encoder.dim} numbers, the checkpoint reads {wanted.dim}"
            )
        if trouble := self._words_trouble(encoder):
            log.warning(
                "checkpoint %s: %s; words are off, scores are of the sound alone. Fit and export it again, or set "
                "[text] encoder = 'off'",
                self.model_id,
                trouble,
            )
            return None
        return encoder

    def _words_trouble(self, encoder: TextEncoder) -> str:
        """That the text part was trained on no words, or makes something absurd of ordinary ones; or nothing."""
        import torch

        calibration = self.header.calibration
        with torch.inference_mode():
            raw = self._fusion.text_out(encoder(["", *ORDINARY])).squeeze(1).tolist()
        nothing, *parts = (text_part(calibration, one) for one in raw)
        one_way = all(part > 1.0 for part in parts) or all(part < -1.0 for part in parts)
        mean = sum(parts) / len(parts)
        if abs(nothing) < NOTHING_LOGIT and one_way:  # the mean over its training words, taken out at export
            return "its text part was trained on empty words"
        return f"its text part gives {mean:+.1f} to ordinary words" if abs(mean) > ABSURD_LOGIT else ""

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

    def _transcribe(self, batch: "_Batch") -> list[Transcript]:
        import torch

        if self._whisper is None:
            return [UNHEARD] * len(batch.segments)
        samples = torch.stack([torch.from_numpy(at_level(one.samples, WHISPER_DBFS)) for one in batch.segments])
        seconds = [one.t_end - one.t_start for one in batch.segments]
        return self._whisper.transcribe(samples, batch.speech, seconds, self._linguist)

    def _features(self, segments: Sequence[Segment]) -> "tuple[Tensor | None, Tensor | None]":
        """What the fusion model hears of each segment, and how many of its frames hold audio."""
        import torch

        config = self.header.audio
        if config is None:
            return None, None
        samples = torch.stack([torch.from_numpy(at_level(one.samples, config.level_dbfs)) for one in segments])
        if isinstance(config, WhisperStatesConfig):
            assert self._state_whisper is not None
            features = self._state_whisper.states(samples, config)
        else:
            features = log_mel(samples, config).to(self.device)
        if not self.header.masked:
            return features, None
        frames = [heard_frames(one.heard.size, config.n_frames) for one in segments]
        return features, torch.tensor(frames, device=self.device)

    def _parts(
        self, features: "Tensor | None", frames: "Tensor | None", kept: list[int], words: "Tensor | None", n: int
    ) -> "list[_Raw]":
        """The raw parts of n segments, of which those `kept` have `words`; audio may depend on them."""
        import torch

        raw = [_Raw(0.0, None, None)] * n
        with_words = kept if words is not None else []
        for rows, embedding in ((with_words, words), ([m for m in range(n) if m not in with_words], None)):
            if not rows or (features is None and embedding is None):
                continue
            at = torch.tensor(rows, device=self.device)
            parts = self._fusion.parts(
                None if features is None else features[at], embedding, None if frames is None else frames[at]
            )
            text = [None] * len(rows) if embedding is None else parts.text.tolist()
            for place, row in enumerate(rows):
                attention = None if parts.attention is None else parts.attention[place].float().cpu().numpy()
                raw[row] = _Raw(float(parts.audio[place]), text[place], attention)
        return raw

    def _warm_up(self) -> None:
        """Two dummy segments, so that the first real one is as quick as the rest; what loading took is given back."""
        import numpy as np
        import torch

        from sadstream.scoring.weights.packed import give_back

        noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * np.float32(0.01)
        dummy = Segment(number=0, samples=noise, t_start=0.0, t_end=3.0, voiced=1.0, arrived_s=0.0)
        for _ in range(2):
            self._score(_Batch([dummy], [self._gate(noise)], time.perf_counter()), None)
            if self._people is not None:
                self._people.know(dummy)
        if self._linguist is not None:
            with torch.inference_mode():
                self._linguist.languages(torch.from_numpy(noise).unsqueeze(0))
        give_back()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Segments in which somebody speaks, how likely that is, and when work on them began."""

    segments: Sequence[Segment]
    speech: Sequence[float]
    start: float


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """The fusion model's parts of one segment before calibration; `text` is None without words."""

    audio: float
    text: float | None
    attention: "NDArray[np.float32] | None"
