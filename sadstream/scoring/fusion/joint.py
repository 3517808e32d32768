"""Ways in which sound, words and segments come together that are no sum of two linear parts."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Gated(NamedTuple):
    """(batch, width) of both, and (batch,) the mean share of it that is sound."""

    both: Tensor
    share: Tensor


class GatedUnit(nn.Module):
    """A context and a text embedding in; of each number of what comes out a learned gate says whose it is.

    h = z * tanh(S s) + (1 - z) * tanh(W w), z = sigmoid(G [s; w]). Whoever is missing has no share, as happens to whole
    utterances in training with a probability of `dropout` for each of the two. Arevalo, Solorio, Montes-y-Gomez and
    Gonzalez, "Gated multimodal units for information fusion", ICLR 2017 workshop; dropout of a modality after Neverova
    et al., "ModDrop: adaptive multi-modal gesture recognition", TPAMI 2016.
    """

    def __init__(self, sound: int, words: int, width: int, dropout: float) -> None:
        super().__init__()
        self.sound, self.words = nn.Linear(sound, width), nn.Linear(words, width)
        self.gate = nn.Linear(sound + words, width)
        self.dropout = dropout

    def forward(self, sound: Tensor, words: Tensor | None) -> Gated:
        if words is None:
            return Gated(torch.tanh(self.sound(sound)), sound.new_ones(sound.shape[0]))
        has_words = (words != 0).any(1)
        has_sound = torch.ones_like(has_words)
        if self.training and self.dropout:
            drawn = torch.rand(words.shape[0], device=words.device)
            has_sound = (drawn >= self.dropout) | ~has_words  # somebody stays
            has_words = has_words & (drawn < 1.0 - self.dropout)
        open_to_sound = torch.sigmoid(self.gate(torch.cat([sound, words], 1)))
        open_to_sound = torch.where(has_words.unsqueeze(1), open_to_sound, torch.ones_like(open_to_sound))
        open_to_sound = torch.where(has_sound.unsqueeze(1), open_to_sound, torch.zeros_like(open_to_sound))
        both = open_to_sound * torch.tanh(self.sound(sound)) + (1.0 - open_to_sound) * torch.tanh(self.words(words))
        return Gated(both, open_to_sound.mean(1))


class Crossed(NamedTuple):
    """(batch, frames, width) sound that knows the words, (batch, tokens, width) words that know the sound, and
    (batch, tokens, frames) where each word listens."""

    sound: Tensor
    words: Tensor
    listens: Tensor


class CrossModal(nn.Module):
    """Frames and tokens in: each word attends to the sound, each frame to the words, both added to what was there.

    softmax(Q K^T / sqrt(d)) V of one head each way. Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, "Multimodal
    transformer for unaligned multimodal language sequences", ACL 2019.
    """

    def __init__(self, sound: int, words: int) -> None:
        super().__init__()
        self.words_in = nn.Linear(words, sound)
        self.to_sound = nn.ModuleList(nn.Linear(sound, sound, bias=False) for _ in range(3))  # query, key, value
        self.to_words = nn.ModuleList(nn.Linear(sound, sound, bias=False) for _ in range(3))

    def forward(self, sound: Tensor, heard: Tensor, tokens: Tensor, said: Tensor) -> Crossed:
        """heard: (batch, frames), said: (batch, tokens), 1 where something is."""
        words = self.words_in(tokens) * said.unsqueeze(2)
        found, listens = _attend(self.to_sound, words, sound, heard)
        told, _ = _attend(self.to_words, sound, words, said)
        return Crossed(sound + told, words + found, listens * said.unsqueeze(2))


def _attend(layers: nn.ModuleList, asking: Tensor, asked: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """What is found, and the weights; of those who ask nobody finds anything where nothing is there."""
    query, key, value = layers
    energies = query(asking) @ key(asked).transpose(1, 2) / math.sqrt(asked.shape[2])
    energies = energies.masked_fill(there.unsqueeze(1) == 0, torch.finfo(energies.dtype).min)
    weights = energies.softmax(2) * there.any(1)[:, None, None]
    return weights @ value(asked), weights


class SegmentAttention(nn.Module):
    """(batch, segments, width) and which are there -> (batch, width) and the weights: v^T tanh(W h).

    The upper of the two attentions of Yang, Yang, Dyer, He, Smola and Hovy, "Hierarchical attention networks for
    document classification", NAACL 2016; the lower one is over the frames of a segment.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.energy = nn.Linear(width, 1, bias=False)

    def forward(self, contexts: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        energies = self.energy(torch.tanh(self.hidden(contexts))).squeeze(2)
        weights = energies.masked_fill(there == 0, float("-inf")).softmax(1)
        return torch.einsum("bs,bsw->bw", weights, contexts), weights
