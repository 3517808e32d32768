"""Everything that decides the default checkpoint, read strictly from TOML; configs/open.toml is the shipped one's."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sadstream.base.errors import ConfigError, MissingFileError
from sadstream.config.loading import read_table
from sadstream.scoring.fusion.header import Record
from train.corpora.clips import Clip
from train.features.augment import AugmentConfig
from train.metrics.voices import VoicesConfig
from train.shipped.audio_part import AudioPartConfig
from train.shipped.text_part import PhraseConfig


class FrontEnd(Record):
    """Whose encoder states the audio part reads."""

    model: str = "tiny.en"
    layers: tuple[int, ...] = (1, 2, 3, 4)
    pool: int = 10


class OpenConfig(Record):
    """Everything that decides the checkpoint; configs/open.toml holds the shipped one's."""

    seed: int = Field(default=0, ge=0)
    folds: int = Field(default=9, ge=2)
    views: int = Field(default=2, ge=1)
    prior: float = Field(default=0.10, gt=0.0, lt=1.0)
    false_positives: float = Field(default=0.04, gt=0.0, lt=1.0)
    audio_cap: float = Field(default=3.0, gt=0.0)
    resamples: int = Field(default=500, ge=10)
    corpora: tuple[str, ...] = ()  # of speech; none: all that the manifest has
    labels: Literal["intended", "heard"] = "intended"  # what actors meant, or what most listeners of the sound heard
    noise_licences: tuple[str, ...] = ()  # of the noises under augmented views; none: any
    front_end: FrontEnd = FrontEnd()
    augment: AugmentConfig = AugmentConfig()
    voice: AudioPartConfig = AudioPartConfig()
    text: PhraseConfig = PhraseConfig()
    learning: VoicesConfig = VoicesConfig()

    def fits(self, clip: Clip) -> bool:
        """Whether a recording is one that the voice is fitted to."""
        return not self.corpora or clip.corpus in self.corpora


def read_config(path: Path | None) -> OpenConfig:
    """The configuration in a TOML file, the defaults without one; ConfigError names the key."""
    if path is None:
        return OpenConfig()
    try:
        return OpenConfig.model_validate(read_table(path))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such configuration file; configs/open.toml is the shipped one") from None
    except ValidationError as error:
        detail: Any = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise ConfigError(f"{path}: {key} = {detail['input']!r}: {detail['msg'].lower()}") from None
