"""However weights travel, one form and one identity come out, and no code in them ever runs."""

import os
from pathlib import Path

import pytest
from tiny_models import (
    DIMS,
    checkpoint,
    ct2_variables,
    model_bin,
    whisper_state,
)

from sadstream.base.errors import DataError
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.convert import from_ct2, from_pt


def test_an_official_checkpoint_and_its_conversion_have_one_identity(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(model_bin(ct2_variables(whisper_state())))

    one, other = from_pt(checkpoint(tmp_path / "x.pt"), "a"), from_ct2(path, "b")

    assert models.identity(one.tensors) == models.identity(other.tensors)
    assert one.config == other.config


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "ran"),))

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"dims": Evil(), "model_state_dict": {}}))

    with pytest.raises(DataError, match=r"evil\.pt: not an openai-whisper checkpoint") as caught:
        from_pt(path, "file")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_with_a_tensor_too_few_is_refused(tmp_path: Path) -> None:
    import torch

    state = {name: torch.from_numpy(array) for name, array in whisper_state().items()}
    del state["decoder.ln.bias"]
    torch.save({"dims": DIMS.as_json(), "model_state_dict": state}, tmp_path / "x.pt")

    with pytest.raises(DataError, match=r"1 tensors missing or unexpected for its dimensions, first decoder\.ln\.bias"):
        from_pt(tmp_path / "x.pt", "file")
