"""What a run's model reads, in memory: features of every row, its words' embedding, its label."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sadstream.audio.filters.highpass import IDENTITY
from sadstream.audio.filters.level import at_level
from sadstream.base.errors import DataError
from sadstream.base.progress import progress
from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.fusion.features import heard_frames
from sadstream.scoring.fusion.header import (
    TEXT_TOKENS,
    WHISPER_DBFS,
    FusionConfig,
    LogMelConfig,
    SpeakerEncoderConfig,
    TextEncoderConfig,
    WhisperStatesConfig,
)
from train.corpora.classes import NONE
from train.corpora.clips import read_speech
from train.corpora.manifest import Utterance
from train.features import encoders
from train.features.cache import Array, Cache, key_of
from train.features.log_mels import LogMelResult, complain, heard_samples, log_mels, pieces, stored, total_samples
from train.features.speakers import VoiceEmbeddings, voices_of
from train.features.words import TextEmbeddings, embed, words_missing, words_of
from train.presets import AudioSource, RunConfig, TextSource

CHANGED_S = 0.05  # a recording whose length is so far from the manifest's is another one


@dataclass(frozen=True, slots=True, eq=False)
class RecordingPieces:
    """Pieces of all recordings: `features` (pieces, ...), and per piece its row and its frames that hold audio."""

    features: Tensor
    owner: Tensor
    heard: Tensor
    digests: tuple[str, ...]  # (rows,) SHA-256 of each recording
    exported: LogMelConfig | WhisperStatesConfig | None


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """All that a run reads. One row of every tensor is one piece; `owner` says whose."""

    rows: tuple[Utterance, ...]
    audio: Tensor | None
    text: Tensor | None
    heard: Tensor | None
    voices: Tensor | None  # (pieces, dim), of a system that asks whose voice it is
    labels: Tensor  # (pieces,) float32
    emotions: Tensor  # (pieces,) int64, which of the run's classes, or NONE
    ratings: Tensor  # (pieces, dimensions) float32 of the run's dimensions, NaN where nobody rated
    owner: Tensor  # (pieces,) indices into rows
    fusion: FusionConfig
    audio_config: LogMelConfig | WhisperStatesConfig | None
    text_config: TextEncoderConfig | None
    speaker_config: SpeakerEncoderConfig | None
    digests: tuple[str, ...]
    texts: tuple[str, ...] = ()  # (rows,) the words that were embedded

    def pieces_of(self, split: str) -> Tensor:
        """Indices of the pieces of a split's rows, in order."""
        inside = torch.tensor([row.split == split for row in self.rows])
        return torch.nonzero(inside[self.owner]).squeeze(1)


@dataclass(frozen=True, slots=True, eq=False)
class PieceBatch:
    """Some pieces on the device that computes."""

    audio: Tensor | None
    text: Tensor | None
    heard: Tensor | None
    voices: Tensor | None
    labels: Tensor
    emotions: Tensor
    ratings: Tensor


