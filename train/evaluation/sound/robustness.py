"""What is left of the audio part in worse sound: level, noise, rooms, telephones, codecs, speed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sadstream.audio.silero import UnscoredSegment
from sadstream.scoring.analyzer.analyzer import Analyzer
from train.corpora.clips import Clip, daemon_segments, read_audio
from train.evaluation.gates import real_speech, share
from train.features.augment import at_speed, compressed, noisy, phone, reverberant
from train.features.noises import loud_dbfs
from train.metrics.calibration import probability
from train.metrics.detection import Interval, auc, calibration_error, over_groups
from train.metrics.markdown import markdown

Samples = NDArray[np.float32]

OPUS_16K = 0.99  # of libsndfile's scale: 16 kbit/s of mono speech, container included


@dataclass(frozen=True, slots=True)
class Condition:
    """A kind of worse sound."""

    name: str
    change: Callable[[Samples, Samples, Generator], Samples]  # clip, a noise, chance


def conditions() -> tuple[Condition, ...]:
    """The rows of the table."""

    def at(level_dbfs: float) -> Callable[[Samples, Samples, Generator], Samples]:
        return lambda x, _noise, _rng: (x * 10.0 ** ((level_dbfs - loud_dbfs(x)) / 20.0)).clip(-1.0, 1.0)

    def snr(db: float) -> Callable[[Samples, Samples, Generator], Samples]:
        return lambda x, noise, rng: noisy(x, noise, db, rng)

    return (
        Condition("as recorded", lambda x, _noise, _rng: x),
        Condition("level -45 dBFS", at(-45.0)),
        Condition("level -10 dBFS", at(-10.0)),
        Condition("SNR 20 dB", snr(20.0)),
        Condition("SNR 10 dB", snr(10.0)),
        Condition("SNR 0 dB", snr(0.0)),
        Condition("reverberation 0.6 s", lambda x, _noise, rng: reverberant(x, 0.6, rng)),
        Condition("telephone", lambda x, _noise, _rng: phone(x)),
        Condition("Opus, 16 kbit/s", lambda x, _noise, _rng: compressed(x, "opus", OPUS_16K)),
        Condition("speed +10 %", lambda x, _noise, _rng: at_speed(x, 1.1)),
        Condition("speed -10 %", lambda x, _noise, _rng: at_speed(x, 0.9)),
    )


def robustness_table(
    clips: Sequence[Clip], noises: Sequence[Samples], analyzer: Analyzer, seed: int, tick: Callable[[], None]
) -> str:
    """AUC of the audio part, calibration error at the share of sad clips, and speech lost, of each condition."""
    rows = []
    for condition in conditions():
        rng = np.random.default_rng(seed)
        labels: list[int] = []
        parts: list[float] = []
        speakers: list[str] = []
        lost: list[bool] = []
        for number, clip in enumerate(clips):
            noise = noises[int(rng.integers(len(noises)))]
            changed = np.asarray(condition.change(read_audio(clip.path), noise, rng), dtype=np.float32)
            level = loud_dbfs(changed)
            for segment in daemon_segments(changed, number):
                analysis = analyzer(segment)
                if real_speech(segment, level):
                    lost.append(isinstance(analysis, UnscoredSegment))
                if not isinstance(analysis, UnscoredSegment):
                    labels.append(clip.sad)
                    parts.append(analysis.audio_logit)
                    speakers.append(clip.speaker)
            tick()
        rows.append(_row(condition.name, np.array(labels), np.array(parts), speakers, share(sum(lost), len(lost))))
    return markdown(("sound", "AUC, sad against neutral and calm", "calibration error", "n", "speech lost"), rows)


def _row(
    name: str, labels: NDArray[np.int64], parts: NDArray[np.float64], speakers: Sequence[str], lost: Interval
) -> tuple[str, ...]:
    ranking = over_groups(auc, labels, parts, speakers)
    prior = float(labels.mean())
    error = over_groups(lambda y, x: calibration_error(y, probability(x, prior)), labels, parts, speakers)
    return name, str(ranking), str(error), f"{labels.size:,}", str(lost)
