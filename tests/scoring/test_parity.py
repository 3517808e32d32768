"""Every fast path decides as the plain path does: words equal in 995 of 1,000 segments, scores within 0.02.

Plain: float32 weights in openai-whisper's own decoder, transformers' text encoder, the silence behind joined to the
states of each segment, one segment at a time. Fast: packed weights, cached keys and values of the silence, our decoder,
batches of four.
Speech comes from PARITY_SPEECH, folders with a `manifest.csv` (path, split or none) joined by colons;
PARITY_SEGMENTS of them are drawn (0: all), of PARITY_SHARD of the recordings ("2/6": each sixth, from the 2nd).
Words are those that may count. A loop's count in neither way: ours leaves it at its third run, the plain one goes on.
"""

import csv
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sadstream.audio.segmenter import Segment, Segmenter
from sadstream.audio.sources.recording import Recording
from sadstream.base.samples import AudioFrame
from sadstream.config import Config
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.text.encoder import any_states
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.weights.store import load_tensors
from sadstream.scoring.whisper.decoder import ENCODED_POSITIONS, FULL_POSITIONS, POSITION_SAMPLES, Hypothesis

SPEECH = [Path(folder) for folder in os.environ.get("PARITY_SPEECH", "").split(":") if folder]
SEGMENTS = int(os.environ.get("PARITY_SEGMENTS", "0"))
SHARD, SHARDS = (int(part) for part in os.environ.get("PARITY_SHARD", "1/1").split("/"))
BATCH = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.models,
    pytest.mark.usefixtures("real_models"),
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(not SPEECH, reason="no speech: PARITY_SPEECH names no folder with a manifest.csv"),
]


def recordings() -> list[Path]:
    """All of them, or where a folder is split, those of its development speakers."""
    found = []
    for folder in SPEECH:
        with (folder / "manifest.csv").open(newline="") as file:
            found += [folder / row["path"] for row in csv.DictReader(file) if row.get("split", "dev") == "dev"]
    return found


def segments() -> Iterator[Segment]:
    """The daemon's own segments of recordings in random order."""
    paths = recordings()
    random.Random(0).shuffle(paths)
    for path in paths[SHARD - 1 :: SHARDS]:
        segmenter = Segmenter(VadConfig(), SegmentConfig())
        for item in Recording(path).listen(lambda: False):
            if isinstance(item, AudioFrame):
                yield from segmenter.feed(item)
        yield from segmenter.flush()


def plain_analyzer() -> Analyzer:
    """The analyser without any of its short cuts."""
    import whisper as openai_whisper

    fast = load_models(Config.model_validate({"whisper": {"linguist": "off"}}))
    words = fast.whisper
    assert words is not None
    loaded = load_tensors(locate("tiny.en", "whisper"))
    model = openai_whisper.model.Whisper(openai_whisper.model.ModelDimensions(**loaded.config))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in loaded.tensors.items()})
    model.eval().requires_grad_(False)
    options = openai_whisper.DecodingOptions(
        language="en", temperature=0.0, without_timestamps=True, fp16=False, sample_len=48
    )

    silence = _encoded(model, openai_whisper, torch.zeros(1, FULL_POSITIONS * POSITION_SAMPLES))

    def encode(samples: torch.Tensor) -> torch.Tensor:
        short = torch.nn.functional.pad(samples, (0, ENCODED_POSITIONS * POSITION_SAMPLES - samples.shape[1]))
        return torch.cat([_encoded(model, openai_whisper, short), silence[:, ENCODED_POSITIONS:]], dim=1)

    def decode(states: torch.Tensor, _silence: torch.Tensor) -> list[Hypothesis]:
        (found,) = openai_whisper.decode(model, states, options)
        cut = len(found.tokens) >= options.sample_len
        return [Hypothesis(tuple(found.tokens), found.no_speech_prob, found.avg_logprob, cut)]

    words._cut_encoder = type("Plain", (), {"__call__": lambda _, x: encode(x), "silence": lambda _: torch.zeros(0)})()
    words._decoder = decode  # type: ignore[assignment]
    states = type(words)(locate("tiny.en", "whisper"), "cpu", "en")
    states._model = model
    assert fast.text_encoder is not None
    directory = locate("minilm", "text")
    fast.text_encoder._states = any_states(directory, load_tensors(directory), "cpu")
    return Analyzer(replace(fast, state_whisper=states))


def _encoded(model: torch.nn.Module, openai_whisper: object, samples: torch.Tensor) -> torch.Tensor:
    from sadstream.scoring.whisper.decoder import convolved, log_mels

    x = convolved(model.encoder, log_mels(openai_whisper.log_mel_spectrogram, samples, 80))  # type: ignore[attr-defined]
    for block in model.encoder.blocks:  # type: ignore[union-attr]
        x = block(x)
    encoded: torch.Tensor = model.encoder.ln_post(x)  # type: ignore[operator, union-attr]
    return encoded


def counting_words(analysis: Analysis) -> str:
    """What reaches the text branch."""
    return analysis.transcript.text if analysis.transcript.kept else ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Whisper leaves its vocabulary open
def test_the_fast_path_decides_as_the_plain_path_does() -> None:
    plain = plain_analyzer()
    fast = Analyzer(load_models(Config.model_validate({"whisper": {"linguist": "off"}})))
    n = looped = same_words = within = same_decision = 0
    worst = 0.0
    waiting: list[Segment] = []
    for segment in segments():
        waiting.append(replace(segment, number=n + len(waiting)))
        if len(waiting) < BATCH:
            continue
        for one, found in zip(waiting, fast.many(waiting), strict=True):
            expected = plain(one)
            if isinstance(found, Analysis) and isinstance(expected, Analysis):
                n += 1
                looped += found.transcript.reason == "loop"
                same_words += counting_words(found) == counting_words(expected)
                within += abs(found.p_sad - expected.p_sad) <= 0.02
                same_decision += found.sad == expected.sad
                worst = max(worst, abs(found.p_sad - expected.p_sad))
        waiting.clear()
        if SEGMENTS and n >= SEGMENTS:
            break

    print(f"\n{n} segments, {looped} looped: words equal in {same_words}, scores within 0.02 in {within}, "
          f"decisions equal in {same_decision}; worst difference {worst:.4f}")  # fmt: skip
    assert n > 0
    assert same_words >= 0.995 * n
    assert within >= 0.99 * n
    assert same_decision >= 0.99 * n
