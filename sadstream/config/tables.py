"""The configuration: one frozen record a stage, every key checked before anything starts."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from sadstream.base.boundary import at_home
from sadstream.base.samples import FRAME_MS, SEGMENT_FRAMES
from sadstream.config import web_address
from sadstream.events import DEFAULT_ENDPOINT, STREAM_NAME
from sadstream.events import endpoint as address
from sadstream.events.keys import (
    DIAL_NEEDS_KEYS,
    NEEDS_KEYS,
    ROOM_CREDENTIAL,
    has_credentials,
    has_secret_credential,
    is_key,
    room_key,
)
from sadstream.events.types import NAME_EXPECTED

Probability = Annotated[float, Field(ge=1e-6, le=1.0 - 1e-6)]  # its logit is 14 at most
Name = Annotated[str, Field(pattern=f"^{STREAM_NAME.pattern}$")]
LANGUAGE = "^[a-z]{2,3}$"
LOCAL_ADDRESS = r"^(127\.0\.0\.1|localhost):[1-9][0-9]{0,4}$"
# What a pattern asks for, in words.
EXPECTED: Mapping[str, str] = {
    f"^{STREAM_NAME.pattern}$": NAME_EXPECTED,
    LANGUAGE: "expected a language's code of two or three small letters, such as en",
    LOCAL_ADDRESS: "expected an address of this machine, such as 127.0.0.1:9464",
}
Dbfs = Annotated[float, Field(ge=-80.0, le=0.0)]
MqttTopic = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=64)]


class TomlTable(BaseModel):
    """A TOML table: frozen, no unknown key, no NaN, no silent conversion from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _at_home(cls, value: Any) -> Any:
        """`~` is the home in every path; no value holds a NUL, which no path can."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("expected text without NUL")
        return at_home(value) if isinstance(value, str) else value


class StreamConfig(TomlTable):
    """One thing to listen to."""

    name: Name = "mic"
    source: str = Field(
        default="mic", min_length=1, description="mic, browser, a recording, an address, a named pipe or - (raw PCM)"
    )
    device: str | None = Field(default=None, description="part of a capture device's name, in any case")
    rate: int = Field(default=16_000, ge=8_000, le=192_000, description="Hz, of raw PCM")
    channels: int = Field(default=1, ge=1, le=32, description="of raw PCM; how many a sound server is asked for")
    channel: Annotated[int, Field(ge=1, le=64)] | Literal["mix"] = Field(
        default="mix", description="the one that is heard, from 1; mix: all that help"
    )


class ComputeConfig(TomlTable):
    """Where the models run."""

    device: Literal["auto", "cpu", "cuda", "remote"] = Field(
        default="auto", description="remote: those of [remote] are asked"
    )
    threads: int = Field(default=0, ge=0, le=256, description="0: PyTorch's own choice")
    release_after_s: Annotated[float, Field(ge=10.0, le=86_400.0)] | None = Field(
        default=None, description="own models that nobody needs for this long leave memory until somebody speaks"
    )


class RemoteConfig(TomlTable):
    """Who scores for a room; read only with compute.device = "remote"."""

    endpoints: tuple[str, ...] = Field(
        default=(),
        strict=False,
        max_length=16,
        description="doors of `sadstream serve`; the first that answers",
    )
    server_key: str | None = Field(default=None, description="public key of the doors, 40 letters")
    secret_key: str | None = Field(default=None, min_length=1, description="file of this room's CURVE key")
    timeout_s: float = Field(default=2.0, ge=0.1, le=6.0, description="for an answer")
    fallback: Literal["auto", "cold", "warm", "none"] = Field(
        default="auto",
        description="own models while nobody answers: cold: loaded then; warm: always loaded; none: segments are "
        "dropped; auto: cold where they are here",
    )
    codec: Literal["pcm", "flac"] = Field(default="pcm", description="flac: 6 bytes for 10, lossless")

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(address.check(endpoint) for endpoint in endpoints)

    @field_validator("server_key")
    @classmethod
    def _is_key(cls, key: str | None) -> str | None:
        if key is not None and not is_key(key):
            raise ValueError("expected the 40 letters that `sadstream keys show` prints for the door's key")
        return key


class VadConfig(TomlTable):
    """Voice activity detection on a level-normalised copy of the audio."""

    aggressiveness: int = Field(default=2, ge=0, le=3, description="0 keeps most, 3 drops most")
    silence_dbfs: Dbfs = Field(default=-62.0, description="a frame quieter than this is never speech")
    target_dbfs: Dbfs = Field(default=-20.0, description="level that the loudest speech is brought to")
    noise_dbfs: Dbfs = Field(default=-50.0, description="level above which the noise floor is not lifted")
    max_gain_db: float = Field(default=25.0, ge=0.0, le=60.0)
    decay_db_s: float = Field(default=4.0, gt=0.0, le=100.0, description="how fast loudness is forgotten")
    rise_db_s: float = Field(default=5.0, gt=0.0, le=100.0, description="how fast the noise floor may rise")


class SegmentConfig(TomlTable):
    """Where a segment opens and closes."""

    open_voiced: int = Field(default=6, ge=1, le=50, description="voiced frames of the window that open it")
    open_window: int = Field(default=10, ge=1, le=50, description="frames of 30 ms")
    pre_roll_ms: int = Field(default=210, ge=0, le=900, description="kept before the window that opens it")
    hold_ms: int = Field(default=300, ge=FRAME_MS, le=1500, description="pause that closes it")
    min_voiced_ms: int = Field(default=180, ge=0, le=1500, description="less speech than this is no segment")

    @model_validator(mode="after")
    def _fits(self) -> "SegmentConfig":
        if self.open_voiced > self.open_window:
            raise ValueError(f"open_voiced = {self.open_voiced}: expected at most open_window = {self.open_window}")
        if self.open_window + self.pre_roll_ms // FRAME_MS >= SEGMENT_FRAMES:
            raise ValueError("open_window and pre_roll_ms: expected less than 3 s together")
        return self


class GateConfig(TomlTable):
    """Which segments are scored at all."""

    speech: float = Field(
        default=0.15,
        ge=0.0,
        le=1.0,
        description="probability of speech below which a segment is not scored; 0: all are",
    )


class WhisperConfig(TomlTable):
    """Who hears the words."""

    model: str = Field(
        default="auto",
        min_length=1,
        description="auto: tiny.en on a CPU, base with CUDA; or name, or folder, also as transformers saves it",
    )
    linguist: str = Field(
        default="auto", min_length=1, description="who is asked which language it is: auto: base where it is here; off"
    )
    language: str = Field(default="en", pattern=LANGUAGE)

    @field_validator("model")
    @classmethod
    def _is_a_model(cls, model: str) -> str:
        if model == "off":
            raise ValueError('expected a model; words are left out with [text] encoder = "off"')
        return model


class TextConfig(TomlTable):
    """Whether words count, and who embeds them."""

    encoder: str = Field(default="auto", min_length=1, description="auto: the checkpoint's; off: audio only; or a path")


class ModelConfig(TomlTable):
    """The fusion model and its operating point."""

    checkpoint: str = Field(default="default", min_length=1, description="default or open, which ship; or a path")
    prior: Probability | None = Field(default=None, description="share of sad segments expected; none: the header's")
    threshold: Probability | None = Field(
        default=None, description="p_sad from which a segment is sad; none: the header's"
    )


class VoiceConfig(TomlTable):
    """What a single voice is known to sound like."""

    offset: Literal["auto", "off", "running", "calibrated"] = Field(
        default="auto", description="auto: learnt while somebody talks, from `sadstream calibrate` on where it was run"
    )
    path: str | None = Field(default=None, min_length=1, description="file of the calibrated voice")
    only: tuple[Name, ...] = Field(
        default=(), strict=False, description="score nobody but these people, known by `sadstream enroll`; none: all"
    )
    match: float = Field(
        default=0.70,
        ge=0.0,
        le=1.0,
        description="cosine similarity from which a voice is theirs; higher leaves more out",
    )
    speakers: str | None = Field(default=None, min_length=1, description="folder of the enrolled people")


class EpisodeConfig(TomlTable):
    """The operating point of the episodes."""

    false_alarms_h: float | None = Field(
        default=None, ge=0.0, le=1000.0, description="an hour of talk; 0: no episodes; none: 1 where it can be kept"
    )


class PublishConfig(TomlTable):
    """Where the events go, and whether words go with them."""

    endpoint: str = DEFAULT_ENDPOINT
    text: bool = Field(default=False, description="the words go to every subscriber; off unless you say so")
    speaker: bool = Field(
        default=False, description="the name of who is told apart by voice.only goes to every subscriber"
    )
    emotions: bool = Field(
        default=True, description="emotions, valence and arousal, where the checkpoint has them, go along and are kept"
    )
    provisional: bool = Field(default=False, description="a score of the sound alone at once, the whole one after it")
    replay: str = Field(default="auto", description="where the last events can be asked for: auto, off, or an endpoint")
    replay_events: int = Field(default=500, ge=0, le=100_000, description="kept in memory, of each topic")
    secret_key: str | None = Field(default=None, min_length=1, description="file of the daemon's CURVE key")
    allow: str | None = Field(default=None, min_length=1, description="file with the public keys that may listen")
    to: str | None = Field(default=None, description="endpoint of a gatherer, which is dialled beside all that")
    to_server_key: str | None = Field(default=None, description="the gatherer's public key; ours is secret_key")

    @field_validator("endpoint", "replay")
    @classmethod
    def _bindable(cls, endpoint: str, info: ValidationInfo) -> str:
        return endpoint if info.field_name == "replay" and endpoint in ("auto", "off") else address.check(endpoint)

    @field_validator("to")
    @classmethod
    def _dialable(cls, endpoint: str | None) -> str | None:
        return None if endpoint is None else address.check(endpoint)

    @field_validator("to_server_key")
    @classmethod
    def _whole(cls, key: str | None) -> str | None:
        if key is not None and not is_key(key):
            raise ValueError("expected the 40 letters that `sadstream keys show` prints on the gatherer's side")
        return key

    @model_validator(mode="after")
    def _dials_with_keys(self) -> "PublishConfig":
        if self.to is None and self.to_server_key is not None:
            raise ValueError("to_server_key: expected the gatherer's endpoint in to")
        if self.to is not None and self.to_server_key is None and not address.is_local(self.to):
            raise ValueError(f"to = {self.to!r}: {DIAL_NEEDS_KEYS}")
        if self.to_server_key is not None and self.secret_key is None and not has_secret_credential():
            raise ValueError("to_server_key: expected our own key too, in secret_key (`sadstream keys new`)")
        return self

    @model_validator(mode="after")
    def _not_for_everybody(self) -> "PublishConfig":
        for name, endpoint in (("endpoint", self.endpoint), ("replay", self.replay)):
            local = endpoint in ("auto", "off") or address.is_local(endpoint)
            if not local and self.allow is None and not has_credentials():
                raise ValueError(f"{name} = {endpoint!r}: {NEEDS_KEYS}")
        return self


class GatherConfig(TomlTable):
    """Where a gatherer lets rooms dial in; where it passes on what they say is `[publish]`'s."""

    listen: str = Field(default="tcp://127.0.0.1:5557", description="endpoint that rooms name in publish.to")
    allow: str | None = Field(
        default=None, min_length=1, description="file with the rooms' public keys; none: those of publish.allow"
    )

    @field_validator("listen")
    @classmethod
    def _bindable(cls, endpoint: str) -> str:
        return address.check(endpoint)


