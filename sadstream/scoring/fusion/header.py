"""What a checkpoint says of itself: features, architecture, encoders, calibration, licence (no torch)."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sadstream.base.odds import logit
from sadstream.base.samples import SAMPLE_RATE, SEGMENT_S, SEGMENT_SAMPLES

POOLED_FRAMES = 4  # log-Mel frames that the CNN's two poolings make one of
TEXT_TOKENS = 32  # of a text whose words are attended to one by one; 3 s of speech are under 30
WHISPER_DBFS = -20.0  # level at which Whisper is given a segment; its own log-Mel keeps absolute level
FORMAT: Literal["sadstream-checkpoint"] = "sadstream-checkpoint"


class Record(BaseModel):
    """Frozen, no unknown key, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Level = Annotated[float | None, Field(ge=-80.0, le=0.0)]  # dB of full scale
Probability = Annotated[float, Field(ge=1e-6, le=1.0 - 1e-6)]  # its logit is 14 at most
Slope = Annotated[float, Field(ge=-1e4, le=1e4)]
Cap = Annotated[float, Field(gt=0.0, le=100.0)]  # of a part: the sum of all stays where exp() does
Layer = Annotated[int, Field(ge=0, le=64)]
Channels = Annotated[int, Field(ge=1, le=1024)]


Dimension = Literal["valence", "arousal", "dominance"]
EmotionName = Annotated[str, Field(pattern=r"^[a-z-]{1,32}$")]
MOST_EMOTIONS = 16


Pooling = Literal["flatten", "mean", "attention", "cross-attention", "speaker-attention"]
Joint = Literal["sum", "gate", "cross-modal"]


class LogMelConfig(Record):
    """Constants of a log-Mel front end; the defaults are the thesis's (94, 128) matrix."""

    kind: Literal["log-mel"] = "log-mel"
    n_fft: int = Field(default=1024, ge=64, le=8192)
    window: int = Field(default=400, ge=16, le=8192)  # samples: 25 ms
    hop: int = Field(default=512, ge=16, le=4096)  # 32 ms: 48,000 samples give 94 centred frames
    n_mels: int = Field(default=128, ge=8, le=256)
    offset: float = Field(default=1e-6, gt=0.0, le=1.0)  # added before the logarithm
    level_dbfs: Level = None  # None: the recording's own level, as in the thesis

    @model_validator(mode="after")
    def _fits(self) -> "LogMelConfig":
        if self.window > self.n_fft:
            raise ValueError(f"window = {self.window}: expected at most n_fft = {self.n_fft}")
        return self

    @property
    def n_frames(self) -> int:
        """Time frames of a 3-second segment."""
        return SEGMENT_SAMPLES // self.hop + 1


class WhisperStatesConfig(Record):
    """Whose encoder states a checkpoint reads; the daemon computes exactly these or refuses."""

    kind: Literal["whisper"] = "whisper"
    model: str  # tiny.en, base, ...
    identity: str  # SHA-256 over its tensors
    layers: tuple[Layer, ...] = Field(min_length=1)  # 0: after the convolutions, then after each block
    positions: Literal[150] = 150  # 3 s at 20 ms, in a pass of their own without padding to 30 s
    pool: int = Field(default=3, ge=1, le=10)  # positions averaged into one
    precision: Literal["float32"] = "float32"
    level_dbfs: Level = WHISPER_DBFS

    @field_validator("pool")
    @classmethod
    def _divides(cls, pool: int) -> int:
        if 150 % pool:
            raise ValueError(f"{pool}: expected a divisor of 150 positions")
        return pool

    @property
    def n_frames(self) -> int:
        """Time frames of a 3-second segment after pooling."""
        return self.positions // self.pool


AudioConfig = Annotated[LogMelConfig | WhisperStatesConfig, Field(discriminator="kind")]


