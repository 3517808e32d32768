"""Whose voice a piece is: the embedding that the daemon too computes, once for each recording."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sadstream.audio.filters.highpass import IDENTITY
from sadstream.base.errors import DataError
from sadstream.base.progress import progress
from sadstream.scoring.fusion.header import SpeakerEncoderConfig
from sadstream.scoring.speakers.encoder import NAME, SpeakerEncoder
from sadstream.scoring.weights.locate import locate
from train.corpora.clips import read_speech
from train.corpora.manifest import Utterance
from train.features.cache import Array, Cache, key_of
from train.features.log_mels import heard_samples, pieces
from train.presets import AudioSource


@dataclass(frozen=True, slots=True, eq=False)
class VoiceEmbeddings:
    """(pieces, dim) float32 embeddings of the voice in each piece, and by whom."""

    vectors: Tensor
    encoder: SpeakerEncoderConfig


def voices_of(rows: Sequence[Utterance], owner: Tensor, audio: AudioSource, cache: Cache) -> VoiceEmbeddings:
    """The voices of all pieces, in the order of `owner`; DataError where a recording has other pieces than it had."""
    encoder = SpeakerEncoder(locate(NAME, "speaker"))
    found: list[Array] = []
    with progress("voices", len(rows), "recordings") as advance:
        for row in rows:
            content = Path(row.path).read_bytes()
            key = key_of(content, f"voices {encoder.identity} {audio.view} {IDENTITY}")
            if (voices := cache.get(key)) is None:
                voices = _embedded(Path(row.path), encoder, audio)
                cache.put(key, voices)
            found.append(voices)
            advance()
    vectors = torch.cat([torch.from_numpy(one) for one in found]).float()
    if vectors.shape[0] != owner.numel():
        raise DataError(f"{vectors.shape[0]} voices for {owner.numel()} pieces: expected one each; prepare again")
    dim = int(vectors.shape[1])
    return VoiceEmbeddings(vectors, SpeakerEncoderConfig(name=NAME, identity=encoder.identity, dim=dim))


def _embedded(path: Path, encoder: SpeakerEncoder, audio: AudioSource) -> Array:
    import numpy as np

    samples = read_speech(path)
    cut = pieces(samples, audio)
    lengths = heard_samples(samples.size, audio)
    return np.stack([encoder(piece[:length]) for piece, length in zip(cut, lengths, strict=False)])
