"""The text encoder: words in, one embedding out, through transformers from a local folder only."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sadstream.errors import UnavailableError
from sadstream.features import TORCHAUDIO_FAULT
from sadstream.header import TextEncoderConfig
from sadstream.models import load_tensors

if TYPE_CHECKING:
    from torch import Tensor

MAX_TOKENS = 128  # 3 s of speech are under 30; a training sentence may be longer


class TextEncoder:
    """A BERT-like encoder by its folder; the checkpoint says whose and how it is pooled."""

    def __init__(self, directory: Path, config: TextEncoderConfig, device: str) -> None:
        import torch

        # transformers has asked its hub although told to stay local; nothing leaves this machine at run time.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        loaded = load_tensors(directory)
        self.name = loaded.installed.name
        self.identity = loaded.installed.identity
        if config.identity and config.identity != self.identity:
            raise UnavailableError(
                f"{directory}: text encoder {self.name} {self.identity[:12]}: "
                f"the checkpoint was trained with {config.name} {config.identity[:12]}; use that one"
            )
        settings = AutoConfig.from_pretrained(directory, local_files_only=True)
        try:
            model: Any = AutoModel.from_config(settings)  # type: ignore[no-untyped-call]
        except OSError:  # transformers imports torchaudio where that is installed
            raise UnavailableError(TORCHAUDIO_FAULT) from None
        tensors = {name: torch.from_numpy(array).float() for name, array in loaded.tensors.items()}
        missing, _ = model.load_state_dict(tensors, strict=False)
        lacking = [name for name in missing if "position_ids" not in name and not name.startswith("pooler.")]
        if lacking:
            raise UnavailableError(f"{directory}: text encoder lacks {len(lacking)} tensors, such as {lacking[0]}")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._model: Any = model.to(device).eval().requires_grad_(False)
        self._pooling = config.pooling
        self.dim = int(model.config.hidden_size)

    def __call__(self, texts: Sequence[str]) -> "Tensor":
        """(len(texts), dim) float32: the [CLS] state or the mean over the tokens."""
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self._model.device)
        states: Tensor = self._model(**tokens).last_hidden_state  # (batch, tokens, dim)
        if self._pooling == "cls":
            return states[:, 0]
        mask = tokens["attention_mask"].unsqueeze(2).to(states.dtype)
        pooled: Tensor = (states * mask).sum(1) / mask.sum(1)
        return pooled
