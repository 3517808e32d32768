"""A voice's embedding says whose it is, whatever the level, by weights that are what they claim."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import DataError, SadstreamError, UnavailableError
from sadstream.base.samples import AudioFrame
from sadstream.cli.demo.play import scene_path
from sadstream.config import Config
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.speakers.encoder import NAME, SpeakerEncoder
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.convert import GE2E_SHAPES, from_ge2e
from sadstream.scoring.weights.locate import locate

SPEAKERS = (17, 16, 18, 17, 0, 16, 18, 17, 18)  # of the scene's segments; 17 is neutral, sad and happy; 0: a fan


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    try:
        models.verify(locate(NAME, "speaker"))
    except SadstreamError as error:
        pytest.skip(str(error))
    return SpeakerEncoder(locate(NAME, "speaker"))


def utterances() -> list[Segment]:
    """The scene's segments."""
    segmenter = Segmenter(VadConfig(), SegmentConfig())
    items = Recording(scene_path()).listen(lambda: False)
    found = [segment for item in items if isinstance(item, AudioFrame) for segment in segmenter.feed(item)]
    return found + segmenter.flush()


@pytest.mark.models
def test_a_print_has_length_one_and_does_not_know_the_level(encoder: SpeakerEncoder) -> None:
    heard = utterances()[0].heard
    loud, quiet = encoder(heard), encoder(heard * np.float32(0.05))

    assert loud.shape == (256,)
    assert float(np.linalg.norm(loud)) == pytest.approx(1.0, abs=1e-5)
    assert float(loud @ quiet) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.models
def test_a_neutral_voice_is_known_again_sad_and_happy_and_nobody_else_is_taken_for_it(encoder: SpeakerEncoder) -> None:
    embeddings = [encoder(segment.heard) for segment in utterances()]
    cosine = [float(embeddings[0] @ other) for other in embeddings]

    assert [value >= Config().voice.match for value in cosine] == [who == 17 for who in SPEAKERS]


def saved(path: Path, **changes: torch.Tensor) -> Path:
    state = {name: torch.zeros(shape) for name, shape in GE2E_SHAPES.items()} | changes
    torch.save({"model_state": state, "step": 1}, path)
    return path


def test_weights_as_their_makers_save_them_are_taken_without_the_rest(tmp_path: Path) -> None:
    payload = from_ge2e(saved(tmp_path / "x.pt", similarity_bias=torch.zeros(1)), "test")

    assert set(payload.tensors) == set(GE2E_SHAPES)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected an LSTM"):
        from_ge2e(saved(tmp_path / "x.pt", **{"linear.bias": torch.zeros(7)}), "test")
    (tmp_path / "y.pt").write_bytes(b"no weights")
    with pytest.raises(DataError, match="not a speaker encoder"):
        from_ge2e(tmp_path / "y.pt", "test")


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(UnavailableError, match="expected a speaker encoder"):
        SpeakerEncoder(locate("minilm", "text"))
