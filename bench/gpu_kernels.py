"""The part of `bench/gpu.py` that asks whether torch.compile and CUDA graphs pay: fusion model, Whisper's encoder."""

import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from typing import Any

import torch
from gpu_speech import analyzer
from gpu_table import NEEDS, NOT_HERE, Bench, Line, Part, Reading, attempt, median
from torch import Tensor

from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import settle
from sadstream.scoring.fusion.header import WhisperStatesConfig
from sadstream.scoring.whisper.decoder import ENCODED_POSITIONS, convolved

WAYS = ("as it is", "torch.compile", "CUDA graph")
SIZES = (1, 16)
MODELS = ("fusion", "encoder")
WARM_UPS = 3
REPEATS = 5  # for each of the scale's

Call = Callable[[], Any]


def line_of(model: str, size: int, way: str) -> str:
    """What a line is called."""
    return f"{model}, batch of {size}, {way}"


def lines() -> list[Line]:
    """One for each model, size and way."""
    return [Line(line_of(*one), "ms") for one in product(MODELS, SIZES, WAYS)]


def kernels(bench: Bench) -> Iterator[Reading]:
    """Each by itself: what cannot be captured says so and stops no other."""
    ready = analyzer(bench.device, bench.scale.parity_model, bench.scale.shape_layers)
    repeats = REPEATS * bench.scale.repeats
    for model, size, way in product(MODELS, SIZES, WAYS):
        what = line_of(model, size, way)

        def measure(what: str = what, model: str = model, size: int = size, way: str = way) -> Reading:
            return median(what, call_ms(call_of(ready, model, size, way), bench.device, repeats))

        why = lacking(bench, size, way)
        yield Reading(what, note=why) if why else attempt(what, measure)


def lacking(bench: Bench, size: int, way: str) -> str:
    """Why this is not to be measured here, or nothing."""
    if size not in bench.scale.batches:
        return NOT_HERE
    if way != WAYS[0] and bench.device == "cpu":
        return NEEDS
    if way == "torch.compile" and find_spec("triton") is None:
        return "triton is not installed"
    if way == "torch.compile" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return "needs a C compiler"
    return ""


def call_of(ready: Analyzer, model: str, size: int, way: str) -> Call:
    """The model on inputs that stay where they are, as a graph needs them."""
    function, inputs = (fusion if model == "fusion" else encoder)(ready, size)
    if way == "torch.compile":
        compiled = torch.compile(function)
        return lambda: compiled(*inputs)
    if way == "CUDA graph":
        return captured(lambda: function(*inputs))
    return lambda: function(*inputs)


def captured(call: Call) -> Call:
    """A call as one CUDA graph, recorded after it was warm on a stream of its own."""
    aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    with torch.inference_mode(), torch.cuda.graph(graph):
        kept = call()
    return lambda: (graph.replay(), kept)  # what it writes to must outlive it


def fusion(ready: Analyzer, size: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The fusion model's parts of sound and words, and random inputs for it."""
    models = ready.models
    shape, device = models.fusion.config, models.device
    audio = torch.randn(size, shape.n_frames, shape.n_bands, device=device)
    if isinstance(models.header.audio, WhisperStatesConfig):
        audio = torch.randn(size, shape.n_layers, shape.n_frames, shape.n_bands, device=device)
    text = torch.randn(size, shape.text_dim, device=device) if shape.text_dim else None
    heard = torch.full((size,), shape.n_frames, device=device) if models.header.masked else None
    return lambda *given: models.fusion.parts(*given).logit, (audio, text, heard)


def encoder(ready: Analyzer, size: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Whisper's encoder as words are heard with it, from log-Mels on."""
    assert ready.models.whisper is not None
    model = ready.models.whisper._model
    half = ready.models.device == "cuda"
    mel = torch.randn(size, model.dims.n_mels, 2 * ENCODED_POSITIONS, device=ready.models.device)

    def states(mel: Tensor) -> Tensor:
        x = convolved(model.encoder, mel)
        for block in model.encoder.blocks:
            x = block(x)
        return model.encoder.ln_post(x)

    return states, (mel.half() if half else mel,)


def call_ms(call: Call, device: str, repeats: int) -> list[float]:
    """Milliseconds of each repeat, to the end of what it set going."""
    found = []
    with torch.inference_mode():
        for _ in range(WARM_UPS + repeats):
            settle(device)
            start = time.perf_counter()
            call()
            settle(device)
            found.append(1000 * (time.perf_counter() - start))
    return found[WARM_UPS:]


KERNELS = Part("compile", lines, kernels)
