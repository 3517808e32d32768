"""A segment in, its sad score and where it came from out. One thread owns the models."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sadstream.audio.filters.level import at_level
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.base.odds import sigmoid
from sadstream.scoring.analysis import (
    UNHEARD,
    Analysis,
    Early,
    heard_audio_part,
    is_sure_speech,
    prior_logit_in_force,
    text_part,
    threshold_in_force,
    uncapped_part,
)
from sadstream.scoring.analyzer.models import Models, settle
from sadstream.scoring.fusion.features import heard_frames, log_mel
from sadstream.scoring.fusion.header import WHISPER_DBFS, Heads, WhisperStatesConfig
from sadstream.scoring.whisper.recognizer import Transcript

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Analyzer:
    """Segments in, analyses out, of models that are warm once this is made."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._least_speech = models.config.gate.speech
        self._prior_logit = prior_logit_in_force(models.config, models.header)
        self._threshold = threshold_in_force(models.config, models.header)
        self._warm_up()

    def __call__(self, segment: Segment) -> Analysis | UnscoredSegment:
        """The score of a segment, its parts, and the milliseconds that each stage took; or that nobody spoke."""
        return self.many([segment])[0]

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | UnscoredSegment]:
        """As if each were analysed alone, in less time; a segment waits for its whole batch.

        early: is told which of them it is, and what its sound alone comes to, before the words are heard.
        """
        start = time.perf_counter()
        speech = [self.models.speech_gate(segment.samples) for segment in segments]
        answers: list[Analysis | UnscoredSegment] = [UnscoredSegment(chance) for chance in speech]
        spoken = [n for n, chance in enumerate(speech) if chance >= self._least_speech]
        names = dict.fromkeys(spoken, "")
        if (people := self.models.speaker_gate) is not None:
            found = {n: people.who(segments[n]) for n in spoken}
            for n in (n for n in spoken if found[n] is None):
                answers[n] = UnscoredSegment(speech[n], stranger=True)
            names = {n: name for n, name in found.items() if name is not None}
            spoken = list(names)
        if spoken:
            batch = _Batch([segments[n] for n in spoken], [speech[n] for n in spoken], start)
            for n, analysis in zip(spoken, self._score(batch, _named(early, spoken, names)), strict=True):
                answers[n] = replace(analysis, person=names[n])
        return answers

    def is_speech(self, segment: Segment) -> bool:
        """The segment would be scored."""
        return self.models.speech_gate(segment.samples) >= self._least_speech

    def _score(self, batch: "_Batch", early: Early | None) -> list[Analysis]:
        import torch

        everyone = range(len(batch.segments))
        with torch.inference_mode():
            sound = self._sound(batch.segments)
            if early is not None:
                parts = self._fused(sound, everyone, None)
                spent = (1000 * (time.perf_counter() - batch.start), 0.0, 0.0)
                for n in everyone:
                    early(n, replace(self._analysis(UNHEARD, batch.speech[n], parts[n], spent), provisional=True))
            transcripts = self._transcribe(batch)
            heard = time.perf_counter()
            kept = [n for n in everyone if transcripts[n].kept]
            encoder = self.models.text_encoder
            embedding = encoder([transcripts[n].text for n in kept]) if encoder is not None and kept else None
            settle(self.models.device)
            embedded = time.perf_counter()
            parts = self._fused(sound, [n for n in everyone if n not in kept], None)
            if embedding is not None:
                parts |= self._fused(sound, kept, embedding)
        spent = (1000 * (heard - batch.start), 1000 * (embedded - heard), 1000 * (time.perf_counter() - embedded))
        return [self._analysis(transcripts[n], batch.speech[n], parts[n], spent) for n in everyone]

    def _sound(self, segments: Sequence[Segment]) -> "_AudioFeatures":
        import torch

        config = self.models.header.audio
        if config is None:
            return _AudioFeatures(None, None, None)
        samples = torch.stack([torch.from_numpy(at_level(one.samples, config.level_dbfs)) for one in segments])
        if isinstance(config, WhisperStatesConfig):
            assert self.models.state_whisper is not None
            features = self.models.state_whisper.states(samples, config)
        else:
            features = log_mel(samples, config).to(self.models.device)
        voices = None
        if (encoder := self.models.speaker_encoder) is not None:
            embedded = [torch.from_numpy(encoder(one.heard)) for one in segments]
            voices = torch.stack(embedded).to(self.models.device)
        if not self.models.header.masked:
            return _AudioFeatures(features, None, voices)
        frames = [heard_frames(one.heard.size, config.n_frames) for one in segments]
        return _AudioFeatures(features, torch.tensor(frames, device=self.models.device), voices)

    def _transcribe(self, batch: "_Batch") -> list[Transcript]:
        import torch

        if self.models.whisper is None:
            return [UNHEARD] * len(batch.segments)
        samples = torch.stack([torch.from_numpy(at_level(one.samples, WHISPER_DBFS)) for one in batch.segments])
        seconds = [one.t_end - one.t_start for one in batch.segments]
        return self.models.whisper.transcribe(samples, batch.speech, seconds, self.models.language_identifier)

    def _fused(self, sound: "_AudioFeatures", rows: Sequence[int], embedding: "Tensor | None") -> "dict[int, _Raw]":
        """The raw parts of some of a batch, by their place in it: of all these with words, or of none."""
        import torch

        if not rows or (sound.features is None and embedding is None):
            return dict.fromkeys(rows, _Raw(0.0, None, None, ()))
        at = torch.tensor(rows, device=self.models.device)
        parts = self.models.fusion.parts(
            None if sound.features is None else sound.features[at],
            embedding,
            None if sound.frames is None else sound.frames[at],
            None if sound.voices is None else sound.voices[at],
        )
        audio = parts.audio.tolist()  # at once: each number by itself would wait for the GPU anew
        text = [None] * len(rows) if embedding is None else parts.text.tolist()
        attention = [None] * len(rows) if parts.attention is None else parts.attention.float().cpu().numpy()
        beside = [()] * len(rows) if parts.beside is None else parts.beside.float().tolist()
        return {n: _Raw(audio[k], text[k], attention[k], tuple(beside[k])) for k, n in enumerate(rows)}

    def _analysis(
        self, transcript: Transcript, speech: float, raw: "_Raw", spent_ms: tuple[float, float, float]
    ) -> Analysis:
        header = self.models.header
        audio = heard_audio_part(header, raw.audio, is_sure_speech(speech, transcript))
        text = 0.0 if raw.text is None else text_part(header.calibration, raw.text)
        whisper_ms, text_ms, fusion_ms = spent_ms
        # Of what may be a dog nobody says how it feels.
        told = header.heads if raw.beside and is_sure_speech(speech, transcript) else Heads()
        return Analysis(
            bias_logit=self._prior_logit,
            audio_logit=audio,
            text_logit=text,
            p_sad=sigmoid(self._prior_logit + audio + text),
            threshold=self._threshold,
            transcript=transcript,
            model=self.models.model_id,
            whisper_ms=whisper_ms,
            text_ms=text_ms,
            fusion_ms=fusion_ms,
            attention=raw.attention,
            speech=speech,
            is_additive=header.fusion.is_additive,
            uncapped_logit=uncapped_part(header.calibration, raw.audio) if header.audio else 0.0,
            emotions=told.shares(raw.beside),
            valence=told.level("valence", raw.beside),
            arousal=told.level("arousal", raw.beside),
        )

    def _warm_up(self) -> None:
        """Each model hears one dummy segment, so that the first real one is as quick as the rest.

        A second one changed nothing: 0.38 s of processor for the first real segment either way. What loading took is
        given back.
        """
        import numpy as np
        import torch

        from sadstream.scoring.weights.packed import give_back

        noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * np.float32(0.01)
        dummy = Segment(number=0, samples=noise, t_start=0.0, t_end=3.0, voiced=1.0, arrived_s=0.0)
        samples = torch.from_numpy(noise).unsqueeze(0)
        self.models.speech_gate(noise)
        if self.models.speaker_gate is not None:
            self.models.speaker_gate.who(dummy)
        with torch.inference_mode():
            self._fused(self._sound([dummy]), [0], None)
            if self.models.whisper is not None:
                self.models.whisper.evidence(samples)
            if self.models.language_identifier is not None:
                self.models.language_identifier.languages(samples)
        give_back()


def _named(early: Early | None, spoken: Sequence[int], names: Mapping[int, str]) -> Early | None:
    """`early` by the places in the whole batch, with who speaks."""
    if early is None:
        return None
    return lambda n, analysis: early(spoken[n], replace(analysis, person=names[spoken[n]]))


@dataclass(frozen=True, slots=True)
class _Batch:
    """Segments in which somebody speaks, how likely that is, and when work on them began."""

    segments: Sequence[Segment]
    speech: Sequence[float]
    start: float


@dataclass(frozen=True, slots=True, eq=False)
class _AudioFeatures:
    """What the fusion model hears of each segment, how many of its frames hold audio, and whose voice it is."""

    features: "Tensor | None"
    frames: "Tensor | None"
    voices: "Tensor | None"


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """The fusion model's parts of one segment before calibration; `text` is None without words."""

    audio: float
    text: float | None
    attention: "NDArray[np.float32] | None"
    beside: tuple[float, ...]  # of the heads beside sad
