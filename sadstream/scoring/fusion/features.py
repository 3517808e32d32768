"""What the fusion model sees of a segment: its level-normalised samples, and their log-Mel spectrogram.

The only definition, shared by the daemon and `train`.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from sadstream.base.errors import UnavailableError
from sadstream.base.samples import SAMPLE_RATE, SEGMENT_SAMPLES
from sadstream.scoring.fusion.header import LogMelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TORCHAUDIO_FAULT = "torchaudio: its native library wants CUDA and this torch has none; run `sadstream doctor --fix`"


def heard_frames(samples_heard: int, n_frames: int) -> int:
    """How many of a segment's feature frames hold audio and not the zeros that fill it up; at least one."""
    return max(1, min(n_frames, -(-samples_heard * n_frames // SEGMENT_SAMPLES)))


@lru_cache(maxsize=8)
def _mel(config: LogMelConfig) -> "torch.nn.Module":
    try:
        from torchaudio.transforms import MelSpectrogram
    except OSError:
        raise UnavailableError(TORCHAUDIO_FAULT) from None
    transform: torch.nn.Module = MelSpectrogram(
        sample_rate=SAMPLE_RATE,
        n_fft=config.n_fft,
        win_length=config.window,
        hop_length=config.hop,
        n_mels=config.n_mels,
        power=2.0,
        mel_scale="slaney",
        norm="slaney",
    )
    return transform


def log_mel(samples: "Tensor", config: LogMelConfig) -> "Tensor":
    """(n_frames, n_mels) or (batch, n_frames, n_mels) log power from (48000,) or (batch, 48000) float32."""
    return (mel_power(samples, config) + config.offset).log()


def mel_power(samples: "Tensor", config: LogMelConfig) -> "Tensor":
    """(n_frames, n_mels) or (batch, n_frames, n_mels) power in each band of (n,) or (batch, n) float32."""
    mel: Tensor = _mel(config)(samples)
    return mel.transpose(-1, -2)
