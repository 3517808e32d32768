"""What a training run is told: a preset's systems, features and schedule, as TOML."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from sadstream.base.errors import ConfigError, MissingFileError, UsageError
from sadstream.config.loading import read_table
from sadstream.scoring.fusion.header import Dimension, Joint, LogMelConfig, Pooling, Record
from train.corpora.classes import EmotionClass

SIX = ("text", "cnn", "cnn-lstm", "early-fusion", "multimodal-cnn-lstm", "attention")
SEVENTH = "whisper"
BEYOND = ("cross-modal", "gated", "hierarchical", "speaker")  # what the thesis leaves for later
STAND_IN_NOTE = "not BERT"
Target = Literal["sad", "emotions", "dimensions"]


class SystemConfig(Record):
    """One row of the ladder."""

    title: str = Field(min_length=1)
    front_end: Literal["none", "cnn", "states"]
    sequence: Literal["none", "bilstm"] = "none"
    pooling: Pooling = "flatten"
    joint: Joint = "sum"
    segments: int = Field(default=1, ge=1, le=10)  # of an utterance, the first ones, 3 s each
    modality_dropout: float = Field(default=0.0, ge=0.0, le=0.5)
    text: bool
    masked: bool = False  # the thesis attends to the zeros that fill an utterance up
    batch_size: int = Field(ge=1, le=4096)
    learning_rate: float = Field(gt=0.0, le=1.0)
    loss: Literal["bce", "focal"]

    @property
    def asks_speaker(self) -> bool:
        """Its attention knows whose voice it is."""
        return self.pooling == "speaker-attention"

    @property
    def reads_tokens(self) -> bool:
        """It reads each word by itself."""
        return self.text and self.joint == "cross-modal"


class NetworkConfig(Record):
    """Widths that the thesis leaves out."""

    channels: tuple[int, int] = (32, 64)
    hidden: int = Field(default=128, ge=1, le=4096)


class AudioSource(Record):
    """What of a recording is heard."""

    view: Literal["first", "pieces", "whole"] = "first"  # the first 3 s, each 3 s, or up to whole_s
    whole_s: int = Field(default=12, ge=3, le=30)
    encoder: str = Field(default="tiny.en", min_length=1)  # of the seventh system
    pool: int = Field(default=3, ge=1, le=10)
    layers: tuple[Annotated[int, Field(ge=0, le=64)], ...] = ()  # of that encoder, 0 before its first block; none: all

    @field_validator("layers")
    @classmethod
    def _rise(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if list(layers) != sorted(set(layers)):
            raise ValueError("expected each layer once, in order")
        return layers


class TextSource(Record):
    """Whose words are read, and who embeds them."""

    encoder: str = Field(default="bert", min_length=1)
    pooling: Literal["cls", "mean", "tokens"] = "cls"
    source: Literal["gold", "whisper"] = "gold"
    whisper: str = Field(default="tiny.en", min_length=1)
    window_s: float | None = Field(default=None, gt=0.0, le=60.0)  # words of the last seconds instead of the utterance

    @property
    def label(self) -> str:
        """`BERT`, or the stand-in's name with the note that it is one."""
        if self.encoder in ("bert", "bert-base-uncased"):
            return "BERT"
        return f"{Path(self.encoder).name}, {STAND_IN_NOTE}"


class TrainingConfig(Record):
    """Adam with early stopping on the validation loss."""

    epochs: int = Field(default=100, ge=1, le=10_000)
    patience: int = Field(default=10, ge=1, le=10_000)
    gamma: float = Field(default=2.0, ge=0.0, le=10.0)  # of the focal loss
    oversample: bool = True
    class_weights: bool = False  # instead: each class counts the same in the loss

    @model_validator(mode="after")
    def _balances_once(self) -> "TrainingConfig":
        if self.oversample and self.class_weights:
            raise ValueError("oversample and class_weights: expected one of them at most")
        return self


