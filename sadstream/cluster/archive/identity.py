"""What scores depend on beside the recording: two that agree in it give the same bytes."""

import json
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from sadstream import __version__
from sadstream.base.errors import UnavailableError
from sadstream.base.files import read_whole
from sadstream.base.samples import Channel
from sadstream.config import Config, parse
from sadstream.scoring.analyzer.models import LANGUAGE_IDENTIFIER, whisper_model
from sadstream.scoring.fusion.checkpoint import SHIPPED, model_id, read_header
from sadstream.scoring.fusion.header import WhisperStatesConfig
from sadstream.scoring.mood.mood import MoodPlan
from sadstream.scoring.mood.plan import checkpoint_path
from sadstream.scoring.speakers.encoder import NAME as SPEAKERS
from sadstream.scoring.speakers.gate import speakers_folder
from sadstream.scoring.weights import manifest
from sadstream.scoring.weights.catalogue import Kind
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.weights.store import CONFIG, WEIGHTS

HEARD_TABLES = ("vad", "segment", "gate", "whisper", "text", "model", "voice", "episode", "compute")
# What a path leads to counts, not what it is called; threads change no bit of a score.
PLACES = {
    "whisper": ("model", "linguist"),
    "text": ("encoder",),
    "model": ("checkpoint",),
    "voice": ("path", "speakers"),
    "compute": ("threads",),
}


@dataclass(frozen=True, slots=True)
class HearingIdentity:
    """Each thing that scores depend on, as itself or as a hash of it."""

    version: str
    checkpoint: str
    card_and_voice: str  # the checkpoint's card, a calibrated voice, the operating point
    models: str
    people: str
    settings: str
    device: str
    channel: str

    @property
    def digest(self) -> str:
        """All of it in 64 hex digits."""
        return _digest(asdict(self))

    def differences(self, other: "HearingIdentity") -> tuple[str, ...]:
        """What is another one there, in words."""
        return tuple(
            field.name.replace("_", " ")
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )


def heard_config(config: Config, device: str) -> Config:
    """The part of a configuration that scores depend on, for a machine that is not the daemon's; one device for all."""
    table = {name: getattr(config, name).model_dump(exclude_none=True) for name in HEARD_TABLES}
    table["compute"]["device"] = device
    for name, keys in PLACES.items():
        table[name] |= {key: _absolute(table[name][key], key) for key in keys if key in table[name]}
    table["publish"] = _said(config)
    return parse(table, "archive")


def identity_of(config: Config, plan: MoodPlan, device: str, channel: Channel) -> HearingIdentity:
    """The identity of a configuration here; UnavailableError for a checkpoint or model that is not here.

    No model is loaded: fetched ones are known by their manifests, a folder of one's own by its files.
    """
    return HearingIdentity(
        version=__version__,
        checkpoint=model_id(checkpoint_path(config)),
        card_and_voice=_digest(repr(plan)),
        models=_digest([_model(locate(name, kind)) for name, kind in _models(config, device)]),
        people=_digest([_file(speakers_folder(config) / f"{name}.json") for name in config.voice.only]),
        settings=_digest(_settings(config)),
        device=device,
        channel=str(channel),
    )


def _absolute(value: Any, key: str) -> Any:
    """A path as another folder's process finds it; names of models stay."""
    is_path = key in ("path", "speakers") or (key == "checkpoint" and value not in SHIPPED)
    if isinstance(value, str) and (is_path or value.startswith((".", "~"))):
        return str(Path(value).expanduser().absolute())
    return value


def _settings(config: Config) -> object:
    tables = {name: getattr(config, name).model_dump(mode="json") for name in (*HEARD_TABLES, "publish")}
    for name, keys in PLACES.items():
        tables[name] = {key: value for key, value in tables[name].items() if key not in keys}
    tables["text"]["off"] = config.text.encoder == "off"
    tables["publish"] = _said(config)
    tables["compute"] = {}  # the device that came of it stands for itself
    return tables


def _said(config: Config) -> dict[str, bool]:
    """What a score may say; a key that stands as it does by default stays out, so that older archives are known."""
    said = config.publish
    names, emotions = {"speaker": True} if said.speaker else {}, {} if said.emotions else {"emotions": False}
    return {"text": said.text} | names | emotions


def _models(config: Config, device: str) -> list[tuple[str, Kind]]:
    """The models that `load_models` would load, in its order."""
    header = read_header(checkpoint_path(config))
    found: list[tuple[str, Kind]] = []
    if header.text is not None and config.text.encoder != "off":
        found.append((header.text.name if config.text.encoder == "auto" else config.text.encoder, "text"))
        found.append((whisper_model(config.whisper.model, device), "whisper"))
        found += [(name, "whisper") for name in _linguist(config.whisper.linguist)]
    if isinstance(header.audio, WhisperStatesConfig):
        found.append((header.audio.model, "whisper"))
    if header.speaker is not None:
        found.append((header.speaker.name, "speaker"))
    if config.voice.only:
        found.append((SPEAKERS, "speaker"))
    return found


def _linguist(wanted: str) -> list[str]:
    if wanted == "off":
        return []
    if wanted != "auto":
        return [wanted]
    try:
        locate(LANGUAGE_IDENTIFIER, "whisper")
    except UnavailableError:  # goes on without
        return []
    return [LANGUAGE_IDENTIFIER]


def _model(folder: Path) -> object:
    """A fetched model's identity and its other files; of a folder of one's own what its files hold."""
    if (folder / manifest.MANIFEST).is_file():
        read = manifest.read(folder)
        return [read.identity, sorted((one.path, one.sha256) for one in read.files if one.path != WEIGHTS)]
    return [sha256(manifest.contents(folder / name)).hexdigest() for name in (CONFIG, WEIGHTS)]


def _file(path: Path) -> str:
    try:
        return sha256(read_whole(path)).hexdigest()
    except OSError:  # said when the models load
        return ""


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
