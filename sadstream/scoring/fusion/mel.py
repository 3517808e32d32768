"""Power in Mel bands: torchaudio's where it is, else the same of PyTorch alone."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.fusion.torchaudio_library import usable

if TYPE_CHECKING:
    from sadstream.scoring.fusion.header import LogMelConfig

BREAK_HZ, BREAK_MEL = 1000.0, 15.0  # Slaney's scale is linear below, logarithmic above
LINEAR = BREAK_HZ / BREAK_MEL  # Hz of a Mel below
STEP = math.log(6.4) / 27.0  # of the logarithm, of a Mel above


def mel_transform(config: "LogMelConfig") -> nn.Module:
    """(n,) or (batch, n) float32 at 16 kHz -> (n_mels, frames) or (batch, n_mels, frames) power."""
    torchaudio: Any = usable()
    if torchaudio is None:
        return MelPower(config)
    transform: nn.Module = torchaudio.transforms.MelSpectrogram(
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


class MelPower(nn.Module):
    """A Hann window's power spectrum, centred frames, in triangles of equal area on Slaney's Mel scale.

    Slaney, "Auditory toolbox", technical report 1998-010, Interval Research Corporation.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: "LogMelConfig") -> None:
        super().__init__()
        self._n_fft, self._hop = config.n_fft, config.hop
        self.register_buffer("window", torch.hann_window(config.window))
        self.register_buffer("filters", triangles(config.n_fft // 2 + 1, config.n_mels))

    def forward(self, samples: Tensor) -> Tensor:
        spectrum = torch.stft(
            samples, self._n_fft, self._hop, self.window.numel(), self.window, center=True, return_complex=True
        )
        power: Tensor = spectrum.abs().square()
        return (power.transpose(-1, -2) @ self.filters).transpose(-1, -2)


def triangles(n_freqs: int, n_mels: int) -> Tensor:
    """(n_freqs, n_mels) weights of each frequency from 0 to half the rate in each band.

    In single precision as torchaudio has them: near an edge its rounding is a hundred-thousandth of a weight.
    """
    freqs_hz = torch.linspace(0.0, SAMPLE_RATE / 2, n_freqs)
    edges_hz = _hz(torch.linspace(0.0, _mel(SAMPLE_RATE / 2), n_mels + 2))
    widths = edges_hz.diff()
    away = edges_hz.unsqueeze(0) - freqs_hz.unsqueeze(1)
    rising, falling = -away[:, :-2] / widths[:-1], away[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0.0) * (2.0 / (edges_hz[2:] - edges_hz[:-2]))


def _mel(hz: float) -> float:
    """Above the break."""
    return BREAK_MEL + math.log(hz / BREAK_HZ) / STEP


def _hz(mel: Tensor) -> Tensor:
    return torch.where(mel < BREAK_MEL, LINEAR * mel, BREAK_HZ * torch.exp(STEP * (mel - BREAK_MEL)))
