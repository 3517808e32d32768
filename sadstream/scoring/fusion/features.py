"""What the fusion model sees of a segment: its level-normalised samples, and their log-Mel spectrogram.

The only definition, shared by the daemon and `train`.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from sadstream.base.samples import SEGMENT_SAMPLES
from sadstream.scoring.fusion.header import LogMelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def heard_frames(samples_heard: int, n_frames: int) -> int:
    """How many of a segment's feature frames hold audio and not the zeros that fill it up; at least one."""
    return max(1, min(n_frames, -(-samples_heard * n_frames // SEGMENT_SAMPLES)))


@lru_cache(maxsize=8)
def _mel(config: LogMelConfig) -> "torch.nn.Module":
    from sadstream.scoring.fusion.mel import mel_transform

    return mel_transform(config)


def log_mel(samples: "Tensor", config: LogMelConfig) -> "Tensor":
    """(n_frames, n_mels) or (batch, n_frames, n_mels) log power from (48000,) or (batch, 48000) float32."""
    return (mel_power(samples, config) + config.offset).log()


def mel_power(samples: "Tensor", config: LogMelConfig) -> "Tensor":
    """(n_frames, n_mels) or (batch, n_frames, n_mels) power in each band of (n,) or (batch, n) float32."""
    mel: Tensor = _mel(config)(samples)
    return mel.transpose(-1, -2)
