"""Reads a Whisper checkpoint as transformers saves it, as the tensors that openai-whisper expects.

Fine-tuned and distilled ones too: any number of layers, as long as words are numbered as openai's are.
"""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sadstream.base.errors import DataError
from sadstream.base.json_text import parsed
from sadstream.scoring.weights.layouts import ctranslate2 as ct2
from sadstream.scoring.weights.layouts.ctranslate2 import WhisperDimensions
from sadstream.scoring.weights.openai_whisper import library

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
SAFE, UNSAFE = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"  # after either name: in which of several files each tensor lies

N_MELS = (80, 128)  # openai-whisper has filters for these
POSITIONS = 1500  # of the 30 s that the decoder was taught to attend to
LEAST_TOKENS = 64  # a segment's words and what stands before them
VOCABULARIES = (51864, 51865, 51866)  # English; 99 languages; 100
LAYERS = range(1, 65)

PARTS = {
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query",
    "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
}
WHOLE = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "encoder.layer_norm.weight": "encoder.ln_post.weight",
    "encoder.layer_norm.bias": "encoder.ln_post.bias",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.layer_norm.weight": "decoder.ln.weight",
    "decoder.layer_norm.bias": "decoder.ln.bias",
}
OUTPUT = "proj_out.weight"  # the embedding once more, where it was saved


