"""`sadstream mqtt`: daemons on one side, a broker on the other, both of which come and go."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, Protocol

from sadstream.base import logs
from sadstream.base.boundary import one_line
from sadstream.base.errors import UnavailableError
from sadstream.client import Subscription, subscribe
from sadstream.client.lines import finding_line
from sadstream.events import Event, Status
from sadstream.events.control import ask
from sadstream.views.mqtt.broker import BrokerConnection, RefusedError, require
from sadstream.views.mqtt.options import BridgeOptions, HeardDaemon
from sadstream.views.mqtt.topics import MqttMessage, Topics
from sadstream.views.mqtt.translation import Translation

log = logging.getLogger("sadstream")

BACKOFF_S = (1.0, 60.0)  # first wait for a broker, and longest
SAY_AGAIN_S = 600.0  # that it is still away, for the same reason
CHANGING = frozenset({"starting", "stopping"})  # states in which a control socket may be not yet there, or no longer
TICK_S = 1.0  # between two signs of life to the supervisor


class Supervisor(Protocol):
    """Who wants to know that we live: systemd."""

    def ready(self) -> None: ...
    def stopping(self) -> None: ...
    def status(self, line: str) -> None: ...
    def progress(self) -> None: ...


class Bridge:
    """Carries what daemons say to a broker, and what the broker says to daemons; it belongs to one event loop."""

    def __init__(self, options: BridgeOptions, supervisor: Supervisor) -> None:
        self._options = options
        self._supervisor = supervisor
        self._topics = Topics(options.topic, options.discovery, options.daemons[0].name)
        pausable = {daemon.name: daemon for daemon in options.daemons if options.pause and daemon.is_local}
        self._translation = Translation(self._topics, options.words, pausable)
        self._commanded = {self._topics.pause(name): daemon for name, daemon in pausable.items()}
        self._unanswered = dict.fromkeys(pausable, "")  # why a daemon that could be paused cannot, as said last
        remembered = [self._topics.availability(daemon.name, "+") for daemon in options.daemons]
        self._broker = BrokerConnection(
            options.login, self._translation.will, [*remembered, *self._commanded], self._receive
        )
        self._unsent = 0
        self._said = ("", 0.0)  # why there is no broker, and when that was said
        self._begun: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; RefusedError where the broker will not have us the first time."""
        stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, partial(_stop, stopped, number))
        heard = {daemon: _subscribed(daemon) for daemon in self._options.daemons}
        following = [asyncio.create_task(self._follow(daemon, said)) for daemon, said in heard.items()]
        others = [asyncio.create_task(work) for work in (self._keep_connected(), self._sign_of_life())]
        ends: list[asyncio.Future[Any]] = [stopped, *following, *others]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self._supervisor.stopping()
            for end in done:
                end.result()  # what ended one of them ends all
        finally:
            for said in heard.values():
                said.close()
            for task in others:
                task.cancel()
            await asyncio.gather(*following, *others, *self._begun, return_exceptions=True)
            await self._broker.close()
        if stopped.done() and stopped.result() == signal.SIGINT:
            raise KeyboardInterrupt

    async def _keep_connected(self) -> None:
        """Connect, and again whenever the connection ends; the first answer of the broker decides whether to go on."""
        wait_s, welcome = BACKOFF_S[0], False
        while True:
            try:
                await self._broker.open()
            except UnavailableError as error:
                if isinstance(error, RefusedError) and not welcome:
                    raise
                self._say_away(str(error))
                self._supervisor.ready()  # it lives, and tries
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, BACKOFF_S[1])
                continue
            wait_s, welcome = BACKOFF_S[0], True
            self._greet()
            self._supervisor.ready()
            why, unconfirmed = await self._broker.ended()
            self._unsent += unconfirmed
            self._say_away(f"{self._options.login.shown}: the connection ended: {why}")
            await asyncio.sleep(wait_s)

    def _greet(self) -> None:
        """Tell the broker all that it is to keep."""
        was_away, self._said = bool(self._said[0]), ("", 0.0)
        unsent, self._unsent = self._unsent, 0
        missed = f"; {unsent} messages before it are lost or in doubt, the newest states are sent" if unsent else ""
        missed = missed if was_away else ""  # at the start only the newest states were ever owed
        log.info("%s: connected%s", self._options.login.shown, missed, extra=logs.CHANGE)
        self._supervisor.status(f"{self._options.login.shown}: connected")
        self._send(self._translation.standing())

    def _send(self, messages: Iterable[MqttMessage]) -> None:
        for message in messages:
            self._unsent += not self._broker.publish(message)

    def _say_away(self, why: str) -> None:
        """In one line, once for each reason and now and then again."""
        self._supervisor.status(why)
        now_s = time.monotonic()
        if why != self._said[0] or now_s - self._said[1] > SAY_AGAIN_S:
            self._said = (why, now_s)
            log.warning("%s (tried again until it answers)", one_line(why), extra=logs.CHANGE)

    async def _follow(self, daemon: HeardDaemon, said: Subscription) -> None:
        async for item in said:
            if not isinstance(item, Event):
                log.info("%s: %s", daemon.name, finding_line(item))
            self._send(self._translation.feed(daemon.name, item))
            if isinstance(item, Status) and item.state not in CHANGING and daemon.name in self._unanswered:
                self._begin(self._try_control(daemon))

    async def _try_control(self, daemon: HeardDaemon) -> None:
        """Whether a daemon can be paused from here, at each sign of it until it can."""
        try:
            await asyncio.to_thread(ask, daemon.endpoint, "status")
        except UnavailableError as error:
            if self._unanswered.get(daemon.name) != str(error):
                self._unanswered[daemon.name] = str(error)
                log.info("%s: no switch to pause it: %s", daemon.name, error, extra=logs.CHANGE)
        else:
            self._unanswered.pop(daemon.name, None)
            self._send(self._translation.controlled(daemon.name))

    def _receive(self, topic: str, payload: str, kept: bool) -> None:
        """What the broker passes on to us: a command, or what it was told before our time."""
        daemon = self._commanded.get(topic)
        if daemon is not None:
            self._begin(self._obey(daemon, payload, kept))
        elif kept:
            for one in self._options.daemons:
                self._send(self._translation.remembered(one.name, topic, payload))

    async def _obey(self, daemon: HeardDaemon, payload: str, kept: bool) -> None:
        word = self._translation.word(payload)
        if kept or word is None:
            why = "kept by the broker from before" if kept else "expected ON or OFF"
            log.warning("%s: command %s left out: %s", daemon.name, one_line(payload[:20]), why)
            return
        try:
            await asyncio.to_thread(ask, daemon.endpoint, word)
        except UnavailableError as error:
            log.warning("%s: cannot %s, as the broker said: %s", daemon.name, word, error)
        else:
            log.info("%s: %s, as the broker said", daemon.name, word, extra=logs.CHANGE)

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something beside the rest; a task that nobody holds may vanish."""
        task = asyncio.get_running_loop().create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _sign_of_life(self) -> None:
        while True:
            self._supervisor.progress()
            await asyncio.sleep(TICK_S)


def _subscribed(daemon: HeardDaemon) -> Subscription:
    return subscribe(daemon.endpoint, server_key=daemon.server_key, secret_key=daemon.secret_key)


def _stop(stopped: "asyncio.Future[int]", number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)


def carry(options: BridgeOptions, supervisor: Supervisor) -> None:
    """Run until the end; UnavailableError (69) without paho, and where the broker refuses us the first time."""
    require()
    asyncio.run(Bridge(options, supervisor).run())
