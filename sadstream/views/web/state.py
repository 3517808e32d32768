"""What the routes of the contract share: the feed, the journal's place, the webhooks."""

import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sadstream import __version__
from sadstream.base.json_text import parsed
from sadstream.client.follower import Gap
from sadstream.client.reader import Item
from sadstream.config import load
from sadstream.events import Episode, Event, to_json
from sadstream.views.web.feed import Feed
from sadstream.views.web.latest import LatestOfStream
from sadstream.views.web.options import Options
from sadstream.views.web.webhooks import Webhook

log = logging.getLogger("sadstream")


class WebState:
    """One server's knowledge; it belongs to one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.feed = Feed(options.words)
        self.journal = journal_path(options)
        secret = options.webhook_secret or b""  # `check` refuses webhooks without one
        self.webhooks = [Webhook(url, secret) for url in options.webhooks]

    async def follow(self, items: AsyncIterator[Item]) -> None:
        """Pass on what comes, for ever."""
        async for item in items:
            self.take(item)

    def take(self, item: Item) -> None:
        """Pass on one item: to who listens, and an episode to who is to be told."""
        self.feed.take(item)
        if isinstance(item, Episode):
            for webhook in self.webhooks:
                webhook.put(item)
        elif isinstance(item, Gap) and item.event_type == Episode.type and self.webhooks:
            log.warning("%s: %d episode events lost on the wire, of which no webhook tells", item.stream, item.missed)

    def latest(self, now_s: float) -> dict[str, Any]:
        """The last events of each stream and what is wrong, as JSON has it."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        streams = [_stream(name, latest, now_s) for name, latest in sorted(self.feed.latest.streams.items())]
        webhooks = [asdict(webhook.report) for webhook in self.webhooks]
        return {"v": 1, "version": __version__, "time": now, "streams": streams, "webhooks": webhooks}


def journal_path(options: Options) -> Path | None:
    """The journal that was named, else the configuration's."""
    if options.journal is not None:
        return options.journal
    named = load(options.config).journal.path
    return None if named is None else Path(named)


def _stream(name: str, latest: LatestOfStream, now_s: float) -> dict[str, Any]:
    return {
        "stream": name,
        "heard": latest.is_heard(now_s),
        "stale": latest.is_stale(now_s),
        "silent_s": round(latest.silent_s(now_s), 1),
        "lost": latest.lost,
        "restarts": latest.restarts,
        "score": _body(latest.score),
        "status": _body(latest.status),
        "episode": _body(latest.episode),
    }


def _body(event: Event | None) -> Any:
    return None if event is None else parsed(to_json(event))