class Preset(Record):
    """All systems of one ladder: the same features, widths and schedule for each."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    features: LogMelConfig = LogMelConfig()
    model: NetworkConfig = NetworkConfig()
    audio: AudioSource = AudioSource()
    text: TextSource = TextSource()
    training: TrainingConfig = TrainingConfig()
    systems: dict[str, SystemConfig] = Field(min_length=1)


class RunConfig(Record):
    """One fit, fully: whoever has this and the corpus gets the same run."""

    preset: str
    system: str
    variant: str = ""  # of an ablation
    features: LogMelConfig
    model: NetworkConfig
    audio: AudioSource
    text: TextSource
    training: TrainingConfig
    spec: SystemConfig
    seed: int = Field(default=0, ge=0, le=2**31)
    fold: str = "fixed"
    manifest: str
    allow_partial: bool = False
    classes: tuple[EmotionClass, ...] = ()  # learned beside sad
    dimensions: tuple[Dimension, ...] = ()  # learned beside sad

    @property
    def target(self) -> Target:
        """What is learned beside sad, or `sad` alone."""
        return "emotions" if self.classes else "dimensions" if self.dimensions else "sad"

    @property
    def heard(self) -> AudioSource:
        """What of a recording this system hears: all its pieces where it attends to segments."""
        return self.audio.model_copy(update={"view": "pieces"}) if self.spec.segments > 1 else self.audio

    @property
    def read(self) -> TextSource:
        """How this system reads the words."""
        return self.text.model_copy(update={"pooling": "tokens"}) if self.spec.reads_tokens else self.text

    @property
    def title(self) -> str:
        """The row's name in every table: a stand-in for BERT and a variant are part of it."""
        title = self.spec.title
        if self.spec.text:
            title = title.replace(" (BERT)", "") + f" ({self.text.label})"
        if self.spec.front_end == "states":
            title += f" [{Path(self.audio.encoder).name}]"
        title = f"{title}, {self.variant}" if self.variant else title
        return title if self.target == "sad" else f"{title}, with {self.target}"

    @property
    def name(self) -> str:
        """The run's folder: system, variant, encoders that are not the thesis's, target beside sad, seed, fold."""
        parts = [self.preset, self.system, re.sub(r"[^a-z0-9]+", "-", self.variant.lower()).strip("-")]
        if self.spec.text:
            parts.append(Path(self.text.encoder).name)
        if self.spec.front_end == "states":
            parts.append(Path(self.audio.encoder).name)
        parts.append("" if self.target == "sad" else self.target)
        return "-".join([*(part for part in parts if part), f"seed{self.seed}", self.fold])


def presets_folder() -> Path:
    """The presets: of the checkout, else of the installation."""
    checkout = Path(__file__).resolve().parent.parent / "configs"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "sadstream" / "configs"


def load_preset(name_or_path: str) -> Preset:
    """A preset by its name (`thesis`, `thesis-small`) or file; `base` in a file names another to start from."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = presets_folder() / f"{name_or_path}.toml"
    try:
        return Preset.model_validate(_table(path))
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(map(str, detail["loc"]))
        raise ConfigError(f"{path}: {key}: {detail['msg']}") from None


def _table(path: Path, depth: int = 0) -> dict[str, Any]:
    try:
        table = read_table(path)
    except FileNotFoundError:
        known = ", ".join(sorted(found.stem for found in presets_folder().glob("thesis*.toml")))
        raise MissingFileError(f"{path}: no such preset; expected a TOML file, or one of {known}") from None
    base = table.pop("base", None)
    if base is None:
        return table
    if depth > 5:
        raise ConfigError(f"{path}: base: more than five presets start from each other")
    return _merged(_table(_base(path, str(base)), depth + 1), table)


def _base(path: Path, name: str) -> Path:
    """The preset that another starts from: a file beside it or at this path, else one that ships, by its name."""
    beside = path.parent / name
    shipped = presets_folder() / f"{name.removesuffix('.toml')}.toml"
    try:
        plain = Path(name).name == name and (not beside.is_file() or beside.resolve() == path.resolve())
        return shipped if plain and shipped.is_file() else beside
    except OSError:  # a name that no file can have is said where it is opened
        return beside


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def run_config(preset: Preset, system: str, manifest: str, **changes: Any) -> RunConfig:
    """The run of one of a preset's systems; UsageError names the known systems."""
    if system not in preset.systems:
        raise UsageError(f"system {system!r}: expected one of {', '.join(preset.systems)}")
    return RunConfig(
        preset=preset.name,
        system=system,
        features=preset.features,
        model=preset.model,
        audio=preset.audio,
        text=preset.text,
        training=preset.training,
        spec=preset.systems[system],
        manifest=manifest,
        **changes,
    )
