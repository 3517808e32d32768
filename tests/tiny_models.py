"""Models of a few hundred numbers, written as the real ones travel."""

import hashlib
import json
import struct
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from sadstream.scoring.fusion import torchaudio_library
from sadstream.scoring.weights.catalogue import ModelSpec
from sadstream.scoring.weights.convert import Payload
from sadstream.scoring.weights.layouts.ctranslate2 import WhisperDimensions, expected_shape, tensor_names
from sadstream.scoring.weights.origins.origin import FetchProgress

DIMS = WhisperDimensions(
    n_mels=4,
    n_audio_ctx=6,
    n_audio_state=4,
    n_audio_head=2,
    n_audio_layer=1,
    n_vocab=10,
    n_text_ctx=5,
    n_text_state=4,
    n_text_head=2,
    n_text_layer=2,
)

Tensors = dict[str, NDArray[Any]]


def whisper_state(dims: WhisperDimensions = DIMS, dtype: str = "<f2", seed: int = 0) -> Tensors:
    """Random tensors with the names and shapes of openai-whisper's state dict."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=expected_shape(name, dims)).astype(dtype) for name in sorted(tensor_names(dims))}


def ct2_variables(state: Tensors, dims: WhisperDimensions = DIMS) -> Tensors:
    """The same model under CTranslate2's names, fused as CTranslate2 fuses it."""
    variables: Tensors = {
        "decoder/embeddings/weight": state["decoder.token_embedding.weight"],
        "encoder/num_heads": np.array(dims.n_audio_head, "<i2"),
        "decoder/num_heads": np.array(dims.n_text_head, "<i2"),
        "decoder/pre_norm": np.array(1, "i1"),
    }
    for side, ours, layers in (("encoder", "ln_post", dims.n_audio_layer), ("decoder", "ln", dims.n_text_layer)):
        variables[f"{side}/position_encodings/encodings"] = state[f"{side}.positional_embedding"]
        variables |= _norm(f"{side}/layer_norm", state, f"{side}.{ours}")
        for i in range(layers):
            variables |= _ct2_block(f"{side}/layer_{i}", state, f"{side}.blocks.{i}", cross=side == "decoder")
    for name in ("conv1", "conv2"):
        variables |= _linear(f"encoder/{name}", state, f"encoder.{name}")
    return variables


def _norm(theirs: str, state: Tensors, ours: str) -> Tensors:
    return {f"{theirs}/gamma": state[f"{ours}.weight"], f"{theirs}/beta": state[f"{ours}.bias"]}


def _linear(theirs: str, state: Tensors, *ours: str) -> Tensors:
    weights = [state[f"{name}.weight"] for name in ours]
    biases = [state.get(f"{name}.bias", np.zeros(len(w), w.dtype)) for name, w in zip(ours, weights, strict=True)]
    return {f"{theirs}/weight": np.concatenate(weights), f"{theirs}/bias": np.concatenate(biases)}


def _ct2_block(theirs: str, state: Tensors, ours: str, cross: bool) -> Tensors:
    own, other = f"{ours}.attn", f"{ours}.cross_attn"
    block = _linear(f"{theirs}/self_attention/linear_0", state, f"{own}.query", f"{own}.key", f"{own}.value")
    block |= _linear(f"{theirs}/self_attention/linear_1", state, f"{own}.out")
    block |= _norm(f"{theirs}/self_attention/layer_norm", state, f"{ours}.attn_ln")
    if cross:
        block |= _linear(f"{theirs}/attention/linear_0", state, f"{other}.query")
        block |= _linear(f"{theirs}/attention/linear_1", state, f"{other}.key", f"{other}.value")
        block |= _linear(f"{theirs}/attention/linear_2", state, f"{other}.out")
        block |= _norm(f"{theirs}/attention/layer_norm", state, f"{ours}.cross_attn_ln")
    block |= _linear(f"{theirs}/ffn/linear_0", state, f"{ours}.mlp.0")
    block |= _linear(f"{theirs}/ffn/linear_1", state, f"{ours}.mlp.2")
    return block | _norm(f"{theirs}/ffn/layer_norm", state, f"{ours}.mlp_ln")


NUMBERS = {"<f4": 0, "|i1": 1, "<i2": 2, "<i4": 3, "<f2": 4}