class FusionConfig(Record):
    """Shape of one system."""

    front_end: Literal["none", "cnn", "states"] = "cnn"
    sequence: Literal["none", "bilstm"] = "bilstm"
    pooling: Pooling = "attention"
    joint: Joint = "sum"  # how sound and words come together; only a sum has parts
    segments: int = Field(default=1, ge=1, le=10)  # of an utterance, at most; the daemon has one
    speaker_dim: int = Field(default=0, ge=0, le=4096)  # of the voice that attention asks; 0: nobody's
    text_tokens: int = Field(default=0, ge=0, le=128)  # 0: one embedding of the whole text
    modality_dropout: float = Field(default=0.0, ge=0.0, le=0.5)  # in training, of sound and of words each
    statistics: bool = False  # mean and deviation over time of every layer's states beside what is pooled
    n_frames: int = Field(default=94, ge=4, le=4096)  # time frames in
    n_bands: int = Field(default=128, ge=4, le=4096)  # Mel bands, or width of the encoder states
    n_layers: int = Field(default=1, ge=1, le=64)  # of encoder states, mixed by learned weights
    channels: tuple[Channels, Channels] = (32, 64)
    hidden: int = Field(default=128, ge=1, le=4096)  # of the LSTM, each way
    text_dim: int = Field(default=0, ge=0, le=10_000_000)  # 0: no text branch
    emotions: int = Field(default=0, ge=0, le=MOST_EMOTIONS)  # beside sad, 0: none; each a logit of a softmax
    dimensions: int = Field(default=0, ge=0, le=3)  # beside sad, 0: none; such as valence and arousal
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _makes_sense(self) -> "FusionConfig":
        if self.front_end == "none" and self.text_dim == 0:
            raise ValueError("a system without audio and without text")
        if self.front_end == "states" and self.pooling == "flatten":
            raise ValueError("encoder states are pooled by mean or attention")
        if self.statistics and self.front_end != "states":
            raise ValueError("statistics are those of encoder states")
        two = self.front_end != "none" and self.text_dim > 0
        if not two and (self.pooling == "cross-attention" or self.joint != "sum"):
            raise ValueError("cross-attention, gate and cross-modal attention read audio and text")
        if (self.pooling == "speaker-attention") != (self.speaker_dim > 0):
            raise ValueError("speaker_dim and speaker attention: expected both or none")
        if (self.joint == "cross-modal") != (self.text_tokens > 0):
            raise ValueError("text_tokens and cross-modal attention: expected both or none")
        if self.joint == "cross-modal" and (self.segments > 1 or self.pooling == "flatten"):
            raise ValueError("cross-modal attention is within one segment, over a sequence")
        if self.segments > 1 and (self.front_end == "none" or self.pooling == "flatten" or self.statistics):
            raise ValueError("segments are those of audio, each pooled to one context")
        return self

    @property
    def is_additive(self) -> bool:
        """A logit is a sum of a part of the sound and a part of the words, which nothing else depends on."""
        return self.joint == "sum" and self.pooling != "cross-attention"

    @property
    def beside(self) -> int:
        """Outputs beside sad, emotions first."""
        return self.emotions + self.dimensions


class TextEncoderConfig(Record):
    """Whose embedding the text branch reads."""

    name: str
    identity: str  # SHA-256 over its tensors
    pooling: Literal["cls", "mean", "tokens"]  # tokens: the first TEXT_TOKENS states, each by itself
    dim: int


class SpeakerEncoderConfig(Record):
    """Whose embedding of a voice the attention asks."""

    name: str
    identity: str  # SHA-256 over its tensors
    dim: int


class Calibration(Record):
    """Turns raw parts into log-likelihood ratios: clip(scale * part + shift, -cap, cap)."""

    audio_scale: Slope = 1.0
    audio_shift: Slope = 0.0
    audio_cap: Cap = 20.0
    text_scale: Slope = 1.0
    text_shift: Slope = 0.0
    text_cap: Cap = 20.0


