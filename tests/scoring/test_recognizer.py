"""Words that may be invented never count; a number that is not one is a rejection."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sadstream.audio.filters.level import at_level
from sadstream.audio.segmenter import Segmenter
from sadstream.audio.sources.recording import Recording
from sadstream.base.samples import AudioFrame
from sadstream.cli.demo.play import scene_path
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.decoder import across, repeats
from sadstream.scoring.whisper.recognizer import Whisper
from sadstream.scoring.whisper.trust import Evidence, judge


@pytest.mark.parametrize(
    ("text", "looped", "no_speech", "logprob", "reason"),
    [
        ("Kids are talking by the door.", False, 0.02, -0.3, "none"),
        ("no, no, no", False, 0.02, -0.3, "none"),
        ("", False, 0.9, -0.1, "silence"),
        (" ... ", False, 0.1, -0.1, "silence"),
        ("Thank you.", False, 0.7, -1.2, "silence"),
        ("Words nobody said", False, 0.1, -1.6, "low-confidence"),
        ("by the door by the door by the door by the door by the door", False, 0.1, -0.2, "loop"),
        ("six " * 9, False, 0.1, -0.2, "loop"),
        ("a different word each time until the cap", True, 0.1, -0.2, "loop"),
        ("Anything", False, math.nan, -0.2, "low-confidence"),
        ("Anything", False, 0.1, math.nan, "low-confidence"),
        ("Anything", False, 0.1, -math.inf, "low-confidence"),
    ],
)
def test_a_transcript_is_judged(text: str, looped: bool, no_speech: float, logprob: float, reason: str) -> None:
    assert judge(Evidence(text, looped, no_speech, logprob)) == reason


@pytest.fixture(scope="module")
def whisper(real_models: None, layers: str) -> Whisper:
    return Whisper(locate("tiny.en", "whisper"), "cpu", "en")


@pytest.fixture(scope="module")
def utterances() -> torch.Tensor:
    """(n, 48000): the scene's segments."""
    segmenter = Segmenter(VadConfig(), SegmentConfig())
    items = Recording(scene_path()).listen(lambda: False)
    found = [segment for item in items if isinstance(item, AudioFrame) for segment in segmenter.feed(item)]
    return torch.stack([torch.from_numpy(at_level(segment.samples, -20.0)) for segment in found + segmenter.flush()])


@pytest.mark.models
def test_the_decoder_decides_as_openai_whisper_does_on_the_same_states(
    whisper: Whisper, utterances: torch.Tensor
) -> None:
    """Same tokens, same confidence, from Whisper's own 30-second encoder pass."""
    import whisper as openai_whisper

    options = openai_whisper.DecodingOptions(language="en", temperature=0.0, without_timestamps=True, fp16=False)
    with torch.inference_mode():
        for samples in utterances:
            mel = openai_whisper.log_mel_spectrogram(openai_whisper.pad_or_trim(samples))
            states = whisper._model.encoder(mel.unsqueeze(0))
            (expected,) = openai_whisper.decode(whisper._model, states, options)
            (found,) = whisper._decoder(states)

            assert list(found.tokens) == expected.tokens
            assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-3)
            assert found.no_speech == pytest.approx(expected.no_speech_prob, abs=1e-4)


@pytest.mark.models
def test_a_batch_is_decoded_like_its_members(whisper: Whisper, utterances: torch.Tensor) -> None:
    with torch.inference_mode():
        states, silence = whisper._cut_encoder(utterances), whisper._cut_encoder.silence()
        together = whisper._decoder(states, silence)
        alone = [whisper._decoder(one.unsqueeze(0), silence)[0] for one in states]

    assert [hypothesis.tokens for hypothesis in together] == [hypothesis.tokens for hypothesis in alone]


