"""From a configuration to whoever scores: models of this machine, smaller ones where they do not fit, or a door."""

import importlib.util
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sadstream.base.errors import ConfigError, SadstreamError
from sadstream.config import Config, with_changes
from sadstream.config.tables import RemoteConfig
from sadstream.daemon.messages import LoadedAnalyzer, ModelsDegraded, ModelsReady, OnDegraded
from sadstream.daemon.pipeline.door_connection import DoorConnection
from sadstream.daemon.pipeline.fallback import Fallback, FallbackStage
from sadstream.daemon.remote.analyzer import RemoteAnalyzer
from sadstream.daemon.remote.reachability import HELLOS_BACK, Reachability
from sadstream.events.keys import client_curve, public_key, room_key
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.fusion import checkpoint

log = logging.getLogger("sadstream")

DOOR_S = 5.0  # for a first answer; a room whose cluster is away starts all the same


def load_analyzer(config: Config, on_degraded: OnDegraded, patient: bool = False) -> LoadedAnalyzer:
    """Whoever scores, ready, and what to say of them; `patient`: a segment waits until it is scored."""
    if config.compute.device == "remote":
        return load_remote(config, on_degraded, patient)
    return load_with_fallback(config, on_degraded)


def load_with_fallback(
    config: Config, on_degraded: OnDegraded, now: Callable[[], float] = time.monotonic
) -> LoadedAnalyzer:
    """The models, warm, and what to say of them; where they do not fit, smaller ones, until by `now` they may again."""

    def stage(name: str, changes: dict[str, dict[str, Any]]) -> FallbackStage:
        return FallbackStage(name, lambda: _loaded(with_changes(config, changes)))

    fallback = Fallback(
        [
            stage("as configured", {}),
            stage("the smallest Whisper", {"whisper": {"model": "tiny.en", "linguist": "off"}}),
            stage("on the CPU", {"compute": {"device": "cpu"}, "whisper": {"model": "tiny.en"}}),
            stage("audio only, on the CPU", {"compute": {"device": "cpu"}, "text": {"encoder": "off"}}),
        ],
        on_degraded,
        now,
    )
    return LoadedAnalyzer(fallback, fallback.ready, fallback)


def _loaded(config: Config) -> LoadedAnalyzer:
    models = load_models(config)
    header = models.header
    return LoadedAnalyzer(
        Analyzer(models), ModelsReady(models.whisper_name, models.device, header.licence, header.terms)
    )


def load_remote(config: Config, on_degraded: OnDegraded, patient: bool = False) -> LoadedAnalyzer:
    """A door elsewhere, and the room's own models for when it is away; ConfigError where it never could score."""
    asked, path = config.remote, checkpoint.named(config.model.checkpoint)
    header, model = checkpoint.read_header(path), checkpoint.model_id(path)
    curve = client_curve(asked.server_key, _own_key(asked))
    own = _own_models(config)
    local = load_with_fallback(own, on_degraded) if own is not None and asked.fallback == "warm" else None

    told: list[bool] = []  # that it is away

    def say(is_up: bool) -> None:
        if not is_up:
            told.append(True)
            on_degraded(ModelsDegraded("slow", f"the cluster is away: {_instead(own)}", "local" if own else "remote"))
        elif told:  # not at the start: that is how it should be
            on_degraded(ModelsDegraded("none", "the cluster answers", "remote"))

    def load_local() -> LoadedAnalyzer:
        assert own is not None
        on_degraded(ModelsDegraded("slow", "the room's own models are loaded", loading=True))
        found = load_with_fallback(own, on_degraded)
        on_degraded(ModelsDegraded("slow", "the room's own models are there", loading=False))
        return found

    link = DoorConnection(asked.endpoints, curve, Reachability(HELLOS_BACK if own is not None else 1), say)
    if not _first_hello(link, config, model):
        say(False)
    analyzer = RemoteAnalyzer(config, header, model, link, load_local if own is not None else None, local, patient)
    hello = link.hello
    whisper, device = (hello.whisper, f"{hello.device} of {asked.endpoints[0]}") if hello else ("?", asked.endpoints[0])
    return LoadedAnalyzer(analyzer, ModelsReady(whisper, device, header.licence, header.terms))


def _first_hello(link: DoorConnection, config: Config, model: str) -> bool:
    """True where a door answers that scores for us, False where none does yet; ConfigError where it never will."""
    asked = config.remote
    if not link.start(DOOR_S):
        own_key = _own_key(asked)
        if link.is_denied and own_key is not None:
            raise ConfigError(
                f"remote.secret_key: the door at {asked.endpoints[0]} does not know this room; on its machine: "
                f"sadstream keys allow '{public_key(own_key)}' --name ROOM --to ITS-ALLOW-LIST"
            )
        doors = ", ".join(asked.endpoints)
        log.warning("no answer from %s: is `sadstream serve` running there, and is remote.server_key its key?", doors)
        return False
    if link.hello is not None and link.hello.model != model:
        raise ConfigError(
            f"model.checkpoint: the door at {asked.endpoints[0]} hears with {link.hello.model}, this room expects "
            f"{model}; name the same checkpoint on both sides"
        )
    return True


def _own_key(asked: RemoteConfig) -> Path | None:
    return room_key(asked.secret_key) if asked.server_key else None


def _instead(own: Config | None) -> str:
    return "segments are dropped" if own is None else "the room's own models score"


def _own_models(config: Config) -> Config | None:
    """The configuration of the room's own models; None where there are none, or none are wanted."""
    if config.remote.fallback == "none":
        return None
    own = with_changes(config, {"compute": {"device": "auto"}})
    missing = "torch is not installed" if importlib.util.find_spec("torch") is None else _missing_model(own)
    if missing and config.remote.fallback != "auto":
        raise ConfigError(f'remote.fallback = "{config.remote.fallback}": {missing}; or set it to "none"')
    return None if missing else own


def _missing_model(config: Config) -> str:
    from sadstream.scoring.analyzer.models import expect_models

    try:
        expect_models(config)
    except SadstreamError as error:
        return str(error)
    return ""
