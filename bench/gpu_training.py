"""The part of `bench/gpu.py` that trains: seconds an epoch of every system of the thesis, and the same bytes twice."""

import hashlib
from collections.abc import Iterator, Sequence

import torch
from gpu_table import NEEDS, NOT_HERE, Bench, Line, Part, Reading, attempt

from train.corpora.manifest import Utterance
from train.presets import Preset, RunConfig, load_preset, run_config
from train.thesis.benchmark import simulated_inputs, simulated_rows, timed
from train.training.loop import ComputeTarget, Trainer

PRESET = "thesis"
EPOCH_S = 2.0
SAME = Line("systems whose weights differ between two equal runs", "systems", 0)
SAME_UTTERANCES, SAME_STEPS = 300, 3


def name_of(config: RunConfig, amp: bool) -> str:
    """What a line is called."""
    return f"epoch of {config.title}{', --amp' if amp else ''}"


def configs() -> list[RunConfig]:
    """Every system's run."""
    preset: Preset = load_preset(PRESET)
    return [run_config(preset, system, "simulated") for system in preset.systems]


def lines() -> list[Line]:
    """Two for each system, and that of the bytes."""
    epochs = [Line(name_of(config, amp), "s", EPOCH_S) for config in configs() for amp in (False, True)]
    return [*epochs, SAME]


def training(bench: Bench) -> Iterator[Reading]:
    """On a corpus of IEMOCAP's size, simulated."""
    try:
        yield attempt(SAME.what, lambda: twice(configs()[: bench.scale.systems], bench))
        rows = simulated_rows(bench.scale.utterances)
        for at, config in enumerate(configs()):
            if at < bench.scale.systems:
                yield from epochs(config, rows, bench)
            else:
                yield from (Reading(name_of(config, amp), note=NOT_HERE) for amp in (False, True))
    finally:
        torch.use_deterministic_algorithms(False)  # which training asks for, and the parts after it do not


def epochs(config: RunConfig, rows: Sequence[Utterance], bench: Bench) -> Iterator[Reading]:
    """Seconds of a system's epoch with validation, by the mean of some steps, without and with --amp."""
    inputs = simulated_inputs(rows, config)

    def epoch(amp: bool) -> Reading:
        found = timed(config, inputs, bench.scale.steps, ComputeTarget(bench.device, amp=amp))
        note = f"{found.utterances_per_s:,.0f} utterances/s"
        return Reading(name_of(config, amp), (found.epoch_s,), bench.scale.steps, note=note)

    yield attempt(name_of(config, False), lambda: epoch(False))
    if bench.device == "cpu":
        yield Reading(name_of(config, True), note=NEEDS)
    else:
        yield attempt(name_of(config, True), lambda: epoch(True))


def twice(chosen: Sequence[RunConfig], bench: Bench) -> Reading:
    """How many systems end with other bytes when the same few steps are taken again."""
    rows = simulated_rows(min(SAME_UTTERANCES, bench.scale.utterances))
    runs = [{config.system: digest(config, rows, bench.device) for config in chosen} for _ in range(2)]
    differing = [system for system, found in runs[0].items() if found != runs[1][system]]
    return Reading(SAME.what, (float(len(differing)),), len(chosen), note=", ".join(differing))


def digest(config: RunConfig, rows: Sequence[Utterance], device: str) -> str:
    """Of the weights after a few steps."""
    trainer = Trainer(simulated_inputs(rows, config), config, ComputeTarget(device))
    trainer.train_epoch(1, steps=SAME_STEPS)
    digest = hashlib.sha256()
    for name, tensor in sorted(trainer.fusion.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


TRAINING = Part("training", lines, training)
