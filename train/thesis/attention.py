"""Where a run's attention looks in one recording: over its spectrogram, its segments, its words."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sadstream.audio.filters.level import at_level
from sadstream.base.samples import SAMPLE_RATE
from sadstream.scoring.fusion.features import heard_frames, log_mel
from sadstream.scoring.fusion.header import TextEncoderConfig
from sadstream.scoring.fusion.network import Attended, Fusion
from sadstream.scoring.speakers.encoder import NAME as SPEAKERS
from sadstream.scoring.speakers.encoder import SpeakerEncoder
from sadstream.scoring.text.encoder import TextEncoder
from sadstream.scoring.weights.locate import locate
from train.corpora.clips import read_speech
from train.corpora.manifest import Utterance
from train.features.inputs import fusion_shape
from train.features.log_mels import heard_samples, pieces
from train.presets import RunConfig
from train.thesis.plots import panels, png
from train.training.loop import EpochWeights
from train.training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURED = ("attention", "cross-modal", "gated", "hierarchical", "speaker")  # over log-Mel features
STEP_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """One recording as a run reads it, and where it looked."""

    mel: Tensor  # (segments, frames, bands)
    attended: Attended
    seconds: float


def picture(run: Run, row: Utterance) -> bytes:
    """PNG: the log-Mel spectrogram; below it the weights over time, and what else the system weighs."""
    looked = _look(run, row)
    has_words = looked.attended.words is not None
    figure, axes = panels(1, 3 if has_words else 2, width=7.0, height=2.2)
    _spectrogram(axes[0], looked, f"{row.utterance} ({row.label}), {run.config.title}{_share(looked.attended)}")
    _over_time(axes[1], looked)
    if has_words:
        _where_words_listen(axes[2], looked)
    axes[-1].set_xlabel("s")
    return png(figure)


def _look(run: Run, row: Utterance) -> _Looked:
    """The strict epoch's model, asked about one recording as the run asks."""
    config, weights = run.config, EpochWeights(run.folder)
    epoch = run.selection("strict").epoch
    samples = read_speech(Path(row.path))
    cut = pieces(samples, config.heard)[: config.spec.segments]
    levelled = np.stack([at_level(piece, config.features.level_dbfs) for piece in cut])
    mel = log_mel(torch.from_numpy(levelled), config.features)
    fusion = Fusion(fusion_shape(config, mel, weights.text_dim(epoch), weights.speaker_dim(epoch)))
    weights.load(epoch, fusion)
    lengths = heard_samples(samples.size, config.heard)[: cut.shape[0]]
    heard = torch.tensor([[heard_frames(n, mel.shape[1]) for n in lengths]])
    several = config.spec.segments > 1
    audio, frames = (mel[None], heard) if several else (mel, heard[0])
    with torch.inference_mode():
        attended = (
            fusion.eval()
            .parts(
                audio,
                _words(config, row) if fusion.config.text_dim else None,
                frames if config.spec.masked or several else None,
                _voice(cut[0][: lengths[0]]) if fusion.config.speaker_dim else None,
            )
            .attended
        )
    return _Looked(mel, attended, sum(lengths) / SAMPLE_RATE)


def _words(config: RunConfig, row: Utterance) -> Tensor:
    asked = TextEncoderConfig(name=config.text.encoder, identity="", pooling=config.read.pooling, dim=0)
    return TextEncoder(locate(config.text.encoder, "text"), asked, "cpu")([row.transcript])


def _voice(samples: "np.typing.NDArray[np.float32]") -> Tensor:
    return torch.from_numpy(SpeakerEncoder(locate(SPEAKERS, "speaker"))(samples))[None]


def _spectrogram(axis: "Axes", looked: _Looked, title: str) -> None:
    whole = looked.mel.flatten(0, 1)
    end_s = STEP_S * looked.mel.shape[0]
    axis.imshow(whole.T.numpy(), origin="lower", aspect="auto", extent=(0, end_s, 0, whole.shape[1]))
    axis.set(ylabel="Mel band")
    axis.set_title(title, fontsize=9)


def _over_time(axis: "Axes", looked: _Looked) -> None:
    """Weights of the frames; of several segments each times its segment's, which is printed above it."""
    frames, segments = looked.attended.frames, looked.attended.segments
    assert frames is not None, "a system that attends"
    weights = frames[0] if segments is None else frames[0] * segments[0].unsqueeze(1)
    weights = weights.flatten()
    end_s = STEP_S * looked.mel.shape[0]
    axis.stairs(weights.numpy(), np.linspace(0, end_s, weights.numel() + 1), fill=True)
    for number, weight in enumerate([] if segments is None else segments[0].tolist()):
        axis.axvline(STEP_S * number, color="grey", linewidth=0.6)
        axis.text(STEP_S * number + 0.05, float(weights.max()), f"{weight:.2f}", va="top", fontsize=8)
    axis.set(ylabel="attention", xlim=(0, end_s))


def _where_words_listen(axis: "Axes", looked: _Looked) -> None:
    """A row a piece of a word, in their order, from the first at the top."""
    assert looked.attended.words is not None
    listens = looked.attended.words[0]
    said = listens[listens.sum(1) > 0]
    heard = said[said > 0]
    low, high = float(heard.min()), float(heard.max())
    axis.imshow(said.numpy(), aspect="auto", extent=(0, STEP_S, said.shape[0], 0), cmap="Greys", vmin=low, vmax=high)
    axis.set(ylabel=f"words listen\n{low:.3f} to {high:.3f}", yticks=[])


def _share(attended: Attended) -> str:
    return "" if attended.sound is None else f", sound has {float(attended.sound[0]):.2f} of the gate"