class Heads(Record):
    """What is said beside sad: which emotions and dimensions, in the order of the network's outputs.

    An emotion's probability is its share in a softmax of (logits / temperature); a dimension is -1 to 1, 0 neutral,
    clip(slope * output + shift).
    """

    emotions: tuple[EmotionName, ...] = Field(default=(), max_length=MOST_EMOTIONS)
    temperature: float = Field(default=1.0, ge=1e-2, le=100.0)
    prior: tuple[Probability, ...] = ()  # share of each emotion that the probabilities stand for
    dimensions: tuple[Dimension, ...] = Field(default=(), max_length=3)
    slopes: tuple[Slope, ...] = ()
    shifts: tuple[Slope, ...] = ()

    @model_validator(mode="after")
    def _match(self) -> "Heads":
        if len(set(self.emotions)) < len(self.emotions) or len(self.emotions) == 1:
            raise ValueError("emotions: expected two or more, each once")
        if len(self.prior) != len(self.emotions) or (self.prior and abs(sum(self.prior) - 1.0) > 1e-3):
            raise ValueError("prior: expected a share for each emotion, 1 together")
        if len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError("dimensions: expected each once")
        if not len(self.slopes) == len(self.shifts) == len(self.dimensions):
            raise ValueError("slopes, shifts: expected one for each dimension")
        return self

    def shares(self, raw: Sequence[float]) -> tuple[tuple[str, float], ...]:
        """Each emotion with its probability, of a network's raw outputs; ArithmeticError for what is no number."""
        logits = [value / self.temperature for value in _numbers(raw)[: len(self.emotions)]]
        powers = [math.exp(value - max(logits)) for value in logits]
        return tuple((name, power / sum(powers)) for name, power in zip(self.emotions, powers, strict=True))

    def level(self, dimension: Dimension, raw: Sequence[float]) -> float | None:
        """A dimension's value, -1 to 1, of a network's raw outputs; None where the checkpoint has no such one."""
        if dimension not in self.dimensions:
            return None
        at = self.dimensions.index(dimension)
        value = self.slopes[at] * _numbers(raw)[len(self.emotions) + at] + self.shifts[at]
        return max(-1.0, min(1.0, value))


def _numbers(raw: Sequence[float]) -> Sequence[float]:

    if not all(math.isfinite(value) for value in raw):
        raise ArithmeticError("the fusion model gave an output that is not a number")
    return raw


class Metric(Record):
    """One measured figure with its protocol."""

    name: str
    value: float
    low: float
    high: float
    n: int
    protocol: str


class Header(Record):
    """What a checkpoint is, needs and may be used for."""

    format: Literal["sadstream-checkpoint"] = FORMAT
    version: Literal[1] = 1
    system: str
    provisional: bool
    fusion: FusionConfig
    masked: bool  # attention leaves out the zeros that fill a segment up
    audio: AudioConfig | None
    text: TextEncoderConfig | None
    speaker: SpeakerEncoderConfig | None = None
    calibration: Calibration
    heads: Heads = Heads()
    prior: Probability  # share of sad segments that the bias stands for
    threshold: Probability
    trained_on: tuple[str, ...]
    metrics: tuple[Metric, ...]
    licence: str
    commercial_use: bool | None  # None: nobody said
    created_with: str

    @model_validator(mode="after")
    def _fits_together(self) -> "Header":
        said, heard = (self.fusion.n_frames, self.fusion.n_bands, self.fusion.n_layers), None
        match self.fusion.front_end, self.audio:
            case "none", None:
                heard = said
            case "cnn", LogMelConfig(n_frames=frames, n_mels=bands):
                heard = (frames, bands, 1)
            case "states", WhisperStatesConfig(n_frames=frames, layers=layers):
                heard = (frames, self.fusion.n_bands, len(layers))
        if said != heard:
            raise ValueError("fusion and audio: expected a model of the features' shape")
        if self.fusion.text_dim != (0 if self.text is None else self.text.dim):
            raise ValueError("fusion.text_dim and text.dim: expected the same width")
        if self.fusion.text_tokens not in (0, TEXT_TOKENS) or (self.fusion.text_tokens > 0) != (
            self.text is not None and self.text.pooling == "tokens"
        ):
            raise ValueError(f"fusion.text_tokens and text.pooling: expected {TEXT_TOKENS} of `tokens`, else none")
        if self.fusion.speaker_dim != (0 if self.speaker is None else self.speaker.dim):
            raise ValueError("fusion.speaker_dim and speaker.dim: expected the same width")
        if (self.fusion.emotions, self.fusion.dimensions) != (len(self.heads.emotions), len(self.heads.dimensions)):
            raise ValueError("fusion and heads: expected as many emotions and dimensions as have names")
        return self

    @property
    def terms(self) -> str:
        """What is to be said of using these weights in a business; nothing where it is allowed."""
        if self.commercial_use is None:
            return f"licence of these weights: {self.licence}; ask whoever made them what they may be used for"
        return "" if self.commercial_use else f"these weights may not be used commercially ({self.licence})"

    @property
    def attention_step_s(self) -> float:
        """Seconds of audio behind one weight of the attention."""
        match self.audio:
            case WhisperStatesConfig(n_frames=frames):
                return SEGMENT_S / frames
            case LogMelConfig(hop=hop):
                return POOLED_FRAMES * hop / SAMPLE_RATE
        return float(SEGMENT_S)

    @property
    def bias_logit(self) -> float:
        """The logit of the prior."""
        return logit(self.prior)
