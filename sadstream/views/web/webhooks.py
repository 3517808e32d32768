"""Episodes posted to whoever asked: signed, in order, tried again for an hour; what is lost is counted and said."""

import asyncio
import hashlib
import hmac
import logging
import ssl
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from sadstream import __version__
from sadstream.base.logs import CHANGE
from sadstream.events import Episode, Phase, to_json
from sadstream.events.journal import unix_s

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("sadstream")

WAITING = 100  # episodes for one receiver; the oldest makes room
TIMEOUT_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0  # between tries, doubled each time
GIVE_UP_S = 3600.0  # an episode that nobody took for so long is no news
FRESH_S = 60.0  # what was said before we began is posted too if it is no older: a restart loses nothing
PHASES: tuple[Phase, ...] = ("start", "end")


@dataclass(frozen=True, slots=True)
class WebhookReport:
    """How a receiver's deliveries stand; `to` without the path, which may be a secret."""

    to: str
    delivered: int
    waiting: int
    lost: int
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One episode event on its way."""

    id: str
    body: bytes
    begun_s: float


class Webhook:
    """One receiver; it belongs to one event loop."""

    def __init__(self, url: str, secret: bytes) -> None:
        parts = urlsplit(url)
        self._url = url
        self._secret = secret
        self._to = f"{parts.scheme}://{parts.netloc}"
        self._began_s = time.time()
        self._waiting: deque[Delivery] = deque()
        self._some = asyncio.Event()
        self._delivered = 0
        self._lost = 0
        self._trouble: str | None = None

    @property
    def report(self) -> WebhookReport:
        """How it stands."""
        return WebhookReport(self._to, self._delivered, len(self._waiting), self._lost, self._trouble)

    def put(self, episode: Episode) -> None:
        """Post this as soon as the receiver takes it; updates and what is old are not posted."""
        if episode.phase not in PHASES or unix_s(episode.time) < self._began_s - FRESH_S:
            return
        if len(self._waiting) == WAITING:
            self._waiting.popleft()
            self._lose(1, f"more than {WAITING} wait")
        delivery_id = f"{episode.stream}.{quote(episode.session, safe='')}.{episode.type}.{episode.seq}"
        self._waiting.append(Delivery(delivery_id, to_json(episode).encode(), time.monotonic()))
        self._some.set()

    async def deliver(self) -> None:
        """Deliver what waits, one after the other, for ever; what still waits at the end is lost."""
        import httpx

        tls = ssl.create_default_context()  # the system's authorities, or SSL_CERT_FILE's
        try:
            # No proxy of the environment: what is meant for this machine would leave it.
            async with httpx.AsyncClient(timeout=TIMEOUT_S, verify=tls, trust_env=False) as client:
                while True:
                    await self._some.wait()
                    while self._waiting:
                        await self._deliver_first(client)
                    self._some.clear()
        finally:
            if self._waiting:
                self._lose(len(self._waiting), "we end")

    async def _deliver_first(self, client: "httpx.AsyncClient") -> None:
        delivery, wait_s = self._waiting[0], FIRST_WAIT_S
        while not await self._taken(client, delivery):
            if time.monotonic() - delivery.begun_s > GIVE_UP_S:
                self._waiting.popleft()
                self._lose(1, f"tried for {GIVE_UP_S:.0f} s")
                return
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            if self._waiting[0] is not delivery:  # it had to make room
                return
        self._delivered += 1
        if self._waiting[0] is delivery:
            self._waiting.popleft()
        else:  # it had to make room while it was on its way
            self._lost -= 1

    async def _taken(self, client: "httpx.AsyncClient", delivery: Delivery) -> bool:
        """The receiver said 2xx; a redirection is no yes, since it may lead anywhere."""
        import httpx

        try:
            answer = await client.post(self._url, content=delivery.body, headers=self._headers(delivery))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._failed(type(error).__name__)
        if not answer.is_success:
            return self._failed(f"status {answer.status_code}")
        if self._trouble is not None:
            self._trouble = None
            log.info("webhook %s: taken again", self._to, extra=CHANGE)
        return True

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        signature = hmac.new(self._secret, delivery.body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "User-Agent": f"sadstream/{__version__}",
            "X-Sadstream-Delivery": delivery.id,
            "X-Sadstream-Signature": f"sha256={signature}",
        }

    def _failed(self, why: str) -> bool:
        if self._trouble is None:
            log.warning("webhook %s: not taken: %s; trying again", self._to, why, extra=CHANGE)
        self._trouble = why
        return False

    def _lose(self, count: int, why: str) -> None:
        self._lost += count
        log.warning("webhook %s: %d lost: %s (%d in all)", self._to, count, why, self._lost)