class Loader:
    """Inputs of runs over one manifest; what the last run read stays in memory for the next."""

    def __init__(self, cache: Cache, device: str) -> None:
        self._cache = cache
        self._device = device
        self._sound: tuple[str, RecordingPieces] | None = None
        self._words: tuple[str, TextEmbeddings] | None = None

    def __call__(self, rows: Sequence[Utterance], config: RunConfig) -> Inputs:
        """The inputs of a run; computes what the cache lacks."""
        spec = config.spec
        sound = self._sounds(rows, config) if spec.front_end != "none" else None
        if sound is not None and spec.segments > 1:
            sound = in_segments(sound, len(rows), spec.segments)
        words = self._embedded(rows, config.read) if spec.text else None
        voices = voices_of(rows, sound.owner, config.heard, self._cache) if sound and spec.asks_speaker else None
        owner = sound.owner if sound else torch.arange(len(rows))
        labels = torch.tensor([float(row.sad) for row in rows])[owner]
        return Inputs(
            rows=tuple(rows),
            audio=sound.features if sound else None,
            text=torch.from_numpy(words.vectors)[owner] if words else None,
            heard=sound.heard if sound and (spec.masked or spec.segments > 1) else None,
            voices=voices.vectors if voices else None,
            labels=labels,
            emotions=_emotions(rows, config)[owner],
            ratings=_ratings(rows, config)[owner],
            owner=owner,
            fusion=fusion_config(config, sound, words, voices),
            audio_config=sound.exported if sound else None,
            text_config=words.encoder if words else None,
            speaker_config=voices.encoder if voices else None,
            digests=sound.digests if sound else ("",) * len(rows),
            texts=words.texts if words else (),
        )

    def _sounds(self, rows: Sequence[Utterance], config: RunConfig) -> RecordingPieces:
        silent = [row.utterance for row in rows if not row.path]
        if silent:
            raise DataError(f"{silent[0]}: no recording: expected a corpus of speech for {config.spec.title}")
        states = config.spec.front_end == "states"
        about = (config.heard.model_dump_json(), "" if states else config.features.model_dump_json(), str(states))
        key = key_of("\n".join(row.path for row in rows).encode(), " ".join(about))
        if self._sound is None or self._sound[0] != key:
            self._sound = None  # the last one may be gigabytes: let it go before the next is read
            sound = self._states(rows, config.heard) if states else self._log_mels(rows, config)
            self._sound = (key, sound)
        return self._sound[1]

    def _log_mels(self, rows: Sequence[Utterance], config: RunConfig) -> RecordingPieces:
        done = log_mels(rows, config.features, config.heard, self._cache)
        arrays = stored(done, self._cache)
        return _sound(rows, done, arrays, arrays[0].shape[1], config.heard, config.features)

    def _states(self, rows: Sequence[Utterance], audio: AudioSource) -> RecordingPieces:

        if audio.view == "whole":
            raise DataError("view = 'whole': expected log-Mel features; encoder states are those of 3 s")
        encoder = encoders.load(audio, self._device)
        done = []
        with progress("encoder states", len(rows)) as advance, torch.inference_mode():
            for row in rows:
                done.append(compute_states(row, encoder, audio, self._cache))
                advance()
        complain([found.trouble for found in done if found.trouble])
        arrays = stored(done, self._cache)
        return _sound(rows, done, arrays, encoders.shape(arrays).frames, audio, encoder.exported)

    def _embedded(self, rows: Sequence[Utterance], source: TextSource) -> TextEmbeddings:
        key = key_of("\n".join(f"{row.utterance} {row.transcript}" for row in rows).encode(), source.model_dump_json())
        if self._words is None or self._words[0] != key:
            texts = words_of(rows, source, self._cache, self._device)
            self._words = (key, _silent_are_zero(embed(texts, source, self._cache, self._device), source))
        if missing := words_missing(rows, self._words[1].texts):
            raise DataError(f"no text part can be trained: {missing}; choose a system without words, such as cnn-lstm")
        return self._words[1]

    def texts(self, rows: Sequence[Utterance], source: TextSource) -> list[str]:
        """The words that a text part would read."""
        return words_of(rows, source, self._cache, self._device)


def _emotions(rows: Sequence[Utterance], config: RunConfig) -> Tensor:
    """(rows,) which of the run's classes each is, or NONE."""
    index = {label: at for at, one in enumerate(config.classes) for label in one.labels}
    return torch.tensor([index.get(row.label, NONE) for row in rows])


def _ratings(rows: Sequence[Utterance], config: RunConfig) -> Tensor:
    """(rows, dimensions), NaN where nobody rated; DataError where nobody did anywhere."""
    ratings = [[row.rating(name) for name in config.dimensions] for row in rows]
    for at, name in enumerate(config.dimensions):
        if all(row[at] is None for row in ratings):
            raise DataError(f"{config.manifest}: no utterance is rated: expected a column {name} with numbers -1 to 1")
    numbers = [[math.nan if value is None else value for value in row] for row in ratings]
    return torch.tensor(numbers, dtype=torch.float32).reshape(len(rows), len(config.dimensions))


def _silent_are_zero(words: TextEmbeddings, source: TextSource) -> TextEmbeddings:
    """Where nothing was written down the text part is 0, as it is in the daemon where nothing is said."""
    if source.source != "gold" or source.window_s is not None:
        return words
    spoken = np.array([bool(text.strip()) for text in words.texts])
    if spoken.all():
        return words
    vectors = words.vectors.copy()
    vectors[~spoken] = 0
    return replace(words, vectors=vectors)


def compute_states(row: Utterance, encoder: encoders.SpeechEncoder, audio: AudioSource, cache: Cache) -> LogMelResult:
    """The states of one recording's pieces in the cache, one recording a pass: batches would change the bytes."""
    try:
        content = Path(row.path).read_bytes()
        key = key_of(content, f"states {encoder.settings} {audio.view} {IDENTITY}")
        if cache.get(key) is None:
            level = encoder.exported.level_dbfs if encoder.exported else WHISPER_DBFS
            cut = [at_level(piece, level) for piece in pieces(read_speech(Path(row.path)), audio)]
            states = encoder(torch.stack([torch.from_numpy(piece) for piece in cut]))
            cache.put(key, states.half().cpu().numpy())
    except OSError as error:
        return LogMelResult("", "", f"{row.path}: cannot be read: {error.strerror}")
    except DataError as error:
        return LogMelResult("", "", str(error))
    return LogMelResult(hashlib.sha256(content).hexdigest(), key)


