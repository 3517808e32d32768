"""The audio part: a fusion model without words, fitted to the states of segments that sound like a room's."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from sadstream.base.errors import DataError
from sadstream.scoring.fusion.header import FusionConfig, Record
from sadstream.scoring.fusion.network import Fusion
from train.features.states import SegmentStates
from train.shipped.speaker_folds import balanced

SCORE_BATCH = 256
STANDARD_ROWS = 400  # segments from which the first scale of each state is taken


class AudioPartConfig(Record):
    """How the audio part is built and fitted; a fit is a fixed number of steps, so nothing is chosen on a test fold."""

    hidden: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    steps: int = Field(default=300, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0.0)
    weight_decay: float = Field(default=0.05, ge=0.0)
    warm_up: float = Field(default=0.15, gt=0.0, lt=1.0)  # share of the steps
    average: float = Field(default=0.99, ge=0.0, lt=1.0)  # of the weights over the last steps, which is what is kept
    frame_dropout: float = Field(default=0.15, ge=0.0, lt=1.0)
    calm_share: float = Field(default=0.5, ge=0.0, le=1.0)  # of the segments that are not sad


def fit_audio(heard: SegmentStates, rows: NDArray[np.int64], config: AudioPartConfig, seed: int) -> Fusion:
    """The audio part fitted to these rows; the same seed and rows give the same weights on the same machine."""
    clips = [heard.clips[i] for i in rows]
    if len({clip.sad for clip in clips}) < 2:
        raise DataError("training: expected sad and other segments, found one of the two")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    fusion = _built(heard, rows, config, rng)
    targets = torch.tensor([float(clip.sad) for clip in clips])
    weights = balanced(clips, config.calm_share)
    optimiser = _optimiser(fusion, config)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=config.warm_up
    )
    kept = {name: tensor.detach().clone() for name, tensor in fusion.state_dict().items()}
    fusion.train()
    for step in range(config.steps):
        picked = rng.choice(len(rows), config.batch, p=weights)
        keep = torch.from_numpy(rng.random((config.batch, heard.states.shape[2])) >= config.frame_dropout)
        states = torch.from_numpy(heard.states[rows[picked]]).float() * keep[:, None, :, None]
        logits = fusion(states, None, torch.from_numpy(heard.frames[rows[picked]]))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[picked])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(fusion.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        decay = min(config.average, (step + 1) / (step + 10))  # early weights are forgotten sooner
        for name, tensor in fusion.state_dict().items():
            kept[name].lerp_(tensor, 1.0 - decay)
    fusion.load_state_dict(kept)
    return fusion.eval()


def score_audio(fusion: Fusion, heard: SegmentStates, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(len(rows),) raw audio parts, as the daemon computes them."""
    parts: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for at in range(0, rows.size, SCORE_BATCH):
            some = rows[at : at + SCORE_BATCH]
            states = torch.from_numpy(heard.states[some]).float()
            parts.append(fusion.parts(states, None, torch.from_numpy(heard.frames[some])).audio.numpy())
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def shape(heard: SegmentStates, config: AudioPartConfig) -> FusionConfig:
    """The audio part's architecture over these states."""
    _, layers, frames, width = heard.states.shape
    return FusionConfig(
        front_end="states",
        sequence="bilstm",
        pooling="attention",
        n_frames=frames,
        n_bands=width,
        n_layers=layers,
        hidden=config.hidden,
        dropout=config.dropout,
    )


def _built(heard: SegmentStates, rows: NDArray[np.int64], config: AudioPartConfig, rng: np.random.Generator) -> Fusion:
    """A model whose layer norm starts by bringing every state to mean 0 and deviation 1; some are 100 times others."""
    fusion = Fusion(shape(heard, config))
    _, _, frames, width = heard.states.shape
    some = rng.choice(rows, min(STANDARD_ROWS, rows.size), replace=False)
    mask = torch.arange(frames) < torch.from_numpy(heard.frames[some]).unsqueeze(1)
    with torch.no_grad():
        mixed = torch.from_numpy(heard.states[some]).float().mean(1)
        normal = nn.functional.layer_norm(mixed, (width,))[mask]
        deviation = normal.std(0).clamp(min=1e-3)
        fusion.mix.norm.weight.copy_(1.0 / deviation)
        fusion.mix.norm.bias.copy_(-normal.mean(0) / deviation)
    return fusion


def _optimiser(fusion: Fusion, config: AudioPartConfig) -> torch.optim.Optimizer:
    matrices = [p for p in fusion.parameters() if p.ndim > 1]
    vectors = [p for p in fusion.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate)
