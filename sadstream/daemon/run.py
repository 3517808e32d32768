"""`sadstream run`: from command line and configuration to a running service."""

import faulthandler
import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sadstream.audio.sources.browser import BrowserServer, browser_server
from sadstream.audio.sources.network import shown
from sadstream.audio.sources.opening import STANDARD_INPUT, open_source, refuse_shared_pipes
from sadstream.base import logs
from sadstream.base.errors import SadstreamError
from sadstream.config import Config
from sadstream.config.loading import configured
from sadstream.config.tables import JournalConfig, MetricsConfig, PublishConfig
from sadstream.daemon.loading import load_analyzer
from sadstream.daemon.messages import Load, Observed, Observer
from sadstream.daemon.pipeline.background_worker import BackgroundWorker
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.publishing.uplink import Uplink
from sadstream.daemon.service import BugError, RunOptions, Service
from sadstream.daemon.supervision import metrics
from sadstream.daemon.supervision.controlling_terminal import ControllingTerminal
from sadstream.daemon.supervision.pause_file import PauseFile
from sadstream.events import Score
from sadstream.events.keys import dialling_keys, has_credentials, server_keys
from sadstream.scoring.mood.plan import read_plan, without_episodes

log = logging.getLogger("sadstream")


def run_daemon(
    path: Path | None,
    changes: dict[str, dict[str, Any]],
    pace_realtime: bool,
    wait_subscriber_s: float,
    require_device: bool,
    loader: Callable[[Config, bool], Load] = lambda config, patient: partial(load_analyzer, config, patient=patient),
) -> None:
    """Serve until the end, then leave the process at once: no thread and no library is waited for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the service knows better
    with suppress(OSError, ValueError):  # a sandbox may forbid it, and then sets it itself
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the last seconds of speech
    with suppress(OSError, ValueError, RuntimeError):  # no standard error
        faulthandler.enable()  # a crash or the watchdog's SIGABRT says where each thread was: code, no values
    config = configured(path, changes)
    logs.set_up(config.service.log_level)
    refuse_shared_pipes(config)
    browsers = browser_server(config)
    sources = [open_source(stream, config, browsers) for stream in config.stream]
    log.info("%s", promise(config))
    if config.publish.text:
        log.warning("publish.text is on: every word that is heard goes to every subscriber of this endpoint")
    beside, plan = ExitStack(), read_plan(config)
    if missing := without_episodes(config, plan):
        log.warning("%s", missing)
    options = RunOptions(
        pace_realtime,
        wait_subscriber_s,
        require_device,
        plan=plan,
        notes=(missing,) if missing else (),
        pause_file=PauseFile(config.publish.endpoint) if any(source.live for source in sources) else None,
        is_cut=ControllingTerminal().is_cut,
        read_again=None if path is None else lambda: configured(path, changes),
        observers=(*journaling(config.journal, beside), *measuring(config.metrics), *told(browsers)),
    )
    service = Service(config, sources, loader(config, not pace_realtime), options, publisher_of(config.publish))
    code = 0
    try:
        service.run()
    except SadstreamError as error:
        code = error.exit_code
        logs.fatal(f"sadstream: {error}")
    except BugError as bug:
        code = 1
        logs.fatal(f"sadstream: a bug: {described(bug)}")
    except Exception:
        code = 1
        logs.fatal(traceback.format_exc())
    beside.close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # full, closed, or never there
            stream.flush()
    os._exit(code)  # a thread may hang, and to take PyTorch apart takes seconds; nothing is left to be done


def check(config: Config) -> None:
    """Raise what `run` would raise before it listens: its models are loaded, nothing is bound, heard or written."""
    refuse_shared_pipes(config)
    browsers = browser_server(config)
    for stream in config.stream:
        if stream.source not in STANDARD_INPUT:  # ours is not the daemon's
            open_source(stream, config, browsers)
    if browsers is not None:
        browsers.check()
    read_plan(config)
    publisher_of(config.publish)
    if config.journal.path is not None:
        from sadstream.events.journal import check_path

        check_path(Path(config.journal.path))
    if config.metrics.listen is not None:
        metrics.require()
    load_analyzer(config, lambda _: None)


def publisher_of(config: PublishConfig) -> Publisher:
    """What a configuration describes, not bound yet; ConfigError for keys that cannot be used."""
    uplink = None
    if config.to is not None:
        uplink = Uplink(config.to, dialling_keys(config.to_server_key, config.secret_key))
    only_dials = config.to_server_key is not None and config.allow is None and not has_credentials()
    keys = None if only_dials else server_keys(config.secret_key, config.allow)
    return Publisher(config.endpoint, keys, config.replay, config.replay_events, uplink)


def journaling(config: JournalConfig, beside: ExitStack) -> tuple[Observer, ...]:
    """Who writes the scores to the disk, if anybody does; ConfigError for a place that cannot be written."""
    if config.path is None:
        return ()
    from sadstream.events.journal import Journal, check_path

    journal = Journal(check_path(Path(config.path)), config.keep_days)
    worker = beside.enter_context(BackgroundWorker("journal", journal.write, journal.close))

    def keep(what: Observed) -> None:
        if isinstance(what, Score):
            worker.put(what)

    return (keep,)


def measuring(config: MetricsConfig) -> tuple[Observer, ...]:
    """Who counts for Prometheus, if anybody does."""
    return () if config.listen is None else (metrics.serve(config.listen),)


def told(browsers: BrowserServer | None) -> tuple[Observer, ...]:
    """The page of a browser's microphone, if there is one, started; raises what keeps it from that."""
    if browsers is None:
        return ()
    address = browsers.start()
    logs.note(f"sadstream: open {address} in a browser and press Start: it is the microphone")
    return (browsers.tell,)


def described(bug: BugError) -> str:
    """Where it happened, line by line, without the exception's message, which may hold words."""
    (error,) = bug.args
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__} (its message is left out: it may hold words)\n{frames}"


def promise(config: Config) -> str:
    """One line: what is heard, kept and sent."""
    heard = ", ".join(shown(stream.source) if stream.source != "-" else "standard input" for stream in config.stream)
    said = [what for what, on in (("the WORDS", config.publish.text), ("the NAMES", config.publish.speaker)) if on]
    words = f"with {' and '.join(said)}, to every subscriber" if said else "numbers only, no words"
    kept = "nothing" if config.journal.path is None else f"scores, no words, in {config.journal.path}"
    to = config.publish.endpoint if config.publish.to is None else f"{config.publish.endpoint} and {config.publish.to}"
    return f"hears {heard}; keeps {kept}; sends {words}, to {to}"
