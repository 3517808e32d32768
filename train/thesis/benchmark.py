"""How long training takes: each system timed on a few batches of a simulated corpus, or of the real plan."""

import resource
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.analyzer.models import settle
from sadstream.scoring.fusion.features import log_mel
from sadstream.scoring.fusion.header import LogMelConfig, Record
from train.corpora.classes import NONE
from train.corpora.guards import by_split
from train.corpora.manifest import Utterance
from train.features.inputs import Inputs, fusion_shape
from train.metrics.markdown import markdown
from train.presets import Preset, RunConfig, run_config
from train.training.loop import ComputeTarget, Trainer, predict
from train.training.session import Session

STATES_SHAPE = (5, 50, 384)  # tiny.en: layers, frames, width
TEXT_DIM, SPEAKER_DIM = 768, 256
SESSION_SIZES = (1819, 1811, 2136, 2103, 2170)
SESSION_SAD = (194, 197, 305, 143, 245)
SPLITS = ("train", "train", "train", "validation", "test")
# Of IEMOCAP's utterances: the median is 3.58 s and the mean 4.55 s, which a log-normal has with this spread.
MEDIAN_S, SIGMA = 3.58, 0.69
FEATURE_SAMPLE = 64  # recordings timed for the features


class SystemTiming(Record):
    """One system on one machine."""

    system: str
    title: str
    utterances_per_s: float  # training utterances, oversampled ones counted again
    epoch_s: float  # with validation
    epoch_cpu_s: float  # of all threads; what is left of a figure on a machine that others use too
    peak_memory_mb: float  # of the process so far
    total_s: float  # at all the preset's epochs, thesis protocol's evaluation included


class Benchmark(Record):
    """All systems, and the features."""

    preset: str
    device: str
    threads: int
    utterances: int
    features_per_s: float  # log-Mel matrices a second on one core, reading included
    timings: tuple[SystemTiming, ...]

    def table(self) -> str:
        """Lines for a person."""
        head = ("system", "utterances/s", "s an epoch", "CPU s an epoch", "peak MB", "total min")
        lines = [
            [
                t.title,
                f"{t.utterances_per_s:,.0f}",
                f"{t.epoch_s:.1f}",
                f"{t.epoch_cpu_s:.1f}",
                f"{t.peak_memory_mb:,.0f}",
                f"{t.total_s / 60:.1f}",
            ]
            for t in self.timings
        ]
        total = sum(t.total_s for t in self.timings) / 3600
        return (
            f"preset {self.preset}, {self.utterances:,} simulated utterances, {self.device}, {self.threads} threads; "
            f"features {self.features_per_s:,.0f} utterances/s on one core\n\n{markdown(head, lines, numbers=True)}\n"
            f"all at every epoch: {total:.2f} h\n"
        )


def simulated_rows(utterances: int) -> list[Utterance]:
    """Utterances with IEMOCAP's shares of sessions, sad ones and durations."""
    rng = np.random.default_rng(0)
    rows = []
    for session, (size, sad, split) in enumerate(zip(SESSION_SIZES, SESSION_SAD, SPLITS, strict=True), start=1):
        count = max(4, round(size * utterances / sum(SESSION_SIZES)))
        positives = max(1, round(sad * count / size))
        for i in range(count):
            gender = "FM"[i % 2]
            rows.append(
                Utterance(
                    utterance=f"Ses0{session}F_impro01_{gender}{i:05d}",
                    corpus="simulated",
                    session=session,
                    speaker=f"Ses0{session}{gender}",
                    gender=gender,
                    dialogue=f"Ses0{session}F_impro01",
                    path="",
                    start_s=0.0,
                    end_s=float(min(30.0, rng.lognormal(np.log(MEDIAN_S), SIGMA))),
                    label="sad" if i < positives else "neu",
                    sad=int(i < positives),
                    transcript="",
                    split=split,
                )
            )
    return rows