def _sound(
    rows: Sequence[Utterance],
    done: Sequence[LogMelResult],
    arrays: Sequence[Array],
    n_frames: int,
    audio: AudioSource,
    exported: LogMelConfig | WhisperStatesConfig | None,
) -> RecordingPieces:

    heard, owner = [], []
    for i, (row, array) in enumerate(zip(rows, arrays, strict=True)):
        total = total_samples(row.path)
        if not row.session and abs(total / SAMPLE_RATE - row.duration_s) > CHANGED_S:
            raise DataError(
                f"{row.path}: holds {total / SAMPLE_RATE:.2f} s, where the manifest says {row.duration_s:.2f} s: "
                "it has changed since; restore it or prepare again"
            )
        lengths = heard_samples(total, audio)[: array.shape[0]]
        owner += [i] * array.shape[0]
        heard += [_frames(n, n_frames, audio) for n in lengths]
    return RecordingPieces(
        features=torch.from_numpy(np.concatenate(arrays)),
        owner=torch.tensor(owner),
        heard=torch.tensor(heard),
        digests=tuple(found.digest for found in done),
        exported=exported,
    )


def in_segments(sound: RecordingPieces, rows: int, most: int) -> RecordingPieces:
    """(rows, most, ...) the first pieces of each recording side by side; 0 frames are heard of one that is missing."""
    features = sound.features.new_zeros(rows, most, *sound.features.shape[1:])
    heard = torch.zeros(rows, most, dtype=sound.heard.dtype)
    begins = torch.searchsorted(sound.owner, sound.owner)  # of pieces in order of their recordings
    at = torch.arange(sound.owner.numel()) - begins
    kept = at < most
    features[sound.owner[kept], at[kept]] = sound.features[kept]
    heard[sound.owner[kept], at[kept]] = sound.heard[kept]
    return replace(sound, features=features, owner=torch.arange(rows), heard=heard)


def _frames(samples: int, n_frames: int, audio: AudioSource) -> int:
    if audio.view == "whole":
        return max(1, min(n_frames, -(-samples * n_frames // (audio.whole_s * SAMPLE_RATE))))
    return heard_frames(samples, n_frames)


def fusion_config(
    config: RunConfig, sound: RecordingPieces | None, words: TextEmbeddings | None, voices: VoiceEmbeddings | None
) -> FusionConfig:
    """The model that fits these inputs."""
    text_dim, speaker_dim = words.encoder.dim if words else 0, voices.encoder.dim if voices else 0
    return fusion_shape(config, sound.features if sound else None, text_dim, speaker_dim)


def fusion_shape(config: RunConfig, features: Tensor | None, text_dim: int, speaker_dim: int = 0) -> FusionConfig:
    """The model of a run over features (pieces, frames, bands) or (pieces, layers, frames, width), or of segments."""
    spec = config.spec
    frames, width, layers = 4, 4, 1
    if features is not None:
        frames, width = features.shape[-2], features.shape[-1]
        layers = features.shape[-3] if spec.front_end == "states" else 1
    return FusionConfig(
        front_end=spec.front_end,
        sequence=spec.sequence,
        pooling=spec.pooling,
        joint=spec.joint,
        segments=spec.segments,
        speaker_dim=speaker_dim,
        text_tokens=TEXT_TOKENS if text_dim and spec.reads_tokens else 0,
        modality_dropout=spec.modality_dropout,
        n_frames=frames,
        n_bands=width,
        n_layers=layers,
        channels=config.model.channels,
        hidden=config.model.hidden,
        text_dim=text_dim,
        emotions=len(config.classes),
        dimensions=len(config.dimensions),
    )


def resident(inputs: Inputs, device: str) -> Inputs:
    """The same inputs with features and embeddings in the GPU's memory, where half of what is free holds them."""
    held = [tensor for tensor in (inputs.audio, inputs.text) if tensor is not None]
    if device != "cuda" or sum(t.nbytes for t in held) > torch.cuda.mem_get_info()[0] // 2:
        return inputs
    audio, text = (None if t is None else t.to(device) for t in (inputs.audio, inputs.text))
    return replace(inputs, audio=audio, text=text)


def batch_of(inputs: Inputs, index: Tensor, device: str) -> PieceBatch:
    """These pieces on the device, float32."""
    heard = None if inputs.heard is None else inputs.heard[index].to(device)
    audio, text, voices = (
        None if tensor is None else tensor[index.to(tensor.device)].to(device).float()
        for tensor in (inputs.audio, inputs.text, inputs.voices)
    )
    labels, emotions, ratings = (one[index].to(device) for one in (inputs.labels, inputs.emotions, inputs.ratings))
    return PieceBatch(audio, text, heard, voices, labels, emotions, ratings)
