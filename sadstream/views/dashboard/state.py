"""What all the routes share: the feed, the past, the card, and the daemon's last answer."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool

from sadstream import __version__
from sadstream.base.errors import MissingFileError, UnavailableError
from sadstream.config import load
from sadstream.events.control import DaemonReport, Word, ask
from sadstream.views.dashboard.history.table import JournalReader, ScoreTable
from sadstream.views.dashboard.operating_point import trade_off
from sadstream.views.web.options import Options
from sadstream.views.web.state import WebState

ASK_S = 1.0  # the daemon is asked how it is at most this often, however many look

Ask = Callable[[str, Word], DaemonReport]


class DashboardState:
    """One dashboard's knowledge; it belongs to one event loop."""

    def __init__(self, options: Options, ask_daemon: Ask = ask) -> None:
        self.web = WebState(options)
        self.options = options
        self.csrf = secrets.token_urlsafe(32)  # known to our own page alone
        self.feed = self.web.feed
        self._journal = None if self.web.journal is None else JournalReader(self.web.journal)
        self._trade_off = trade_off(load(options.config))
        self._ask = ask_daemon
        self._reading = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._asked_s = -math.inf
        self._answer: DaemonReport | None = None

    async def table(self, stream: str | None) -> ScoreTable:
        """The journal as it is now, of one stream or of all; MissingFileError, DataError where it cannot be read."""
        if self._journal is None:
            raise MissingFileError("No journal: name one with --journal, or [journal] path in --config.")
        async with self._reading:
            table = await run_in_threadpool(self._journal.table)
        return table if stream is None else table.of(stream)

    async def tell(self, word: Word) -> DaemonReport | None:
        """The daemon's answer, or None where its control socket does not answer us; `status` may be a second old."""
        if not self.options.can_pause:
            return None
        async with self._asking:
            if word != "status" or time.monotonic() - self._asked_s > ASK_S:
                try:
                    self._answer = await run_in_threadpool(self._ask, self.options.endpoint, word)
                except UnavailableError:
                    self._answer = None
                self._asked_s = time.monotonic()
            return self._answer

    def state(self, report: DaemonReport | None) -> dict[str, Any]:
        """What the page says of daemon and privacy beside the events, as JSON has it."""
        return {
            "version": __version__,
            "csrf": self.csrf,
            "endpoint": self.options.endpoint,
            "page_is_local": self.options.is_local,
            "words_shown": self.options.words,
            "words_sent": report.words if report else self.feed.words_sent,
            "journal": self._journal is not None,
            "daemon": None if report is None else asdict(report),
            "can_pause": report is not None,
            "why_not": "" if report else self._why_not(),
            "trade_off": None if self._trade_off is None else asdict(self._trade_off),
        }

    def _why_not(self) -> str:
        if not self.options.can_pause:
            return "the daemon is on another machine; pause it there."
        return "no control socket of a daemon of yours answers."