def is_saved(folder: Path, kind: str = "") -> bool:
    """The folder holds a model as transformers saves one, of this kind or of whatever kind."""
    try:
        config = parsed((folder / CONFIG).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "model_type" in config and kind in ("", config["model_type"])


def fingerprint(folder: Path) -> str:
    """8 hex digits of the files that the weights come from; DataError for no Whisper, or files that are not there."""
    _dims(folder / CONFIG, _json(folder / CONFIG))
    files = (folder / CONFIG, *_weight_files(folder))
    try:
        return _fingerprint(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from None


@cache
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Once a process: a model is looked for several times at a start."""
    digest = sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]


def read(folder: Path) -> "tuple[WhisperDimensions, dict[str, torch.Tensor]]":
    """Dimensions and tensors, named and shaped as `whisper.model.Whisper(dims).state_dict()`.

    DataError for another architecture, dimensions or vocabulary, a tensor missing or left over, a damaged file.
    """
    config = _json(folder / CONFIG)
    dims = _dims(folder / CONFIG, config)
    _check_words(folder, dims)
    stored: dict[str, torch.Tensor] = {}
    for path in _weight_files(folder):
        stored |= _tensors(path)
    stored = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    output = stored.pop(OUTPUT, None)
    tensors = {_ours(name): tensor for name, tensor in stored.items()}
    names = ct2.tensor_names(dims)
    if missing := sorted(names - set(tensors)):
        raise DataError(f"{folder}: {len(missing)} tensors missing, first {missing[0]}: expected encoder and decoder")
    if odd := sorted(set(tensors) - names):
        raise DataError(f"{folder}: {len(odd)} tensors that {CONFIG} does not account for, first {odd[0]}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != (expected := ct2.expected_shape(name, dims)):
            raise DataError(f"{folder}: {name} has shape {tuple(tensor.shape)}: expected {expected}")
    if output is not None and not output.equal(tensors["decoder.token_embedding.weight"]):
        raise DataError(f"{folder}: {OUTPUT} is not the embedding of the words: expected them tied, as Whisper's are")
    return dims, tensors


def _dims(path: Path, config: Mapping[str, Any]) -> WhisperDimensions:
    if config.get("model_type") != "whisper":
        raise DataError(f"{path}: model_type {config.get('model_type')!r}: expected 'whisper'")

    def number(key: str, expected: Any = None) -> int:
        value = config.get(key)
        wanted = range(1, 1 << 20) if expected is None else expected
        if not isinstance(value, int) or isinstance(value, bool) or value not in wanted:
            said = " or ".join(map(str, wanted)) if isinstance(wanted, tuple) else f"{wanted[0]} to {wanted[-1]}"
            raise DataError(f"{path}: {key} {value!r}: expected {said}")
        return value

    width = number("d_model", range(1, 8193))
    divisors = tuple(n for n in range(1, width + 1) if width % n == 0)
    for side in ("encoder", "decoder"):
        number(f"{side}_ffn_dim", (4 * width,))
    if config.get("activation_function", "gelu") != "gelu" or config.get("scale_embedding", False):
        raise DataError(f"{path}: expected activation_function 'gelu' and no scale_embedding, as Whisper has them")
    return WhisperDimensions(
        n_mels=number("num_mel_bins", N_MELS),
        n_audio_ctx=number("max_source_positions", (POSITIONS,)),
        n_audio_state=width,
        n_audio_head=number("encoder_attention_heads", divisors),
        n_audio_layer=number("encoder_layers", LAYERS),
        n_vocab=number("vocab_size", VOCABULARIES),
        n_text_ctx=number("max_target_positions", range(LEAST_TOKENS, 1 << 16)),
        n_text_state=width,
        n_text_head=number("decoder_attention_heads", divisors),
        n_text_layer=number("decoder_layers", LAYERS),
    )


def _ours(name: str) -> str:
    """openai-whisper's name of a tensor; one that it does not know stays as it is."""
    if name in WHOLE:
        return WHOLE[name]
    side, _, rest = name.partition(".layers.")
    number, _, inside = rest.partition(".")
    part, _, kind = inside.rpartition(".")
    return f"{side}.blocks.{number}.{PARTS[part]}.{kind}" if part in PARTS else name


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """Where the tensors lie, safetensors first; DataError where there is nothing."""
    for name in (SAFE, UNSAFE):
        if (folder / name).is_file():
            return (folder / name,)
        if (index := folder / f"{name}{INDEX}").is_file():
            listed = _json(index).get("weight_map")
            if not isinstance(listed, dict) or not all(isinstance(one, str) for one in listed.values()):
                raise DataError(f"{index}: expected weight_map, in which file each tensor lies")
            parts = tuple(folder / one for one in sorted(set(listed.values())))
            if elsewhere := [part for part in parts if part.parent != folder]:
                raise DataError(f"{index}: names {elsewhere[0]}: expected files of this folder")
            if gone := [part for part in parts if not part.is_file()]:
                raise DataError(f"{gone[0]}: missing: expected the {len(parts)} files that {index.name} names")
            return parts
    adapter = ": an adapter alone; merge it into its model and save that" if _is_adapter(folder) else ""
    raise DataError(f"{folder}: no {SAFE} and no {UNSAFE}{adapter}")


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _tensors(path: Path) -> "dict[str, torch.Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # What torch finds odd in a file it also refuses; the refusal is the one line.
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise DataError(f"{path}: damaged, or no weights: {reason}") from None


def _check_words(folder: Path, dims: WhisperDimensions) -> None:
    """DataError where a tokenizer lies beside the weights and numbers words otherwise than openai's."""
    numbers = _vocabulary(folder)
    multilingual = dims.n_vocab >= VOCABULARIES[1]
    languages = dims.n_vocab - 51765 - int(multilingual)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # openai-whisper leaves its vocabulary file open
        tokenizer = library().tokenizer.get_tokenizer(multilingual, num_languages=languages)
    for word, expected in _openai_numbers(tokenizer):
        if word in numbers and numbers[word] != expected:
            raise DataError(
                f"{folder}: its tokenizer says {numbers[word]} for {word!r}: expected {expected}; a vocabulary of "
                "its own cannot be used"
            )


def _vocabulary(folder: Path) -> dict[str, int]:
    """The number of every word that the folder's tokenizer knows; nothing where it has none."""
    found: dict[str, int] = {}
    try:
        if (path := folder / "tokenizer.json").is_file():
            stored = _json(path)
            found |= stored["model"]["vocab"]
            found |= {str(one["content"]): int(one["id"]) for one in stored.get("added_tokens", ())}
        else:
            for path in (folder / "vocab.json", folder / "added_tokens.json"):
                found |= _json(path) if path.is_file() else {}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: no tokenizer's vocabulary ({type(error).__name__})") from None
    return found


def _openai_numbers(tokenizer: Any) -> Iterator[tuple[str, int]]:
    """Every word of openai's, written as transformers writes it, with its number."""
    readable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in readable]
    letters = {byte: chr(byte) for byte in readable} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
    for number in range(tokenizer.eot):
        yield "".join(letters[byte] for byte in tokenizer.encoding.decode_single_token_bytes(number)), number
    yield from tokenizer.special_tokens.items()


def _json(path: Path) -> dict[str, Any]:
    try:
        value = parsed(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON: {str(error).splitlines()[0][:120]}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object")
    return value