def model_bin(
    variables: Tensors,
    *,
    version: int = 6,
    specification: str = "WhisperSpec",
    revision: int = 3,
    aliases: Sequence[tuple[str, str]] = (("decoder/projection/weight", "decoder/embeddings/weight"),),
    numbers: Mapping[str, int] | None = None,
) -> bytes:
    """These variables as CTranslate2's model.bin; `numbers` overrides the type written for a variable."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = struct.pack("<I", version) + text(specification) + struct.pack("<II", revision, len(variables))
    for name in sorted(variables):
        array = variables[name]
        number = (numbers or {}).get(name, NUMBERS[array.dtype.str])
        out += text(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        out += struct.pack("<BI", number, array.nbytes) + array.tobytes()
    out += struct.pack("<I", len(aliases))
    return out + b"".join(text(alias) + text(target) for alias, target in aliases)


SPEC = ModelSpec("test/tiny", "text", "MIT", hub="test/tiny")


def text_payload(seed: int = 0) -> Payload:
    """A text encoder's folder in memory; no library could run it, and none has to."""
    rng = np.random.default_rng(seed)
    tensors = {f"layer.{i}.weight": rng.normal(size=(4, 3)).astype("<f2") for i in range(3)}
    return Payload("test", b'{"hidden_size": 4}\n', tensors, {"vocab.txt": b"[PAD]\nsad\n"})


def whisper_payload(seed: int = 0) -> Payload:
    """A tiny Whisper model in memory."""
    return Payload("test", json.dumps(asdict(DIMS)).encode(), whisper_state(seed=seed), {})


class Bringing:
    """An origin that brings one payload and counts how often it was asked."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.asked = 0

    def __call__(self, _spec: ModelSpec, _work: Path, _progress: FetchProgress) -> Payload:
        self.asked += 1
        return replace(self.payload)


class NotedProgress:
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int, int | None]] = []

    def step(self, what: str, done: int, total: int | None) -> None:
        self.steps.append((what, done, total))

    def say(self, line: str) -> None:
        self.lines.append(line)


def transformers_folder(folder: Path, seed: int = 0) -> Path:
    """A text encoder as transformers saves it: float32, an integer buffer, files that must stay behind."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors: Tensors = {"layer.0.weight": rng.normal(size=(4, 3)).astype("<f4")}
    tensors["embeddings.position_ids"] = np.arange(4)
    (folder / "model.safetensors").write_bytes(save(tensors))
    (folder / "config.json").write_text('{"hidden_size": 4}')
    (folder / "vocab.txt").write_text("[PAD]\nsad\n")
    (folder / "README.md").write_text("stays behind")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody opens")
    return folder


def wheel(folder: Path, requirement: str, files: Mapping[str, bytes]) -> Path:
    """A wheel of name==version with these files."""
    name, version = requirement.split("==")
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
    return path


def checkpoint(path: Path) -> Path:
    """The tiny Whisper model as openai-whisper publishes its own."""
    import torch

    state = {name: torch.from_numpy(array) for name, array in whisper_state().items()}
    torch.save({"dims": DIMS.as_json(), "model_state_dict": state}, path)
    return path


END_OF_TEXT = 50256  # of English


def saved_whisper() -> Any:
    """transformers' own Whisper, English, distilled, random, of weights that float16 holds exactly."""
    import torch

    torchaudio_library.usable()  # which transformers imports
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=51864,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        bos_token_id=END_OF_TEXT,
        eos_token_id=END_OF_TEXT,
        pad_token_id=END_OF_TEXT,
        decoder_start_token_id=END_OF_TEXT + 1,
    )
    model = WhisperForConditionalGeneration(config).eval()
    for tensor in model.parameters():
        scale = 8.0 if tensor.ndim > 1 else 1.0  # as they are made nothing would be heard in anything
        tensor.data = (tensor.data * scale).half().float()
    return model


class Server:
    """Serves one file on this machine; with `cut` each answer ends after so many bytes."""

    def __init__(self, content: bytes, cut: int | None = None, ranges: bool = True) -> None:
        self.ranges_asked: list[str | None] = []
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.ranges_asked.append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start : start + cut if cut else None])

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        digest = hashlib.sha256(content).hexdigest()
        self.url = f"http://127.0.0.1:{self.server.server_port}/{digest}/small.pt"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