class JournalConfig(TomlTable):
    """Scores on disk, never the words; off unless it has a path."""

    path: str | None = Field(default=None, min_length=1, description="SQLite file; its folder must be there")
    keep_days: float = Field(default=30.0, gt=0.0, le=36_500.0, description="older scores are deleted")


class ServiceConfig(TomlTable):
    """How the daemon lives."""

    heartbeat_s: float = Field(default=5.0, ge=0.1, le=5.0, description="status at least this often")
    retry_s: float = Field(default=1.0, ge=0.1, le=60.0, description="between tries to open a lost microphone")
    stall_s: float = Field(default=1.5, ge=0.5, le=60.0, description="no audio for this long is a fault")
    hang_s: float = Field(default=20.0, ge=1.0, le=600.0, description="no progress for this long ends with 75")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsConfig(TomlTable):
    """Prometheus metrics; off unless they have an address."""

    listen: str | None = Field(default=None, pattern=LOCAL_ADDRESS, description="host:port")


class WebConfig(TomlTable):
    """Whose pages may ask `sadstream web` and the dashboard, where `sadstream web` posts episodes, and who may be heard
    through a browser."""

    origins: tuple[str, ...] = Field(
        default=(), strict=False, max_length=100, description="of pages elsewhere that may ask, exactly"
    )
    webhooks: tuple[str, ...] = Field(
        default=(), strict=False, max_length=16, description="URLs that episodes are posted to; https, or this machine"
    )
    webhook_secret_file: str | None = Field(
        default=None, min_length=1, description="file with the secret that signs them"
    )
    microphone_host: str = Field(
        default="127.0.0.1", min_length=1, description='of the page of source = "browser"; another needs the next five'
    )
    microphone_port: int = Field(default=8752, ge=1, le=65_535, description="of that page")
    microphone_names: tuple[str, ...] = Field(
        default=(), strict=False, max_length=16, description="what browsers call this machine"
    )
    microphone_token: str | None = Field(default=None, min_length=1, description="file with the token that lets in")
    microphone_tls_cert: str | None = Field(default=None, min_length=1, description="file with the certificate, PEM")
    microphone_tls_key: str | None = Field(default=None, min_length=1, description="file with its key, PEM")

    @field_validator("origins")
    @classmethod
    def _exact(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_address.check_origin(origin) for origin in origins)

    @field_validator("webhooks")
    @classmethod
    def _private(cls, webhooks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_address.check_webhook(url) for url in webhooks)


