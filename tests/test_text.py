"""The text encoder gives the embedding that the checkpoint names, or refuses."""

import pytest
import torch

from sadstream import models
from sadstream.errors import UnavailableError
from sadstream.header import TextEncoderConfig
from sadstream.text import TextEncoder

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("real_models")]


def encoder(pooling: str = "mean", identity: str = "") -> TextEncoder:
    config = TextEncoderConfig(name="minilm", identity=identity, pooling=pooling, dim=384)  # type: ignore[arg-type]
    return TextEncoder(models.locate("minilm", "text"), config, "cpu")


def test_sentences_of_one_meaning_are_near() -> None:
    with torch.inference_mode():
        sad, sadder, cooking = torch.nn.functional.normalize(
            encoder()(["I feel so sad today.", "I am very unhappy.", "Boil the pasta for nine minutes."])
        )

    assert float(sad @ sadder) > 0.4
    assert float(sad @ cooking) < 0.2


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_batch_is_embedded_like_its_members(pooling: str) -> None:
    texts = ["no", "I feel so sad today.", "Boil the pasta for nine minutes and then serve it."]
    encode = encoder(pooling)
    with torch.inference_mode():
        batch = encode(texts)
        alone = torch.cat([encode([text]) for text in texts])

    assert batch.shape == (3, 384)
    assert torch.allclose(batch, alone, atol=1e-5)


def test_another_encoder_than_the_checkpoints_is_refused() -> None:
    with pytest.raises(UnavailableError, match="was trained with minilm deadbeef"):
        encoder(identity="deadbeef")
