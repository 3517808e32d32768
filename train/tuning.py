"""The top layers of a text encoder and one weight a dimension, fitted to written lines and their fragments together.

Two emotions in a hundred lines are sadness: naming every line's emotion beside it is what teaches the layers most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sadstream.header import Record
from sadstream.models import load_tensors
from sadstream.text import any_model, mean_of, states_of
from train.phrases import CORPORA, Line, balanced_lines, fragment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn


class TuningConfig(Record):
    """How the layers are fitted: a fixed number of steps, so nothing is chosen on what is measured."""

    layers: int = Field(default=2, ge=1, le=2)  # of six; float16 they are 7 MB of the checkpoint
    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0.0)
    head_rate: float = Field(default=1e-3, gt=0.0)  # of the linear layers above
    emotions: float = Field(default=0.5, ge=0.0)  # weight of naming the emotion
    balanced: float = Field(default=0.5, ge=0.0, le=1.0)  # share drawn half sad; the rest as the corpora have them
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    warm_up: float = Field(default=0.1, gt=0.0, lt=1.0)  # share of the steps


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """The layers by their names in the encoder, and (dim,) weights on its embedding."""

    layers: "dict[str, Tensor]"
    weights: "NDArray[np.float64]"


def tune(
    directory: Path,
    lines: Sequence[Line],
    fragment_words: tuple[int, int],
    config: TuningConfig,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> Tuned:
    """The layers and weights fitted to these lines, each drawn as written or as a fragment with equal chance."""
    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    loaded = load_tensors(directory)
    model, tokenizer = any_model(directory, loaded, "cpu")
    states, tuned = states_of(model, tokenizer), top_layers(model, config.layers)
    texts = [(line.text, fragment(line.text, fragment_words, i)) for i, line in enumerate(lines)]
    kinds = _Kinds(lines)
    dim = int(loaded.config["hidden_size"])
    sad, kind = nn.Linear(dim, 1), nn.Linear(dim, kinds.count)
    dropout, chances = nn.Dropout(config.dropout), _chances(lines, config.balanced)
    groups: list[dict[str, Any]] = [
        {"params": list(tuned.values()), "lr": config.learning_rate},
        {"params": [*sad.parameters(), *kind.parameters()]},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.head_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [config.learning_rate, config.head_rate], total_steps=config.steps, pct_start=config.warm_up
    )
    for _ in range(config.steps):
        picked = rng.choice(len(lines), config.batch, p=chances)
        embedded = dropout(mean_of(*states([texts[i][int(rng.integers(2))] for i in picked])))
        loss = kinds.loss(sad(embedded).squeeze(1), kind(embedded), picked, config.emotions)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(tuned.values(), 1.0)
        optimiser.step()
        schedule.step()
        advance()
    layers = {name: weight.detach().half().float() for name, weight in tuned.items()}  # as the checkpoint holds them
    weights: NDArray[np.float64] = sad.weight.detach()[0].double().numpy()
    return Tuned(layers, weights)


def top_layers(model: "nn.Module", layers: int) -> "dict[str, nn.Parameter]":
    """The weights of the last `layers` layers by name, wanting gradients; the rest of the model wants none."""
    count = len(model.encoder.layer)  # type: ignore[arg-type,union-attr]
    wanted = tuple(f"encoder.layer.{number}." for number in range(count - layers, count))
    found = {name: weight for name, weight in model.named_parameters() if name.startswith(wanted)}
    for weight in found.values():
        weight.requires_grad_(True)
    return found


class _Kinds:
    """Sadness, and the emotion that each line's own corpus names."""

    def __init__(self, lines: Sequence[Line]) -> None:
        import torch

        named = [(line.corpus, line.emotion.split("|")[-1]) for line in lines]
        every = sorted(set(named))
        self.count = len(every)
        self._sad = torch.tensor([float(line.sad) for line in lines])
        self._kind = torch.tensor([every.index(one) for one in named])
        self._corpus = torch.tensor([CORPORA.index(line.corpus) for line in lines])
        self._of = torch.tensor([CORPORA.index(corpus) for corpus, _ in every])

    def loss(self, sad: "Tensor", kind: "Tensor", picked: "NDArray[np.int64]", weight: float) -> "Tensor":
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

        rows = torch.from_numpy(picked)
        foreign = self._of.unsqueeze(0) != self._corpus[rows].unsqueeze(1)
        named = cross_entropy(kind.masked_fill(foreign, -1e4), self._kind[rows])
        return binary_cross_entropy_with_logits(sad, self._sad[rows]) + weight * named


def _chances(lines: Sequence[Line], balanced: float) -> "NDArray[np.float64]":
    """(n,) sum 1: both corpora the same, `balanced` of each corpus half sad."""
    import numpy as np

    corpus = np.array([CORPORA.index(line.corpus) for line in lines])
    half_sad = balanced_lines(lines) / len(lines)
    plain = 1.0 / (len(set(corpus.tolist())) * np.bincount(corpus)[corpus])
    chances: NDArray[np.float64] = balanced * half_sad + (1.0 - balanced) * plain
    return np.asarray(chances / chances.sum())
