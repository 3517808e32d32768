"""The words that the text branch reads: transcripts, what Whisper hears, or the words of the last seconds."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from sadstream.audio.filters.highpass import IDENTITY
from sadstream.audio.filters.level import at_level
from sadstream.base.progress import progress
from sadstream.base.samples import SAMPLE_RATE, SEGMENT_S
from sadstream.scoring.fusion.header import TEXT_TOKENS, WHISPER_DBFS, TextEncoderConfig
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.recognizer import Whisper
from sadstream.scoring.whisper.trust import ALONE
from train.corpora.clips import read_speech
from train.corpora.manifest import Utterance
from train.features.cache import Array, Cache, key_of
from train.features.log_mels import heard_samples, pieces
from train.presets import AudioSource, TextSource

# The keys of what was heard say Weights: with another name everything would be heard anew.
TRUST = f"Weights({', '.join(f'{name}={value!r}' for name, value in asdict(ALONE).items())})"
LEAST_SHARE = 0.5  # of the utterances of a class that must have words
# RAVDESS has 2 sentences, CREMA-D 12, nEMO 90 for 4,481 recordings; of what people say freely nearly all is different.
LEAST_SENTENCES, MOST_TIMES = 20, 3


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """(n, dim) float32 text embeddings, or (n, tokens, dim) float16 states, and whose they are."""

    vectors: Array
    encoder: TextEncoderConfig
    texts: tuple[str, ...]


def words_missing(rows: Sequence[Utterance], texts: Sequence[str]) -> str:
    """Why there are too few words for a text part to learn from, or nothing.

    Each class of train and validation needs them: words of sad utterances alone teach that whoever speaks is sad.
    """
    for split in ("train", "validation"):
        for sad, name in ((1, "sad"), (0, "other")):
            part = [text for row, text in zip(rows, texts, strict=True) if (row.split, row.sad) == (split, sad)]
            spoken = sum(bool(_plain(text)) for text in part)
            if spoken < LEAST_SHARE * len(part):
                return f"words in {spoken:,} of {len(part):,} {name} utterances of {split}: expected in at least half"
    return ""


def words_fixed(rows: Sequence[Utterance], texts: Sequence[str]) -> str:
    """Why these words say nothing, because everybody says the same few sentences, or nothing."""
    said = [words for row, text in zip(rows, texts, strict=True) if row.split == "train" and (words := _plain(text))]
    different = len(set(said))
    if different >= LEAST_SENTENCES and len(said) <= MOST_TIMES * different:
        return ""
    return (
        f"{different:,} different sentences in {len(said):,} utterances of train: expected at least {LEAST_SENTENCES}, "
        f"each said {MOST_TIMES} times at most on average"
    )


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def words_of(rows: Sequence[Utterance], source: TextSource, cache: Cache, device: str) -> list[str]:
    """The words of each row as this source gives them."""
    if source.source == "whisper":
        return _heard(rows, source, cache, device)
    if source.window_s is not None:
        return last_words(rows, source.window_s)
    return [row.transcript for row in rows]


def last_words(rows: Sequence[Utterance], window_s: float) -> list[str]:
    """The speaker's words of the `window_s` seconds that end with the utterance's first 3 s.

    No transcript says when each word was spoken; they are spread evenly over their utterance.
    """
    spoken: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for row in rows:
        spoken.setdefault((row.dialogue or row.utterance, row.speaker), []).extend(_timed(row))
    chosen = []
    for row in rows:
        end_s = min(row.end_s, row.start_s + SEGMENT_S)
        words = sorted(spoken[row.dialogue or row.utterance, row.speaker])
        chosen.append(" ".join(word for start, end, word in words if start >= end_s - window_s and end <= end_s + 1e-6))
    return chosen


def _timed(row: Utterance) -> list[tuple[float, float, str]]:
    words = row.transcript.split()
    if not words:
        return []
    step_s = row.duration_s / len(words)
    return [(row.start_s + i * step_s, row.start_s + (i + 1) * step_s, word) for i, word in enumerate(words)]


def _heard(rows: Sequence[Utterance], source: TextSource, cache: Cache, device: str) -> list[str]:
    """What Whisper hears in the first 3 s, as in the daemon: nothing where its words do not count."""
    whisper = Whisper(locate(source.whisper, "whisper"), device, "en")
    heard = []
    with progress("Whisper", len(rows)) as advance, torch.inference_mode():
        for row in rows:
            key = key_of(Path(row.path).read_bytes(), f"words {whisper.identity} {TRUST} {IDENTITY}")
            stored = cache.get(key)
            if stored is None:
                samples = read_speech(Path(row.path))
                segment = pieces(samples, AudioSource())[0]
                seconds = heard_samples(samples.size, AudioSource())[0] / SAMPLE_RATE
                levelled = torch.from_numpy(at_level(segment, WHISPER_DBFS)).unsqueeze(0)
                transcript = whisper.transcribe(levelled, seconds=[seconds])[0]
                stored = np.array(transcript.text if transcript.kept else "")
                cache.put(key, stored)
            heard.append(str(stored))
            advance()
    return heard


def embed(texts: Sequence[str], source: TextSource, cache: Cache, device: str) -> TextEmbeddings:
    """The embedding of each text, computed once; no words are the embedding of nothing."""
    asked = TextEncoderConfig(name=source.encoder, identity="", pooling=source.pooling, dim=0)
    encoder = TextEncoder(locate(source.encoder, "text"), asked, device)
    settings = f"text {encoder.identity} {source.pooling}"
    keys = [key_of(text.encode(), settings) for text in texts]
    known = {key: vector for key in set(keys) if (vector := cache.get(key)) is not None}
    missing = sorted({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
    with progress("text", len(missing), "texts") as advance, torch.inference_mode():
        for key, text in missing:  # one at a time: padding in a batch changes the last digits, and so the bytes
            found = encoder([text])[0].float().cpu().numpy()
            known[key] = found[found.any(1)].astype(np.float16) if source.pooling == "tokens" else found
            cache.put(key, known[key])
            advance()
    vectors = np.stack([_whole(known[key], source) for key in keys])
    identity = TextEncoderConfig(
        name=encoder.name, identity=encoder.identity, pooling=source.pooling, dim=vectors.shape[-1]
    )
    return TextEmbeddings(vectors, identity, tuple(texts))


def _whole(vectors: Array, source: TextSource) -> Array:
    """An embedding as it is; states up to the number of tokens, zeros after the last."""
    if source.pooling != "tokens":
        return vectors.astype(np.float32)
    return np.pad(vectors, ((0, TEXT_TOKENS - vectors.shape[0]), (0, 0)))
