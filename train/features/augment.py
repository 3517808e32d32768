"""Rooms, microphones, lines and noises that a training clip is put through before the daemon's segmenter hears it.

Every function takes (n,) float32 samples at 16 kHz and gives (m,) float32; what happens is drawn from a seeded
generator, so the same clip and view always sound the same.
"""

import io
from collections.abc import Sequence

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin2

from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.fusion.header import Record
from train.features.picture import rebuilt

Samples = NDArray[np.float32]

PHONE_RATE = 8_000  # Hz of a telephone line
SPEECH_FLOOR = 1e-5  # -100 dBFS: below it a clip holds nothing to set a noise against


class AugmentConfig(Record):
    """How often and how far a view departs from its recording; probabilities are per view."""

    picture: float = 0.5  # probability that the clip is rebuilt from a picture of its spectrogram, as CREMA-D was
    speed: float = 0.08  # rate and pitch within 1 - speed .. 1 + speed
    cut: float = 0.3  # probability of a random piece of cut_s instead of the whole clip
    cut_s: tuple[float, float] = (0.8, 2.6)
    reverb: float = 0.4
    rt60_s: tuple[float, float] = (0.15, 0.8)
    channel: float = 0.6  # a microphone's and a room's own colour
    channel_db: float = 6.0
    noise: float = 0.6
    snr_db: tuple[float, float] = (5.0, 30.0)
    codec: float = 0.6
    level_dbfs: tuple[float, float] = (-45.0, -15.0)  # mean level in the end: far off to close to the microphone
    lead_s: float = 0.4  # at most this much room before the clip


def augmented(samples: Samples, config: AugmentConfig, noises: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """One view of a clip: picture, speed, cut, room, channel, noise, codec and level, in the order of a real line."""
    x = rebuilt(samples) if rng.random() < config.picture else samples
    x = at_speed(x, 1.0 + rng.uniform(-config.speed, config.speed))
    if rng.random() < config.cut:
        x = piece(x, rng.uniform(*config.cut_s), rng)
    x = np.concatenate([np.zeros(int(rng.uniform(0.0, config.lead_s) * SAMPLE_RATE), np.float32), x])
    if rng.random() < config.reverb:
        x = reverberant(x, rng.uniform(*config.rt60_s), rng)
    if rng.random() < config.channel:
        x = coloured(x, config.channel_db, rng)
    if noises and rng.random() < config.noise:
        x = noisy(x, noises[int(rng.integers(len(noises)))], rng.uniform(*config.snr_db), rng)
    if rng.random() < config.codec:
        x = coded(x, rng)
    level = max(float(np.sqrt(np.square(x).mean())), SPEECH_FLOOR)
    peak = max(float(np.abs(x).max()), SPEECH_FLOOR)
    gain = min(10.0 ** (rng.uniform(*config.level_dbfs) / 20.0) / level, 1.2 / peak)  # rooms clip a little, too
    heard: Samples = np.clip(x * np.float32(gain), -1.0, 1.0)
    return heard


def at_speed(samples: Samples, factor: float) -> Samples:
    """The clip played `factor` times as fast, pitch and formants with it."""
    changed: Samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")
    return changed


def piece(samples: Samples, length_s: float, rng: np.random.Generator) -> Samples:
    """A random piece of at most this many seconds."""
    length = int(length_s * SAMPLE_RATE)
    start = int(rng.integers(max(1, samples.size - length + 1)))
    return samples[start : start + length]


def reverberant(samples: Samples, rt60_s: float, rng: np.random.Generator) -> Samples:
    """The clip in a room: noise that decays by 60 dB in `rt60_s`, behind a direct sound 0 to 12 dB above it."""
    time_s = np.arange(int(rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(time_s.size) * 10.0 ** (-3.0 * time_s / rt60_s)
    tail[: int(0.002 * SAMPLE_RATE)] = 0.0  # the first reflection comes from a surface some 70 cm further
    tail *= 10.0 ** (-rng.uniform(0.0, 12.0) / 20.0) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    wet: Samples = fftconvolve(samples, tail.astype(np.float32))[: samples.size].astype(np.float32)
    return wet


def coloured(samples: Samples, depth_db: float, rng: np.random.Generator) -> Samples:
    """The clip through a smooth random frequency response of at most `depth_db` at each of eight frequencies."""
    frequencies = np.array([0.0, 100.0, 250.0, 600.0, 1500.0, 3000.0, 5000.0, 8000.0]) / (SAMPLE_RATE / 2)
    gains = 10.0 ** (rng.uniform(-depth_db, depth_db, frequencies.size) / 20.0)
    taps = firwin2(257, frequencies, gains).astype(np.float32)
    shaped: Samples = fftconvolve(samples, taps, mode="same").astype(np.float32)
    return shaped


def noisy(samples: Samples, noise: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """The clip with a noise under it, looped to its length; `snr_db` is between the two mean powers."""
    looped = np.resize(np.roll(noise, int(rng.integers(noise.size))), samples.size)
    level = float(np.sqrt(np.square(samples).mean()))
    under = float(np.sqrt(np.square(looped).mean()))
    if level < SPEECH_FLOOR or under < SPEECH_FLOOR:
        return samples
    return samples + looped * np.float32(level / under * 10.0 ** (-snr_db / 20.0))


def coded(samples: Samples, rng: np.random.Generator) -> Samples:
    """The clip after one of: a telephone line, Opus, MP3, a band limit."""
    kind = rng.choice(["phone", "opus", "opus", "mp3", "band"])
    if kind == "phone":
        return phone(samples)
    if kind == "band":
        return _resampled(samples, int(rng.uniform(9_000, 15_000)))
    return compressed(samples, str(kind), float(rng.uniform(0.5, 0.95)))


def phone(samples: Samples) -> Samples:

    narrow = np.clip(_one_way(samples, SAMPLE_RATE, PHONE_RATE), -1.0, 1.0)
    companded = np.sign(narrow) * np.log1p(255.0 * np.abs(narrow)) / np.log(256.0)  # mu-law
    steps = np.rint(companded * 127.0) / 127.0
    expanded = np.sign(steps) * np.expm1(np.abs(steps) * np.log(256.0)) / 255.0
    return _one_way(expanded.astype(np.float32), PHONE_RATE, SAMPLE_RATE)


def _resampled(samples: Samples, rate: int) -> Samples:
    return _one_way(_one_way(samples, SAMPLE_RATE, rate), rate, SAMPLE_RATE)


def _one_way(samples: Samples, source: int, target: int) -> Samples:

    changed: Samples = soxr.resample(samples, source, target, quality="MQ")
    return changed


def compressed(samples: Samples, kind: str, compression: float) -> Samples:
    """Written and read again; libsndfile's compression runs from 0 (best) to 1 (smallest)."""
    major, minor = ("OGG", "OPUS") if kind == "opus" else ("MP3", "MPEG_LAYER_III")
    file = io.BytesIO()
    safe = np.clip(samples, -1.0, 1.0)
    soundfile.write(file, safe, SAMPLE_RATE, format=major, subtype=minor, compression_level=compression)
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    heard: Samples = decoded if rate == SAMPLE_RATE else _one_way(decoded, rate, SAMPLE_RATE)
    return heard
