"""A Whisper checkpoint as transformers saves it hears what transformers makes it hear, or is refused in one line."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import END_OF_TEXT, saved_whisper

from sadstream.base.errors import UnavailableError
from sadstream.scoring.fusion import torchaudio_library
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.fetch import fetch
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.recognizer import Whisper

START = [50257, 50362]  # English: start of transcript, no timestamps


@pytest.fixture(scope="module")
def original() -> Any:
    return saved_whisper()


@pytest.fixture(scope="module")
def saved(original: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "checkpoint-500"
    original.save_pretrained(folder)
    return folder


@pytest.fixture
def own(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoint-500"))


def changed(folder: Path, **config: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


def refused(folder: Path) -> str:
    with pytest.raises(UnavailableError) as caught:
        locate(str(folder), "whisper")
    assert "\n" not in str(caught.value)
    assert models.folders() == ()
    return str(caught.value)


def sound() -> torch.Tensor:
    return 0.1 * torch.randn(2, 48_000, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("root")
def test_it_hears_and_says_what_transformers_does(original: Any, saved: Path) -> None:
    torchaudio_library.usable()  # which transformers imports
    from transformers import GenerationMixin, WhisperFeatureExtractor
    from transformers.modeling_outputs import BaseModelOutput

    ours = Whisper(locate(str(saved), "whisper"), "cpu", "en")
    mel = WhisperFeatureExtractor()([*sound().numpy()], sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        expected = original.model.encoder(mel).last_hidden_state
        found = ours._cut_encoder._encode(sound(), 1500)
        hypotheses = ours._decoder(found)
        silent = torch.isinf(ours._decoder._suppress)
        said = GenerationMixin.generate(
            original,
            encoder_outputs=BaseModelOutput(expected),
            decoder_input_ids=torch.tensor([START, START]),
            max_new_tokens=48,
            do_sample=False,
            suppress_tokens=silent.nonzero()[:, 0].tolist(),
            begin_suppress_tokens=[220, END_OF_TEXT],
        )

    assert expected.std() > 0.1  # of states that differ from one another
    assert (found - expected).abs().max() < 1e-4
    for hypothesis, tokens in zip(hypotheses, said.tolist(), strict=True):
        assert len(hypothesis.tokens) > 1
        assert tokens[2:][: len(hypothesis.tokens)] == list(hypothesis.tokens)  # ours stops where it repeats itself


@pytest.mark.usefixtures("root")
def test_it_is_converted_once_and_found_by_its_path_and_by_its_name(saved: Path, tmp_path: Path) -> None:
    folder = locate(str(saved), "whisper")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    moved = Path(shutil.copytree(saved, tmp_path / "elsewhere" / saved.name))

    assert folder.name.startswith("whisper-checkpoint-500-")
    assert models.verify(folder).source == "folder:checkpoint-500"
    assert locate(str(moved), "whisper") == folder
    assert locate(folder.name.removeprefix("whisper-"), "whisper") == folder
    assert fetch([str(saved)])[0].directory == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.usefixtures("root")
def test_other_weights_of_the_same_name_are_another_model(saved: Path, own: Path) -> None:
    tensors = load_file(own / "model.safetensors")
    tensors["model.encoder.conv1.bias"] = tensors["model.encoder.conv1.bias"] + 1.0
    save_file(tensors, own / "model.safetensors")

    assert locate(str(own), "whisper") != locate(str(saved), "whisper")


@pytest.mark.parametrize("how", ["shards", "torch", "half", "without the head"])
@pytest.mark.usefixtures("root")
def test_however_it_was_saved_it_is_the_same_model(original: Any, saved: Path, tmp_path: Path, how: str) -> None:
    tensors, folder = load_file(saved / "model.safetensors"), tmp_path / "model"
    if how == "shards":
        original.save_pretrained(folder, max_shard_size="1MB")
        assert (folder / "model.safetensors.index.json").is_file()
    else:
        folder.mkdir()
        shutil.copy(saved / "config.json", folder)
    if how == "torch":
        torch.save(tensors, folder / "pytorch_model.bin")
    elif how == "half":
        save_file({name: tensor.half() for name, tensor in tensors.items()}, folder / "model.safetensors")
    elif how == "without the head":
        save_file({name.removeprefix("model."): t for name, t in tensors.items()}, folder / "model.safetensors")

    found = models.verify(locate(str(folder), "whisper"))

    assert found.identity == models.verify(locate(str(saved), "whisper")).identity


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"model_type": "wav2vec2"}, "model_type 'wav2vec2': expected 'whisper'"),
        ({"num_mel_bins": 64}, "num_mel_bins 64: expected 80 or 128"),
        ({"vocab_size": 51900}, "vocab_size 51900: expected 51864 or 51865 or 51866"),
        ({"max_source_positions": 750}, "max_source_positions 750: expected 1500"),
        ({"encoder_attention_heads": 3}, "encoder_attention_heads 3: expected 1 or 2 or 4 or 8 or 16"),
        ({"decoder_layers": "two"}, "decoder_layers 'two': expected 1 to 64"),
        ({"activation_function": "relu"}, "expected activation_function 'gelu'"),
        ({"decoder_layers": 2}, "tensors missing, first decoder.blocks.1"),
        ({"encoder_layers": 1}, "tensors that config.json does not account for, first encoder.blocks.1"),
        ({"vocab_size": 51865}, r"token_embedding.weight has shape \(51864, 16\): expected \(51865, 16\)"),
    ],
)
@pytest.mark.usefixtures("root")
def test_what_cannot_be_used_is_named_and_nothing_installed(own: Path, config: dict[str, Any], complaint: str) -> None:
    changed(own, **config)

    assert re.search(complaint, refused(own))


@pytest.mark.usefixtures("root")
def test_damaged_and_missing_files_are_named(own: Path) -> None:
    weights = own / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    assert f"{weights}: damaged, or no weights" in refused(own)
    weights.unlink()
    assert "no model.safetensors and no pytorch_model.bin" in refused(own)
    (own / "pytorch_model.bin").write_bytes(b"\x80\x04garbage")
    assert f"{own / 'pytorch_model.bin'}: damaged, or no weights" in refused(own)
    (own / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../other.safetensors"}}')
    assert "expected files of this folder" in refused(own)
    (own / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part.safetensors"}}')
    assert "part.safetensors: missing" in refused(own)


@pytest.mark.usefixtures("root")
def test_a_pickle_that_would_run_code_is_refused(own: Path, tmp_path: Path) -> None:
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "ran"),))

    (own / "model.safetensors").unlink()
    (own / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))

    assert "damaged, or no weights" in refused(own)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("word", "number"), [("<|startoftranscript|>", 50258), ("Ġsad", 7)])
@pytest.mark.usefixtures("root")
def test_a_vocabulary_of_its_own_is_refused(own: Path, word: str, number: int) -> None:
    (own / "vocab.json").write_text(json.dumps({word: number}))

    assert f"its tokenizer says {number} for {word!r}: expected" in refused(own)


@pytest.mark.usefixtures("root")
def test_an_output_layer_of_its_own_is_refused(own: Path) -> None:
    tensors = load_file(own / "model.safetensors")
    save_file(
        tensors | {"proj_out.weight": tensors["model.decoder.embed_tokens.weight"] + 1}, own / "model.safetensors"
    )

    assert "proj_out.weight is not the embedding of the words" in refused(own)
