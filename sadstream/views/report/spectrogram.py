"""A recording's sound as pictures: outline and spectrogram, a row of ROW_S seconds at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sadstream.base.samples import SAMPLE_RATE, exact_div
from sadstream.scoring.fusion.features import log_mel
from sadstream.scoring.fusion.header import LogMelConfig

ROW_S = 20
ROW_SAMPLES = ROW_S * SAMPLE_RATE
OUTLINE_SAMPLES = 640  # 40 ms, a step of the outline
ROW_STEPS = exact_div(ROW_SAMPLES, OUTLINE_SAMPLES)  # 500
SPECTRUM = LogMelConfig(n_fft=512, window=400, hop=320, n_mels=80, offset=1e-9)  # 20 ms, 1,000 a row
ROW_FRAMES = exact_div(ROW_SAMPLES, SPECTRUM.hop)
RANGE_NEPERS = 13.8  # 60 dB of power from the loudest to what is drawn as nothing
SHADES = 16  # 4 bits a pixel; with 64 the page of ten minutes had twice the size and looked the same


@dataclass(frozen=True, slots=True, eq=False)
class SoundRow:
    """What was heard from `t_start` on: at most ROW_S seconds."""

    t_start: float
    low: NDArray[np.float32]  # (steps,) least and greatest sample of each step, 1 the recording's loudest
    high: NDArray[np.float32]
    spectrum: NDArray[np.uint8]  # (bands, frames) shades, the highest band first


def sound_rows(pcm: bytes) -> Iterator[SoundRow]:
    """The rows of signed 16-bit 16 kHz mono; shades and heights are of the whole recording's loudest."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)
    peak = max(1e-3, float(np.abs(samples).max(initial=0.0)))
    cuts = [samples[at : at + ROW_SAMPLES] for at in range(0, max(1, samples.size), ROW_SAMPLES)]
    spectra = [_spectrum(cut) for cut in cuts]
    loudest = max(float(np.percentile(spectrum, 99.9)) for spectrum in spectra)
    for number, (cut, spectrum) in enumerate(zip(cuts, spectra, strict=True)):
        steps = _padded(cut, OUTLINE_SAMPLES).reshape(-1, OUTLINE_SAMPLES) / np.float32(peak)
        share = np.clip(1.0 + (spectrum - loudest) / RANGE_NEPERS, 0.0, 1.0)
        yield SoundRow(
            t_start=float(number * ROW_S),
            low=steps.min(axis=1),
            high=steps.max(axis=1),
            spectrum=np.rint(share * (SHADES - 1)).astype(np.uint8),
        )


def to_png(shades: NDArray[np.uint8]) -> bytes:
    """(bands, frames) shades as ink: black, the more the louder, nothing where it is quiet."""
    from io import BytesIO

    from PIL import Image

    bands, frames = shades.shape
    image = Image.frombytes("P", (frames, bands), shades.tobytes())
    image.putpalette([0, 0, 0] * SHADES)
    ink = bytes(round(255 * shade / (SHADES - 1)) for shade in range(SHADES))
    file = BytesIO()
    image.save(file, format="PNG", transparency=ink, optimize=True, bits=4)
    return file.getvalue()


def _spectrum(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(bands, frames) log power, the highest band first."""
    frames = max(1, -(-samples.size // SPECTRUM.hop))
    with torch.inference_mode():
        mel = log_mel(torch.from_numpy(_padded(samples, SPECTRUM.hop, least=SPECTRUM.n_fft)), SPECTRUM).numpy()
    found: NDArray[np.float32] = np.ascontiguousarray(mel[:frames].T[::-1])
    return found


def _padded(samples: NDArray[np.float32], step: int, least: int = 1) -> NDArray[np.float32]:
    whole = -(-max(least, samples.size) // step) * step
    return np.pad(samples, (0, whole - samples.size))
