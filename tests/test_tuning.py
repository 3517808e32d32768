"""The tuned layers: only the top ones move, what is planted is learned, and the same seed gives the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import text_encoder

from sadstream.errors import UnavailableError
from sadstream.header import TextEncoderConfig
from sadstream.models import load_tensors
from sadstream.text import TextEncoder
from train.phrases import Line
from train.tuning import TuningConfig, tune

CONFIG = TuningConfig(layers=1, steps=60, batch=16, learning_rate=1e-2, head_rate=1e-1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def lines() -> list[Line]:
    """Whoever misses her is sad; whoever waits for the bus is not."""
    made = []
    for i in range(80):
        corpus, sad = ("meld", "goemotions")[i // 2 % 2], i % 2
        text = "I miss her so" if sad else "the bus is gone"
        made.append(Line(text, corpus, "sadness" if sad else "joy", sad, f"d{i}", "train"))
    return made


def embedded(encoder: Path, tuned: dict[str, torch.Tensor] | None, layers: int) -> np.ndarray:
    config = TextEncoderConfig(name="tiny", identity="", pooling="mean", dim=16, tuned_layers=layers)
    with torch.inference_mode():
        return TextEncoder(encoder, config, "cpu", tuned)(["I miss her so", "the bus is gone"]).numpy()


def test_what_is_planted_is_learned_and_the_daemons_encoder_says_the_same(encoder: Path) -> None:
    tuned = tune(encoder, lines(), (2, 10), CONFIG, seed=0)

    sad, other = embedded(encoder, tuned.layers, 1) @ tuned.weights
    assert sad > other + 1.0
    assert not np.allclose(embedded(encoder, tuned.layers, 1), embedded(encoder, None, 0))


def test_only_the_top_layers_move_and_the_same_seed_gives_the_same(encoder: Path) -> None:
    first, second = (tune(encoder, lines(), (2, 10), CONFIG, seed=3) for _ in range(2))

    assert all(name.startswith("encoder.layer.0.") for name in first.layers)
    assert set(first.layers) <= set(load_tensors(encoder).tensors)
    assert all(torch.equal(first.layers[name], second.layers[name]) for name in first.layers)
    assert (first.weights == second.weights).all()


def test_layers_of_another_encoder_are_refused_in_a_line(encoder: Path) -> None:
    with pytest.raises(UnavailableError, match=r"does not have: encoder\.layer\.7"):
        embedded(encoder, {"encoder.layer.7.output.dense.bias": torch.zeros(16)}, 1)
