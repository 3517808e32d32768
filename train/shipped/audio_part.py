"""The audio part: a fusion model without words, fitted to the states of segments that sound like a room's."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from torch import nn

from sadstream.base.errors import DataError
from sadstream.scoring.fusion.header import FusionConfig, Record
from sadstream.scoring.fusion.network import Fusion, over_time
from train.features.states import SegmentStates
from train.shipped.speaker_folds import balanced

SCORE_BATCH = 256
PROBE_STRENGTH = 3e-4  # inverse regularisation of the plain probe
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
    calm_share: float = Field(default=0.7, ge=0.0, le=1.0)  # of the segments that are not sad
    statistics: float = Field(default=0.7, ge=0.0, lt=1.0)  # share that mean and deviation over time have in the part
    strength: float = Field(default=1e-4, gt=0.0)  # inverse regularisation of their weights


def fit_audio(heard: SegmentStates, rows: NDArray[np.int64], config: AudioPartConfig, seed: int) -> Fusion:
    """The audio part fitted to these rows; the same seed and rows give the same weights on the same machine."""
    attention = fit_attention(heard, rows, config, seed)
    return with_statistics(attention, heard, rows, config) if config.statistics else attention


def with_statistics(
    attention: Fusion, heard: SegmentStates, rows: NDArray[np.int64], config: AudioPartConfig
) -> Fusion:
    """The same model with weights on mean and deviation over time, which a logistic regression has fitted.

    What attention gives and what they give, each divided by its deviation, add up in the shares of the configuration:
    the one learns its corpora's ways, the other little, and together both held best on a corpus that neither had heard.
    """
    fitted = fit_statistics(heard, rows, config.strength, config.calm_share)
    attended = float(score_audio(attention, heard, rows).std())
    both = Fusion(attention.config.model_copy(update={"statistics": True}))
    shares = (1.0 - config.statistics) / attended, config.statistics / fitted.deviation
    weight = torch.cat([attention.audio_out.weight[0].detach() * shares[0], fitted.weights * shares[1]])
    measured = {"statistics.mean": fitted.mean, "statistics.scale": fitted.scale}
    both.load_state_dict(attention.state_dict() | measured | {"audio_out.weight": weight.unsqueeze(0)})
    return both.eval()


def probe(heard: SegmentStates, rows: NDArray[np.int64], config: AudioPartConfig) -> Fusion:
    """Mean and deviation over time and a logistic regression, nothing else: what any model of states has to beat."""
    fitted = fit_statistics(heard, rows, PROBE_STRENGTH, config.calm_share)
    plain = shape(heard, config).model_copy(update={"sequence": "none", "pooling": "mean", "statistics": True})
    model = Fusion(plain)
    weight = torch.cat([torch.zeros(plain.n_bands), fitted.weights])
    measured = {"statistics.mean": fitted.mean, "statistics.scale": fitted.scale}
    model.load_state_dict(model.state_dict() | measured | {"audio_out.weight": weight.unsqueeze(0)})
    return model.eval()


@dataclass(frozen=True, slots=True, eq=False)
class LinearStatistics:
    """A logistic regression on normalised mean and deviation over time, and the deviation of what it gives."""

    mean: torch.Tensor
    scale: torch.Tensor
    weights: torch.Tensor
    deviation: float


def fit_statistics(
    heard: SegmentStates, rows: NDArray[np.int64], strength: float, calm_share: float
) -> LinearStatistics:
    """The regression of these rows; corpora and classes count as everywhere."""
    columns = torch.cat([_over_time(heard, some) for some in np.array_split(rows, -(-rows.size // SCORE_BATCH))])
    mean, scale = columns.mean(0), 1.0 / columns.std(0).clamp(min=1e-3)
    normal = ((columns - mean) * scale).numpy()
    clips = [heard.clips[i] for i in rows]
    model = LogisticRegression(C=strength, max_iter=500)
    model.fit(normal, [clip.sad for clip in clips], sample_weight=balanced(clips, calm_share) * rows.size)
    weights = model.coef_[0].astype(np.float32)
    return LinearStatistics(mean, scale, torch.from_numpy(weights), float((normal @ weights).std()))


def _over_time(heard: SegmentStates, rows: NDArray[np.int64]) -> torch.Tensor:
    """(len(rows), 2 * layers * width) of the frames that hold audio."""
    states = torch.from_numpy(heard.states[rows]).float()
    mask = torch.arange(states.shape[2]) < torch.from_numpy(heard.frames[rows]).unsqueeze(1)
    return over_time(states, mask.float())


def fit_attention(heard: SegmentStates, rows: NDArray[np.int64], config: AudioPartConfig, seed: int) -> Fusion:
    """BiLSTM and attention over time, fitted to these rows."""
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
