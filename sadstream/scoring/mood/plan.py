"""From configuration, card and calibrated voice to what every stream's mood goes by; files are read here."""

import logging
from pathlib import Path

from sadstream.base.errors import ConfigError, UnavailableError
from sadstream.config import Config
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import DEFAULT_FALSE_ALARMS_H, Card, Offset, read_card
from sadstream.scoring.mood.mood import MoodPlan, plan
from sadstream.scoring.mood.voice import VoiceBaseline, default_path, read_voice

log = logging.getLogger("sadstream")

NO_CARD = "{} has no card of its own that says how seldom they are wrong; `sadstream-train days` makes one"


def checkpoint_path(config: Config) -> Path:
    """The file of the checkpoint that a configuration names."""
    return checkpoint.named(config.model.checkpoint)


def read_plan(config: Config) -> MoodPlan:
    """The plan of a configuration, before any model loads; ConfigError for what was asked for and cannot be kept."""
    path = checkpoint_path(config)
    model = checkpoint.model_id(path)
    card = _card(path, model, needed=bool(config.episode.false_alarms_h))
    voice = _voice(config, model)
    wanted = config.voice.offset
    offset: Offset = "calibrated" if voice is not None else wanted
    made = plan(card, config.episode.false_alarms_h, offset, voice)
    kept = f"episodes at {made.false_alarms_h:g} false alarms an hour" if made.false_alarms_h else "no episodes"
    learnt = "learnt while it talks" if made.voices is not None else f"{made.offset_logit:+.2f}"
    log.info("mood: %s; offset %s (%s)", kept, made.offset, learnt)
    return made


def without_episodes(config: Config, made: MoodPlan) -> str:
    """Why nothing will be said of episodes; empty where it will, or where nobody wants it."""
    if made.false_alarms_h or config.episode.false_alarms_h == 0.0:
        return ""
    if made.uncertain is None:
        return f"no episodes: {NO_CARD.format(checkpoint_path(config))}"
    return f"no episodes: the card of {checkpoint_path(config)} keeps no {DEFAULT_FALSE_ALARMS_H:g} false alarm an hour"


def _card(path: Path, model: str, needed: bool) -> Card | None:
    try:
        return read_card(path, model)
    except UnavailableError as error:
        if needed:
            raise
        log.warning("no episodes: %s", error)
        return None


def _voice(config: Config, model: str) -> VoiceBaseline | None:
    """The calibrated voice where it is wanted and there; ConfigError where it is demanded and not there."""
    wanted = config.voice.offset
    if wanted not in ("auto", "calibrated"):
        return None
    path = Path(config.voice.path).expanduser() if config.voice.path else default_path()
    try:
        voice = read_voice(path)
    except PermissionError as error:  # a sandbox may hide the home
        voice, why = None, f"cannot be read: {error.strerror}; let this user read it, or calibrate as this user"
    else:
        if voice is not None and voice.model == model:
            return voice
        why = f"calibrated for checkpoint {voice.model}, found {model}" if voice else "no such file"
        why += "; run `sadstream calibrate`"
    if wanted == "calibrated":
        raise ConfigError(f"voice.offset = 'calibrated': {path}: {why}")
    if not why.startswith("no such file"):
        log.warning("not calibrated: %s: %s", path, why)
    return None
