"""BERT's forward pass, for encoders of its plain kind.

transformers knows every kind, and costs 3 s of start and 230 MB to import for what most text encoders are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from sadstream.scoring.weights.packed import packed

if TYPE_CHECKING:
    from sadstream.scoring.weights.store import Array

# What is read of config.json and must be so; a key that is not there is so by BERT's own default.
PLAIN = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}


def is_plain(config: Mapping[str, Any]) -> bool:
    """This module's forward pass is the configured model's."""
    return "model_type" in config and all(config.get(key, value) == value for key, value in PLAIN.items())


class Layer(nn.Module):
    """Attention and a feed-forward network, each normalised after its sum."""

    def __init__(self, tensors: Mapping[str, Tensor], heads: int, eps: float) -> None:
        super().__init__()
        self._heads = heads
        own = ("query", "key", "value")
        self.heads_in = packed(*(torch.cat([tensors[f"attention.self.{n}.{p}"] for n in own]) for p in WEIGHTS))
        self.heads_out = packed(*(tensors[f"attention.output.dense.{part}"] for part in WEIGHTS))
        self.widen = packed(*(tensors[f"intermediate.dense.{part}"] for part in WEIGHTS))
        self.narrow = packed(*(tensors[f"output.dense.{part}"] for part in WEIGHTS))
        self.attended = _normalised(tensors, "attention.output.LayerNorm", eps)
        self.fed = _normalised(tensors, "output.LayerNorm", eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, tokens, width) of the same; mask: (batch, 1, 1, tokens), true where a token is."""
        batch, tokens, width = x.shape
        split = self.heads_in(x).view(batch, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        heads = scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=mask)
        x = self.attended(x + self.heads_out(heads.transpose(1, 2).reshape(batch, tokens, width)))
        answer: Tensor = self.fed(x + self.narrow(gelu(self.widen(x))))
        return answer


class Bert(nn.Module):
    """Token numbers in, the last layer's states out; KeyError names the first tensor that is not there."""

    def __init__(self, config: Mapping[str, Any], arrays: "Mapping[str, Array]", device: str) -> None:
        super().__init__()
        # Where they lie decides whether they are packed: packed layers run on a CPU alone.
        tensors = {name.removeprefix("bert."): torch.from_numpy(array).to(device) for name, array in arrays.items()}
        eps, heads = float(config.get("layer_norm_eps", 1e-12)), int(config["num_attention_heads"])
        # A look-up reads a few rows of many: they are widened when they are read.
        self.words = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
            tensors["embeddings.word_embeddings.weight"]
        )
        first = tensors["embeddings.token_type_embeddings.weight"][0]
        places = tensors["embeddings.position_embeddings.weight"].float() + first.float()
        self.places = nn.Parameter(places, requires_grad=False)
        self.embedded = _normalised(tensors, "embeddings.LayerNorm", eps)
        layers = (f"encoder.layer.{number}." for number in range(int(config["num_hidden_layers"])))
        self.layers = nn.ModuleList(Layer(_below(tensors, layer), heads, eps) for layer in layers)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(batch, tokens, width) float32 states of (batch, tokens) numbers; mask: 1 where a token is, 0 for padding."""
        x = self.embedded(self.words(tokens).float() + self.places[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :].bool())
        states: Tensor = x
        return states


WEIGHTS = ("weight", "bias")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _normalised(tensors: Mapping[str, Tensor], name: str, eps: float) -> nn.LayerNorm:
    weight, bias = (tensors[f"{name}.{part}"].float() for part in WEIGHTS)
    norm = nn.LayerNorm(weight.shape[0], eps=eps)
    norm.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return norm