def test_a_segment_and_the_silence_behind_it_are_attended_to_as_one() -> None:
    torch.manual_seed(0)
    query, columns, values = torch.randn(3, 2, 4, 8), torch.randn(3, 2, 8, 5), torch.randn(3, 2, 5, 8)
    columns_behind, values_behind = torch.randn(1, 2, 8, 7), torch.randn(1, 2, 7, 8)
    joined = torch.cat([columns, columns_behind.expand(3, -1, -1, -1)], 3).transpose(2, 3)
    expected = scaled_dot_product_attention(query, joined, torch.cat([values, values_behind.expand(3, -1, -1, -1)], 2))

    torch.testing.assert_close(across(query, (columns, values), (columns_behind, values_behind)), expected)


@pytest.mark.models
def test_a_vocabulary_cut_to_what_is_asked_answers_as_the_whole_one(whisper: Whisper, utterances: torch.Tensor) -> None:
    """As the model is that is asked for languages alone."""
    cut, asked = Whisper(locate("tiny.en", "whisper"), "cpu", "en"), (whisper._tokenizer.sot, [11, 5, 40_000])
    cut._decoder.keep_tokens([5, asked[0], 11, 40_000])
    with torch.inference_mode():
        states = whisper._cut_encoder(utterances[:2]), whisper._cut_encoder.silence()
        assert torch.equal(cut._decoder.after(*asked, *states), whisper._decoder.after(*asked, *states))

    assert cut._model.decoder.token_embedding.weight.shape[0] == 4


@pytest.mark.models
def test_half_precision_as_on_a_gpu_hears_the_same_words(
    whisper: Whisper, utterances: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without packed layers, which a GPU has not, and with states in float16, here on the CPU."""
    monkeypatch.setattr("sadstream.scoring.weights.packed.can_pack", lambda: False)
    halved = Whisper(locate("tiny.en", "whisper"), "cpu", "en", half=True)
    with torch.inference_mode():
        found, expected = halved.transcribe(utterances[:2]), whisper.transcribe(utterances[:2])

    assert halved._cut_encoder(utterances[:1]).dtype == torch.float16
    assert [one.text for one in found] == [one.text for one in expected]


@pytest.mark.models
def test_cutting_the_silence_costs_no_words(whisper: Whisper, utterances: torch.Tensor) -> None:
    """The scene's sentences are heard from 250 positions and the cached tail as from 1,500."""
    with torch.inference_mode():
        said = " ".join(transcript.text.lower() for transcript in whisper.transcribe(utterances))

    assert said.count("by the door") >= 7


def test_the_library_comes_without_what_only_word_times_need() -> None:
    """121 MB; a later import of numba is the real one."""
    code = (
        "import sys; from sadstream.scoring.weights.openai_whisper import library; whisper = library();"
        "assert 'numba' not in sys.modules and 'scipy' not in sys.modules;"
        "assert whisper.timing.dtw_cpu is not None;"
        "import numba; assert numba.__version__"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


WITHOUT = """
import sys
from sadstream.cli.main import main
from sadstream.scoring.weights.origins.origin import official_whisper_urls

class Missing:
    def find_spec(name, path=None, target=None):
        if name in ("numba", "triton"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing)
assert official_whisper_urls()["tiny.en"].endswith("tiny.en.pt")
main(["score", "sadstream/cli/demo/scene/scene.flac"])
"""


@pytest.mark.models
def test_speech_is_scored_and_models_are_fetched_where_numba_and_triton_are_missing() -> None:
    """An installation as `make demo` makes it, 1.2 GB smaller."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("p_sad") > 5


@pytest.mark.parametrize(
    ("tokens", "looped"),
    [
        ([1, 2, 3], False),
        ([1, 1, 1], False),
        ([5, 1, 2, 1, 2], False),
        ([5, 1, 2, 1, 2, 1, 2], True),
        ([1, 2, 3] * 3, True),
    ],
)
def test_three_runs_are_a_loop_and_two_are_not(tokens: list[int], looped: bool) -> None:
    assert repeats(tokens) is looped
