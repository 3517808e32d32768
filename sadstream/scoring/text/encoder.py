"""The text encoder: words in, one embedding out, from a local folder only.

A plain BERT runs by our own forward pass; every other kind through transformers.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sadstream.base.errors import UnavailableError
from sadstream.scoring.fusion import torchaudio_library
from sadstream.scoring.fusion.header import TEXT_TOKENS, TextEncoderConfig
from sadstream.scoring.weights.store import LoadedModel, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

TOKENIZER = "tokenizer.json"
PARTS = ("ids", "attention_mask")
MAX_TOKENS = 128  # 3 s of speech are under 30; a training sentence may be longer
States: TypeAlias = "Callable[[Sequence[str]], tuple[Tensor, Tensor]]"


class TextEncoder:
    """A BERT-like encoder by its folder; the checkpoint says whose and how it is pooled."""

    def __init__(self, directory: Path, config: TextEncoderConfig, device: str) -> None:
        loaded = load_tensors(directory)
        self.name = loaded.installed.name
        self.identity = loaded.installed.identity
        if config.identity and config.identity != self.identity:
            raise UnavailableError(
                f"{directory}: text encoder {self.name} {self.identity[:12]}: "
                f"the checkpoint was trained with {config.name} {config.identity[:12]}; use that one"
            )
        known = is_plain(loaded) and (directory / TOKENIZER).is_file()
        self._states = plain_states(directory, loaded, device) if known else any_states(directory, loaded, device)
        self._pooling = config.pooling
        self.dim = int(loaded.config["hidden_size"])

    def __call__(self, texts: Sequence[str]) -> "Tensor":
        """(len(texts), dim) float32: the [CLS] state or the mean over the tokens; or (len(texts), TEXT_TOKENS, dim)."""
        states, tokens = self._states(texts)  # (batch, tokens, dim) and 1 where a token is
        if self._pooling == "tokens":
            return _of_length(states * tokens.unsqueeze(2).to(states.dtype), TEXT_TOKENS)
        if self._pooling == "cls":
            return states[:, 0]
        mask = tokens.unsqueeze(2).to(states.dtype)
        pooled: Tensor = (states * mask).sum(1) / mask.sum(1)
        return pooled


def _of_length(states: "Tensor", tokens: int) -> "Tensor":
    """The first of them, and zeros up to their number."""
    from torch.nn.functional import pad

    return pad(states[:, :tokens], (0, 0, 0, max(0, tokens - states.shape[1])))


def is_plain(loaded: LoadedModel) -> bool:
    """A BERT as its authors made it."""
    from sadstream.scoring.text import bert

    return bert.is_plain(loaded.config)


def plain_states(directory: Path, loaded: LoadedModel, device: str) -> States:
    """A BERT's states by our own forward pass, its words told apart by the tokenizer's own library."""
    import torch
    from tokenizers import Tokenizer

    from sadstream.scoring.text.bert import Bert

    try:
        model = Bert(loaded.config, loaded.tensors, device).eval().requires_grad_(False)
    except KeyError as error:
        raise UnavailableError(f"{directory}: text encoder lacks tensors, such as {error.args[0]}") from None
    tokenizer: Any = Tokenizer.from_file(str(directory / TOKENIZER))
    tokenizer.enable_truncation(MAX_TOKENS)
    pad = tokenizer.padding or {}
    tokenizer.enable_padding(pad_id=pad.get("pad_id", 0), pad_token=pad.get("pad_token", "[PAD]"))

    def states(texts: Sequence[str]) -> "tuple[Tensor, Tensor]":
        found = tokenizer.encode_batch(list(texts))
        tokens, mask = (torch.tensor([getattr(one, part) for one in found], device=device) for part in PARTS)
        return model(tokens, mask), mask

    return states


def any_states(directory: Path, loaded: LoadedModel, device: str) -> States:
    """The states of whatever transformers knows."""
    import torch

    # transformers has asked its hub although told to stay local; nothing leaves this machine at run time.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torchaudio_library.usable()  # which transformers imports where it is installed
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    settings = AutoConfig.from_pretrained(directory, local_files_only=True)
    model: Any = AutoModel.from_config(settings)
    tensors = {name: torch.from_numpy(array).float() for name, array in loaded.tensors.items()}
    missing, _ = model.load_state_dict(tensors, strict=False)
    lacking = [name for name in missing if "position_ids" not in name and not name.startswith("pooler.")]
    if lacking:
        raise UnavailableError(f"{directory}: text encoder lacks {len(lacking)} tensors, such as {lacking[0]}")
    tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = model.to(device).eval().requires_grad_(False)

    def states(texts: Sequence[str]) -> "tuple[Tensor, Tensor]":
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(
            model.device
        )
        return model(**tokens).last_hidden_state, tokens["attention_mask"]

    return states
