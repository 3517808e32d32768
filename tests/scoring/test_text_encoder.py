"""The text encoder gives the embedding that the checkpoint names, or refuses."""

import subprocess
import sys

import pytest
import torch

from sadstream.base.errors import UnavailableError
from sadstream.scoring.fusion.header import TextEncoderConfig
from sadstream.scoring.text.encoder import TextEncoder, any_states, plain_states
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.locate import locate

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("real_models")]


def encoder(pooling: str = "mean", identity: str = "", device: str = "cpu") -> TextEncoder:
    config = TextEncoderConfig(name="minilm", identity=identity, pooling=pooling, dim=384)  # type: ignore[arg-type]
    return TextEncoder(locate("minilm", "text"), config, device)


@pytest.mark.usefixtures("layers")
def test_sentences_of_one_meaning_are_near() -> None:
    with torch.inference_mode():
        sad, sadder, cooking = torch.nn.functional.normalize(
            encoder()(["I feel so sad today.", "I am very unhappy.", "Boil the pasta for nine minutes."])
        )

    assert float(sad @ sadder) > 0.4
    assert float(sad @ cooking) < 0.2


@pytest.mark.usefixtures("layers")
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


def test_on_another_device_no_layer_is_packed_and_none_stays_behind() -> None:
    """PyTorch's own device without memory stands for a GPU: packed layers know neither."""
    found = encoder(device="meta")(["no", "I feel so sad today."])

    assert (found.device.type, found.shape) == ("meta", (2, 384))


@pytest.mark.usefixtures("layers")
def test_our_own_forward_pass_says_what_transformers_says() -> None:
    """Same tokens, same states, for a sentence alone, a long one that is cut, none at all, and all of them together."""
    directory = locate("minilm", "text")
    loaded = models.load_tensors(directory)
    texts = ["I feel so sad today.", "", "Zażółć gęślą jaźń \N{SNOWMAN} 3.5%", "no, no, no! " * 60]
    ours, theirs = plain_states(directory, loaded, "cpu"), any_states(directory, loaded, "cpu")
    with torch.inference_mode():
        for batch in ([texts[0]], texts):
            (states, mask), (expected, expected_mask) = ours(batch), theirs(batch)

            assert torch.equal(mask, expected_mask)
            where = mask.bool()
            torch.testing.assert_close(states[where], expected[where], atol=2e-5, rtol=0)


def test_the_default_encoder_asks_nothing_of_transformers() -> None:
    """Its import costs 3 s and 230 MB."""
    code = (
        "from sadstream.scoring.weights.locate import locate; from sadstream.scoring.text import encoder as text; "
        "from sadstream.scoring.fusion import header; c = header.TextEncoderConfig(name='minilm', identity='', "
        "pooling='mean', dim=384); text.TextEncoder(locate('minilm', 'text'), c, 'cpu')(['so sad']); "
        "import sys; print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
