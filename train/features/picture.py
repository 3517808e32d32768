"""A recording rebuilt from a picture of its log-Mel spectrogram: what such pictures lose is lost to every corpus alike.

One corpus can be had as pictures only. Where the others are sometimes sent through the same, a model cannot tell a
corpus by the sound of the inversion.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sadstream.base.errors import UnavailableError
from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.fusion.torchaudio_library import usable

N_FFT = 1024
HOP = 256
BANDS = 128  # Slaney's
RANGE_DB = 80.0  # below the loudest band
STEPS = 255  # between black and white
ITERATIONS = 16
QUIET = 1e-10  # power that counts as none


@lru_cache(maxsize=1)
def _transforms() -> tuple[nn.Module, nn.Module, nn.Module]:
    torchaudio: Any = usable()
    if torchaudio is None:
        raise UnavailableError("torchaudio: not installed; pictures of spectrograms are inverted with it")
    transforms = torchaudio.transforms
    slaney = {"sample_rate": SAMPLE_RATE, "n_mels": BANDS, "norm": "slaney", "mel_scale": "slaney"}
    return (
        transforms.MelSpectrogram(n_fft=N_FFT, hop_length=HOP, power=2.0, **slaney),
        transforms.InverseMelScale(n_stft=N_FFT // 2 + 1, **slaney),
        transforms.GriffinLim(n_fft=N_FFT, n_iter=ITERATIONS, hop_length=HOP, power=2.0, rand_init=False),
    )


def rebuilt(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) float32 at 16 kHz with the magnitudes of a picture of (n,) samples and phases of nobody's.

    Griffin and Lim, "Signal estimation from modified short-time Fourier transform", IEEE Transactions on Acoustics,
    Speech and Signal Processing 32 (1984).
    """
    if samples.size < N_FFT:
        return samples
    to_mel, from_mel, to_samples = _transforms()
    power = to_mel(torch.from_numpy(samples))
    loudest = 10.0 * power.max().clamp(min=QUIET).log10()
    db = 10.0 * power.clamp(min=QUIET).log10() - loudest
    picture = ((db / RANGE_DB + 1.0).clamp(min=0.0) * STEPS).round()
    seen = 10.0 ** (((picture / STEPS - 1.0) * RANGE_DB + loudest) / 10.0)
    heard: NDArray[np.float32] = to_samples(from_mel(seen)).numpy()
    return np.concatenate([heard, np.zeros(HOP, np.float32)])[: samples.size]