class MqttConfig(TomlTable):
    """What `sadstream mqtt` tells which broker; the daemon itself never reads it."""

    broker: str | None = Field(default=None, min_length=1, description="HOST or HOST:PORT")
    username: str | None = Field(default=None, min_length=1)
    password_file: str | None = Field(
        default=None, min_length=1, description="mode 600; none: the service's credential mqtt.password"
    )
    tls_ca: str | None = Field(
        default=None,
        min_length=1,
        description="file with the authority that signed the broker's certificate; none: no TLS",
    )
    insecure: bool = Field(default=False, description="password and scores may cross the network in plain")
    endpoints: tuple[str, ...] = Field(
        default=(),
        strict=False,
        max_length=64,
        description="[NAME=]ENDPOINT of each daemon; none: the one of [publish]",
    )
    server_key: str | None = Field(default=None, description="public key of daemons on other machines")
    secret_key: str | None = Field(default=None, min_length=1, description="file with our key, for these")
    topic: MqttTopic = "sadstream"
    discovery: MqttTopic = Field(default="homeassistant", description="topic where Home Assistant looks for devices")
    words: bool = Field(default=False, description="the words go to the broker, where the daemon publishes them")
    pause: bool = Field(default=True, description="a switch that pauses daemons of this machine")


class Config(TomlTable):
    """Everything the daemon can be told."""

    stream: tuple[StreamConfig, ...] = Field(default=(StreamConfig(),), min_length=1, strict=False)
    compute: ComputeConfig = ComputeConfig()
    remote: RemoteConfig = RemoteConfig()
    vad: VadConfig = VadConfig()
    segment: SegmentConfig = SegmentConfig()
    gate: GateConfig = GateConfig()
    whisper: WhisperConfig = WhisperConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    voice: VoiceConfig = VoiceConfig()
    episode: EpisodeConfig = EpisodeConfig()
    publish: PublishConfig = PublishConfig()
    gather: GatherConfig = GatherConfig()
    service: ServiceConfig = ServiceConfig()
    journal: JournalConfig = JournalConfig()
    metrics: MetricsConfig = MetricsConfig()
    web: WebConfig = WebConfig()
    mqtt: MqttConfig = MqttConfig()

    @model_validator(mode="after")
    def _asks_somebody(self) -> "Config":
        asked = self.remote
        if self.compute.device != "remote":
            return self
        if not asked.endpoints:
            raise ValueError('remote.endpoints: missing; compute.device = "remote" asks the doors of `sadstream serve`')
        own = room_key(asked.secret_key) if asked.server_key else asked.secret_key
        if (asked.server_key is None) != (own is None):
            raise ValueError(
                "remote.server_key and remote.secret_key: expected both or none (a service's own key may be its "
                f"credential {ROOM_CREDENTIAL})"
            )
        far = [endpoint for endpoint in asked.endpoints if not address.is_local(endpoint)]
        if far and asked.server_key is None:
            raise ValueError(
                f"remote.endpoints = {far[0]!r}: speech would cross the network in plain; set remote.server_key (the "
                "door's public key) and remote.secret_key (`sadstream keys new ROOM.key`)"
            )
        if self.publish.provisional:
            raise ValueError('publish.provisional: a door answers once; expected false with compute.device = "remote"')
        return self

    @model_validator(mode="after")
    def _tells_people_apart(self) -> "Config":
        if self.publish.speaker and not self.voice.only:
            raise ValueError(
                "publish.speaker: nobody is told apart; expected voice.only to name people who were enrolled"
            )
        return self

    @model_validator(mode="after")
    def _keys_are_whole(self) -> "Config":
        publish, listed = self.publish, self.publish.allow is not None or self.gather.allow is not None
        alone = publish.secret_key is not None and publish.to_server_key is not None  # to dial with
        if (publish.secret_key is None) == listed and not alone:
            raise ValueError("publish.secret_key and allow: expected both or none")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Config":
        names = [stream.name for stream in self.stream]
        if len(set(names)) < len(names):
            raise ValueError(f"stream.name: expected different names, found {', '.join(names)}")
        return self
