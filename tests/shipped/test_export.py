"""The exported file: both parts in one model, and a header that leaves nothing open."""

from pathlib import Path

import numpy as np
import torch

from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.header import FusionConfig, TextEncoderConfig, WhisperStatesConfig
from sadstream.scoring.fusion.network import Fusion
from train.metrics.calibration import PlattScaling
from train.metrics.detection import Interval
from train.shipped.export import AudioPart, HeaderTerms, TextPart, joined, licensed, write


def parts() -> tuple[AudioPart, TextPart]:
    torch.manual_seed(0)
    config = FusionConfig(front_end="states", n_frames=15, n_bands=8, n_layers=2, hidden=4, dropout=0.3)
    audio = WhisperStatesConfig(model="tiny.en", identity="a" * 64, layers=(1, 2), pool=10)
    voice = AudioPart(Fusion(config).eval(), audio, PlattScaling(scale=0.5, shift=0.1, cap=3.0))
    encoder = TextEncoderConfig(name="minilm", identity="b" * 64, pooling="mean", dim=6)
    return voice, TextPart(np.arange(6.0), encoder, PlattScaling(scale=0.3, shift=-0.2, cap=1.5))


def test_each_part_of_the_joined_model_is_what_it_was_alone() -> None:
    voice, text = parts()
    fusion = joined(voice, text)
    states, embedded, heard = torch.randn(3, 2, 15, 8), torch.randn(3, 6), torch.tensor([15, 9, 2])
    with torch.inference_mode():
        both = fusion.parts(states, embedded, heard)
        alone = voice.fusion.parts(states, None, heard)

    assert torch.allclose(both.audio, alone.audio, atol=1e-6)
    assert torch.allclose(both.text, embedded @ torch.arange(6.0), atol=1e-5)


def test_the_file_says_what_it_is_and_who_may_use_it(tmp_path: Path) -> None:
    voice, text = parts()
    figure = Interval(0.8, 0.7, 0.9, 500).metric("AUC", "a protocol")
    terms = HeaderTerms(
        prior=0.1, threshold=0.4, metrics=(figure,), provisional=False, corpora=("ravdess", "goemotions")
    )
    sha256 = write(tmp_path / "made.safetensors", voice, text, terms)
    loaded = checkpoint.load(tmp_path / "made.safetensors")

    assert loaded.sha256 == sha256
    assert loaded.header.licence == "CC BY-NC-SA 4.0"
    assert not loaded.header.commercial_use
    assert loaded.header.masked
    assert loaded.header.metrics == (figure,)
    assert loaded.header.calibration.text_cap == 1.5
    assert (loaded.header.prior, loaded.header.threshold) == (0.1, 0.4)
    assert all("RAVDESS" not in one or "01-15" in one for one in loaded.header.trained_on)


def test_one_corpus_that_forbids_it_forbids_it_to_the_whole() -> None:
    assert licensed(("cremad", "nemo", "goemotions"))[:2] == ("CC BY-NC-SA 4.0", False)
    assert licensed(("cremad", "goemotions"))[:2] == ("ODbL 1.0 and DbCL 1.0, CC BY 4.0", True)
    assert licensed(("cremad", "mine"))[:2] == ("not known", None)
    assert any("rebuilt from log-Mel pictures" in source for source in licensed(("cremad",))[2])


def test_the_same_parts_give_the_same_bytes(tmp_path: Path) -> None:
    terms = HeaderTerms(prior=0.1, threshold=0.4, metrics=(), provisional=False, corpora=("cremad",))

    assert write(tmp_path / "a", *parts(), terms) == write(tmp_path / "b", *parts(), terms)
