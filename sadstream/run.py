"""`sadstream run`: from command line and configuration to a running service."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from sadstream.analyze import Analyzer
from sadstream.config import Config, StreamConfig, load, with_changes
from sadstream.errors import SadstreamError
from sadstream.pipeline import Analyze, Ready
from sadstream.score import stream_name
from sadstream.service import RunOptions, Service
from sadstream.sources import open_source

log = logging.getLogger("sadstream")


def run_daemon(
    path: Path | None,
    changes: dict[str, dict[str, Any]],
    pace_realtime: bool,
    wait_subscriber_s: float,
    require_device: bool,
) -> None:
    """Serve until the end; leaves the process at once if a thread hangs, so that a stop is never waited for."""
    config = configured(path, changes)
    sources = [open_source(stream, config.service) for stream in config.stream]
    log.info("%s", promise(config))
    service = Service(
        config, sources, lambda: load_models(config), RunOptions(pace_realtime, wait_subscriber_s, require_device)
    )
    code = 0
    try:
        ended = service.run()
    except SadstreamError as error:
        ended, code = False, error.exit_code
        print(f"sadstream: {error}", file=sys.stderr)
    if not ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def configured(path: Path | None, changes: dict[str, dict[str, Any]]) -> Config:
    """The file's configuration with what the command line replaces."""
    config = load(path)
    wanted = {
        table: {key: value for key, value in keys.items() if value is not None} for table, keys in changes.items()
    }
    stream = wanted.pop("stream", {})
    if stream:
        first = config.stream[0].model_dump() | stream
        if "source" in stream and "name" not in stream:
            first["name"] = default_name(stream["source"])
        rest = [other.model_dump() for other in config.stream[1:]]
        config = with_changes(config, {}, streams=[first, *rest])
    return with_changes(config, {table: keys for table, keys in wanted.items() if keys})


def default_name(source: str) -> str:
    """`mic` for live audio, else a name made of the file's stem."""
    return StreamConfig().name if source in ("mic", "-") else stream_name(Path(source))


def promise(config: Config) -> str:
    """One line: what is heard, kept and sent."""
    heard = ", ".join(stream.source if stream.source != "-" else "standard input" for stream in config.stream)
    words = "with the WORDS, to every subscriber" if config.publish.text else "numbers only, no words"
    return f"hears {heard}; keeps nothing; sends {words}, to {config.publish.endpoint}"


def load_models(config: Config) -> tuple[Analyze, Ready]:
    """The models, warm, and what to say of them."""
    analyzer = Analyzer(config)
    header = analyzer.header
    return analyzer, Ready(analyzer.whisper_name, analyzer.device, header.licence, header.commercial_use)
