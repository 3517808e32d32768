"""A run hears a Whisper of others as the daemon does, so that its checkpoint says which one."""

from pathlib import Path

import pytest
import torch
from tiny_models import saved_whisper

from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.locate import locate
from train.features.encoders import load
from train.presets import AudioSource


@pytest.mark.usefixtures("root")
def test_a_folder_as_transformers_saves_it_gives_states_that_can_be_exported(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    saved_whisper().save_pretrained(folder)

    encoder = load(AudioSource(encoder=str(folder), pool=10), "cpu")

    assert encoder(torch.zeros(2, 48_000)).shape == (2, 3, 15, 16)
    assert encoder.exported is not None
    assert models.verify(locate(encoder.exported.model, "whisper")).identity == encoder.exported.identity
