"""Encoder states of segments, computed once and kept outside the repository, a file for each speaker and view."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sadstream.audio import segmenter
from sadstream.audio.filters import highpass, hum
from sadstream.audio.filters.level import at_level
from sadstream.audio.segmenter import Segment
from sadstream.base.files import table_text
from sadstream.base.progress import progress
from sadstream.base.samples import exact_div
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.fusion.features import heard_frames
from sadstream.scoring.fusion.header import WhisperStatesConfig
from sadstream.scoring.whisper.recognizer import Whisper
from train.corpora.clips import Clip, by_speaker, daemon_segments, read_audio
from train.features.augment import AugmentConfig, augmented
from train.features.cache import Cache, key_of

BATCH = 16
CACHED_POOL = 5  # positions; coarser pools are tried without hearing everything again
CLEAN = 0  # the view without augmentation, on which everything is measured


@dataclass(frozen=True, slots=True, eq=False)
class SegmentStates:
    """Segments with their states: the row `i` of every array is one segment."""

    states: NDArray[np.float16]  # (n, layers, frames, width)
    frames: NDArray[np.int64]  # (n,) that hold audio
    clips: tuple[Clip, ...]  # (n,) the clip that each was cut from
    view: NDArray[np.int64]  # (n,)
    seconds: NDArray[np.float64]  # (n,)


def read_noises(folder: Path, licences: Sequence[str] = ()) -> list[NDArray[np.float32]]:
    """The noises of a folder with a manifest.csv that hold no human voice: of these licences, or all."""
    rows = csv.DictReader(table_text(folder / "manifest.csv"))
    return [
        read_audio(folder / row["path"])
        for row in rows
        if row["human_voice"] == "0" and (not licences or row["license"] in licences)
    ]


class StateCache:
    """Segments of clips through a frozen Whisper encoder; interrupted work goes on where it stopped."""

    def __init__(
        self,
        cache: Cache,
        whisper: Whisper,
        audio: WhisperStatesConfig,
        augment: AugmentConfig,
        noises: Sequence[NDArray[np.float32]],
    ) -> None:
        self._cache = cache
        self._whisper = whisper
        self._audio = audio.model_copy(update={"pool": CACHED_POOL})
        self._ratio = exact_div(audio.pool, CACHED_POOL)
        self._augment = augment
        self._noises = noises
        # Where it cuts otherwise, everything is heard anew.
        code = b"".join(Path(str(part.__file__)).read_bytes() for part in (segmenter, highpass, hum))
        self._segmenter = hashlib.sha256(code).hexdigest()

    def __call__(self, clips: Sequence[Clip], views: int) -> SegmentStates:
        """All segments of all clips in views 0 (clean) to `views` - 1."""
        groups = by_speaker(clips)
        parts = []
        with progress("encoder states", len(groups) * views, "speakers") as advance:
            for view in range(views):
                for group in groups.values():
                    parts.append((group, view, self._pooled(self._cached(group, view))))
                    advance()
        return SegmentStates(
            states=np.concatenate([stored["states"] for _, _, stored in parts]),
            frames=np.concatenate([stored["frames"] for _, _, stored in parts]),
            clips=tuple(group[i] for group, _, stored in parts for i in stored["clip"]),
            view=np.concatenate([np.full(stored["clip"].size, view) for _, view, stored in parts]),
            seconds=np.concatenate([stored["seconds"] for _, _, stored in parts]),
        )

    def _pooled(self, stored: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:

        states = stored["states"]
        count, layers, frames, width = states.shape
        split = states.reshape(count, layers, frames // self._ratio, self._ratio, width).astype(np.float32)
        lengths = -(-stored["frames"] // self._ratio)
        return stored | {"states": split.mean(3).astype(np.float16), "frames": lengths}

    def _cached(self, group: Sequence[Clip], view: int) -> dict[str, NDArray[Any]]:
        return self._cache.arrays(self._key(group, view), lambda: self._compute(group, view))

    def _key(self, group: Sequence[Clip], view: int) -> str:
        settings = [
            f"states {group[0].speaker} {view}",
            self._segmenter,
            self._audio.model_dump_json(),
            VadConfig().model_dump_json() + SegmentConfig().model_dump_json(),
            "" if view == CLEAN else f"{self._augment.model_dump_json()} {len(self._noises)}",
        ]
        files = [f"{clip.path.name} {clip.path.stat().st_size}" for clip in group]
        return key_of("\n".join(files).encode(), "\n".join(settings))

    def _compute(self, group: Sequence[Clip], view: int) -> dict[str, NDArray[Any]]:

        cut = [(i, segment) for i, clip in enumerate(group) for segment in self._segments(clip, view)]
        states = [self._states([s for _, s in cut[at : at + BATCH]]) for at in range(0, len(cut), BATCH)]
        seconds = np.array([s.t_end - s.t_start for _, s in cut])
        lengths = [heard_frames(s.heard.size, self._audio.n_frames) for _, s in cut]
        shape = (0, len(self._audio.layers), self._audio.n_frames, 1)
        return {
            "states": np.concatenate(states) if states else np.zeros(shape, np.float16),
            "frames": np.array(lengths, dtype=np.int64),
            "clip": np.array([i for i, _ in cut], dtype=np.int64),
            "seconds": seconds,
        }

    def _segments(self, clip: Clip, view: int) -> list[Segment]:

        seed = int.from_bytes(hashlib.sha256(f"{clip.speaker}/{clip.path.name}/{view}".encode()).digest()[:6])
        samples = read_audio(clip.path)
        if view != CLEAN:
            samples = augmented(samples, self._augment, self._noises, np.random.default_rng(seed))
        return daemon_segments(samples, seed)

    def _states(self, segments: Sequence[Segment]) -> NDArray[np.float16]:

        batch = torch.from_numpy(np.stack([at_level(s.samples, self._audio.level_dbfs) for s in segments]))
        with torch.inference_mode():
            states: NDArray[np.float16] = self._whisper.states(batch, self._audio).half().cpu().numpy()
        return states