def simulated_inputs(rows: Sequence[Utterance], config: RunConfig) -> Inputs:
    """Random features of the right shapes: what they hold does not change the time."""
    generator = torch.Generator().manual_seed(0)
    audio = None
    frames = config.features.n_frames
    if config.audio.view == "whole":
        frames = config.audio.whole_s * SAMPLE_RATE // config.features.hop + 1
    segments = config.spec.segments
    if segments > 1:
        one = torch.randn(segments, frames, config.features.n_mels, generator=generator)
        audio = one.half().expand(len(rows), -1, -1, -1)
    elif config.spec.front_end == "cnn":
        audio = torch.randn(len(rows), frames, config.features.n_mels, generator=generator)
    elif config.spec.front_end == "states":
        audio = torch.empty(len(rows), *STATES_SHAPE, dtype=torch.float16)
        for one in audio:  # one at a time: all at once in float32 would be another 3.9 GB
            one.copy_(torch.randn(STATES_SHAPE, generator=generator))
    text_dim, speaker_dim = TEXT_DIM if config.spec.text else 0, SPEAKER_DIM if config.spec.asks_speaker else 0
    fusion = fusion_shape(config, audio, text_dim, speaker_dim)
    text = torch.randn(len(rows), text_dim, generator=generator) if text_dim else None
    if fusion.text_tokens:
        text = torch.randn(fusion.text_tokens, text_dim, generator=generator).expand(len(rows), -1, -1)
    voices = torch.randn(len(rows), speaker_dim, generator=generator) if speaker_dim else None
    frames = STATES_SHAPE[1] if config.spec.front_end == "states" else frames
    heard = torch.tensor([max(1, min(frames, round(row.duration_s / 3 * frames))) for row in rows])
    if segments > 1:
        begins = 3.0 * torch.arange(segments)
        spoken_s = torch.tensor([row.duration_s for row in rows]).unsqueeze(1) - begins
        heard = (spoken_s / 3 * frames).round().clamp(0, frames).long()
        heard[:, 0].clamp_(min=1)
    return Inputs(
        rows=tuple(rows),
        audio=audio,
        text=text,
        heard=heard if config.spec.masked and audio is not None else None,
        voices=voices,
        labels=torch.tensor([float(row.sad) for row in rows]),
        emotions=torch.full((len(rows),), NONE),
        ratings=torch.zeros(len(rows), 0),
        owner=torch.arange(len(rows)),
        fusion=fusion,
        audio_config=None,
        text_config=None,
        speaker_config=None,
        digests=("",) * len(rows),
    )


def measure(preset: Preset, utterances: int, steps: int, compute: ComputeTarget) -> Benchmark:
    """Time every system of a preset; the first two batches only warm up."""
    rows = simulated_rows(utterances)
    timings = []
    for system in preset.systems:
        config = run_config(preset, system, "simulated")
        timings.append(timed(config, simulated_inputs(rows, config), steps, compute))
    return Benchmark(
        preset=preset.name,
        device=torch.cuda.get_device_name() if compute.device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        utterances=len(rows),
        features_per_s=_features_per_s(preset.features),
        timings=tuple(timings),
    )


def timed(config: RunConfig, inputs: Inputs, steps: int, compute: ComputeTarget) -> SystemTiming:
    """Time one system: batches of training after two that only warm up, then 128 rows of validation."""
    trainer = Trainer(inputs, config, compute)
    trainer.train_epoch(1, steps=2)
    settle(compute.device)
    start, start_cpu = time.perf_counter(), time.process_time()
    trainer.train_epoch(1, steps=steps)
    settle(compute.device)  # the last update is still under way there
    step_s, step_cpu_s = (time.perf_counter() - start) / steps, (time.process_time() - start_cpu) / steps
    some = trainer.validation[:128]
    if compute.device == "cuda":  # which chooses its kernels at the first batch of a shape
        predict(trainer.fusion, inputs, some, compute.device)
    start, start_cpu = time.perf_counter(), time.process_time()
    predict(trainer.fusion, inputs, some, compute.device)
    predict_s = (time.perf_counter() - start) / some.numel()
    predict_cpu_s = (time.process_time() - start_cpu) / some.numel()
    parts = {split: len(part) for split, part in by_split(inputs.rows).items()}
    drawn = trainer.drawn.size
    batches = -(-drawn // config.spec.batch_size)
    epoch_s = step_s * batches + predict_s * parts["validation"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    return SystemTiming(
        system=config.system,
        title=config.title,
        utterances_per_s=drawn / epoch_s,
        epoch_s=epoch_s,
        epoch_cpu_s=step_cpu_s * batches + predict_cpu_s * parts["validation"],
        peak_memory_mb=memory,
        total_s=config.training.epochs * (epoch_s + predict_s * parts["test"]),
    )


def _features_per_s(features: LogMelConfig) -> float:

    noise = torch.randn(1, 48_000)
    log_mel(noise, features)
    start = time.perf_counter()
    for _ in range(FEATURE_SAMPLE):
        log_mel(noise, features)
    return FEATURE_SAMPLE / (time.perf_counter() - start)


def estimate(configs: Sequence[RunConfig], rows: Sequence[Utterance], session: Session) -> str:
    """How long these runs will take on this machine at most: all epochs, no early stopping."""
    lines, total, known = [], 0.0, dict[str, SystemTiming]()
    for config in configs:
        key = config.system + config.variant
        if key not in known:
            known[key] = timed(config, simulated_inputs(rows, config), 4, session.compute)
        total += known[key].total_s
        lines.append(
            [config.title, str(config.seed), config.fold, f"{known[key].epoch_s:.1f}", f"{known[key].total_s / 60:.1f}"]
        )
    table = markdown(("system", "seed", "fold", "s an epoch", "at most min"), lines, numbers=True)
    features_min = len(rows) / _features_per_s(configs[0].features) / 60 if configs else 0.0
    device = session.compute.device
    return (
        f"{table}\n{len(configs)} runs, at most {total / 3600:.2f} h on {device}; log-Mel features, once, "
        f"{features_min:.1f} min of one core; encoder states and Whisper's words are not counted\n"
    )
