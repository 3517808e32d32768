"""The benchmark's corpus is IEMOCAP in size, shares and durations; its figures are about the machine."""

import math

import numpy as np
import pytest
import torch

from train.presets import load_preset, run_config
from train.thesis.benchmark import measure, simulated_inputs, simulated_rows
from train.training.loop import ComputeTarget, Trainer


def test_the_simulated_corpus_has_iemocaps_shape() -> None:
    """10,039 utterances, 1,084 of them sad, mean 4.55 s, median 3.58 s, six of ten longer than 3 s."""
    rows = simulated_rows(10_039)
    durations = np.array([row.duration_s for row in rows])

    assert (len(rows), sum(row.sad for row in rows)) == (10_039, 1084)
    assert durations.mean() == pytest.approx(4.55, abs=0.15)
    assert np.median(durations) == pytest.approx(3.58, abs=0.15)
    assert (durations > 3.0).mean() == pytest.approx(0.60, abs=0.03)


def test_the_simulated_inputs_have_the_shapes_of_the_real_ones() -> None:
    preset = load_preset("thesis")
    rows = simulated_rows(100)

    assert simulated_inputs(rows, run_config(preset, "attention", "m")).audio.shape[1:] == (94, 128)  # type: ignore[union-attr]
    assert simulated_inputs(rows, run_config(preset, "whisper", "m")).audio.shape[1:] == (5, 50, 384)  # type: ignore[union-attr]
    assert simulated_inputs(rows, run_config(preset, "text", "m")).audio is None


def test_every_system_is_timed() -> None:
    preset = load_preset("thesis-small")
    found = measure(preset, 120, 2, ComputeTarget())

    assert [timing.system for timing in found.timings] == list(preset.systems)
    assert all(timing.epoch_s > 0 and timing.utterances_per_s > 0 for timing in found.timings)
    assert "s an epoch" in found.table()


@pytest.mark.parametrize("system", load_preset("thesis-small").systems)
def test_every_system_takes_a_step_in_bfloat16(system: str) -> None:
    """As with --amp on a GPU, here on the CPU: no layer is given numbers of two kinds, and weights stay float32."""
    config = run_config(load_preset("thesis-small"), system, "simulated")
    trainer = Trainer(simulated_inputs(simulated_rows(40), config), config, ComputeTarget("cpu", amp=True))
    before = {name: tensor.clone() for name, tensor in trainer.fusion.state_dict().items()}
    loss = trainer.step(torch.arange(8))

    assert math.isfinite(loss)
    after = trainer.fusion.state_dict()
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())
