"""Speech encoders that the seventh system reads: Whisper as the daemon runs it, or any other by its folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.base.json_text import parsed
from sadstream.scoring.fusion import torchaudio_library
from sadstream.scoring.fusion.header import WhisperStatesConfig
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.weights.store import load_tensors
from sadstream.scoring.whisper.recognizer import Whisper
from train.presets import AudioSource


@dataclass(frozen=True, slots=True)
class StatesShape:
    """Of one 3-second segment's states."""

    layers: int
    frames: int
    width: int


class SpeechEncoder(Protocol):
    """Segments in, hidden states out."""

    settings: str  # all that decides what comes out
    exported: WhisperStatesConfig | None  # how a checkpoint says it; None: the daemon cannot compute these

    def __call__(self, samples: Tensor) -> Tensor: ...


class WhisperStates:
    """(batch, layers, frames, width) states of Whisper's encoder, all layers."""

    def __init__(self, directory: Path, pool: int, device: str, layers: tuple[int, ...] = ()) -> None:
        self._whisper = Whisper(directory, device, "en")
        chosen = _chosen(layers, int(load_tensors(directory).config["n_audio_layer"]) + 1, directory)
        self.exported: WhisperStatesConfig | None = WhisperStatesConfig(
            model=self._whisper.name, identity=self._whisper.identity, layers=chosen, pool=pool
        )
        self.settings = self.exported.model_dump_json()

    def __call__(self, samples: Tensor) -> Tensor:
        assert self.exported is not None
        return self._whisper.states(samples, self.exported)


class AutoStates:
    """(batch, layers, frames, width) hidden states of any AutoModel that reads 16 kHz samples."""

    exported: WhisperStatesConfig | None = None

    def __init__(self, directory: Path, pool: int, device: str, layers: tuple[int, ...] = ()) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        torchaudio_library.usable()  # which transformers imports where it is installed
        from transformers import AutoModel

        try:
            model: Any = AutoModel.from_pretrained(directory, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UnavailableError(
                f"{directory}: no speech encoder: {reason}; expected a Whisper model's name, or a folder "
                "that transformers can load"
            ) from None
        self._model = model.to(device).eval().requires_grad_(False)
        self._pool, self._layers = pool, layers
        weights = sum(float(p.double().sum()) for p in model.parameters())
        self.settings = f"{model.config.to_json_string()} {weights!r} {pool}{f' {layers}' if layers else ''}"

    def __call__(self, samples: Tensor) -> Tensor:

        found = self._model(samples.to(self._model.device), output_hidden_states=True).hidden_states
        chosen = _chosen(self._layers, len(found), Path(self._model.name_or_path))
        states = torch.stack([found[layer] for layer in chosen], dim=1)  # (batch, layers, positions, width)
        batch, layers, positions, width = states.shape
        frames = positions // self._pool
        kept = states[:, :, : frames * self._pool]
        pooled: Tensor = kept.reshape(batch, layers, frames, self._pool, width).mean(3)
        return pooled


def load(audio: AudioSource, device: str) -> SpeechEncoder:
    """The encoder that a run names: a Whisper model's name or folder, or the folder of an AutoModel.

    Whisper checkpoints as transformers saves them are heard as the daemon hears Whisper, so that they can be exported.
    """
    path = Path(audio.encoder).expanduser()
    if path.is_dir() and not _is_whisper(path):
        return AutoStates(path, audio.pool, device, audio.layers)
    return WhisperStates(locate(audio.encoder, "whisper"), audio.pool, device, audio.layers)


def _chosen(layers: tuple[int, ...], there: int, where: Path) -> tuple[int, ...]:
    """The layers that were asked for; UsageError for one that this encoder has not."""
    if layers and layers[-1] >= there:
        raise UsageError(f"[audio] layers: {layers[-1]}: {where.name} has 0 to {there - 1}")
    return layers or tuple(range(there))


def _is_whisper(folder: Path) -> bool:
    try:
        config = parsed((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and ("n_audio_state" in config or config.get("model_type") == "whisper")


def shape(states: Sequence[Any]) -> StatesShape:
    """The shape of one segment's states among (k, layers, frames, width) arrays."""
    _, layers, frames, width = states[0].shape
    return StatesShape(layers, frames, width)
