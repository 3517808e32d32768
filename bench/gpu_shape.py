"""A Whisper of `small.en`'s shape with random weights: what it costs is `small.en`'s, what it hears is nothing."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sadstream.scoring.weights.layouts.ctranslate2 import WhisperDimensions, expected_shape, tensor_names

SHAPE = "small.en's shape, random weights"
LAYERS = 12  # of encoder and decoder each
SPREAD = np.float32(0.02)
PERIOD = 1_000_003  # after which the numbers repeat: 244 million different ones would take seconds


def shaped(folder: Path, layers: int) -> Path:
    """The folder of such a model with so many layers; words of random weights run to the longest."""
    dims = WhisperDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=768,
        n_audio_head=12,
        n_audio_layer=layers,
        n_vocab=51_864,
        n_text_ctx=448,
        n_text_state=768,
        n_text_head=12,
        n_text_layer=layers,
    )
    there = folder / "small.en-shape"
    numbers = (SPREAD * np.random.default_rng(0).standard_normal(PERIOD, dtype=np.float32)).astype(np.float16)
    tensors = {name: np.resize(numbers, expected_shape(name, dims)) for name in sorted(tensor_names(dims))}
    there.mkdir()
    save_file(tensors, there / "model.safetensors")
    (there / "config.json").write_text(json.dumps(dims.as_json()))
    return there
