"""The connection to a broker: made, kept and ended with paho, each time by a client that owes nothing old."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from sadstream.base.errors import ConfigError, UnavailableError
from sadstream.views.mqtt.options import BrokerLogin
from sadstream.views.mqtt.topics import MqttMessage

if TYPE_CHECKING:
    import paho.mqtt.client as paho

KEEPALIVE_S = 10  # half as much again without a word, and the broker publishes our last will
ANSWER_S = 10.0
CLOSE_S = 2.0  # for the broker to take our goodbye
AT_LEAST_ONCE = 1
WAITING = 1000  # messages that a broker which is there but slow has not taken; what is more is lost, and counted

Received = Callable[[str, str, bool], None]  # topic, payload, and whether the broker had kept it


class RefusedError(UnavailableError):
    """The broker is there, and does not let us in."""


def require() -> None:
    """UnavailableError without paho."""
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        raise UnavailableError("mqtt: paho is missing; in the checkout: pip install '.[mqtt]'") from None


class BrokerConnection:
    """At most one connection at a time; it belongs to one event loop, and paho's own thread calls into that."""

    def __init__(self, login: BrokerLogin, will: MqttMessage, subscribed: Iterable[str], received: Received) -> None:
        self._login = login
        self._will = will
        self._subscribed = [(topic, AT_LEAST_ONCE) for topic in subscribed]
        self._received = received
        self._client: paho.Client | None = None
        self._ended: asyncio.Future[str] | None = None
        self._unconfirmed: set[int] = set()  # messages of this connection that the broker has not said it has

    @property
    def is_open(self) -> bool:
        """The broker has let us in, and has not gone since."""
        return self._client is not None and self._ended is not None and not self._ended.done()

    async def open(self) -> None:
        """Connect; UnavailableError says why not, RefusedError that it is us whom the broker does not want."""
        loop = asyncio.get_running_loop()
        answered, ended = loop.create_future(), loop.create_future()
        client = self._new_client()
        client.on_connect = lambda _c, _u, _f, reason, _p: _tell(loop, answered, reason)
        client.on_disconnect = lambda _c, _u, _f, reason, _p: _tell(loop, ended, str(reason))
        client.on_message = lambda _c, _u, message: _call(loop, self._take, message)
        unconfirmed: set[int] = set()
        client.on_publish = lambda _c, _u, number, _r, _p: _call(loop, unconfirmed.discard, number)
        try:
            await asyncio.to_thread(client.connect, self._login.host, self._login.port, KEEPALIVE_S)
        except OSError as error:
            raise self._unreachable(error) from None
        client.loop_start()
        try:
            await self._expect_welcome(answered, ended)
        except BaseException:
            await asyncio.to_thread(client.loop_stop)
            raise
        self._client, self._ended, self._unconfirmed = client, ended, unconfirmed
        if self._subscribed:
            client.subscribe(self._subscribed)

    def publish(self, message: MqttMessage) -> bool:
        """Hand a message over; False where it is lost: nobody is there, or does not take what waits."""
        if not self.is_open or self._client is None:
            return False
        said = self._client.publish(message.topic, message.payload, AT_LEAST_ONCE, message.retain)
        if said.rc == 0:
            self._unconfirmed.add(said.mid)
        return said.rc == 0

    async def ended(self) -> tuple[str, int]:
        """Wait for the end of the connection; why it ended, and how many messages the broker had not confirmed."""
        assert self._ended is not None
        why = await asyncio.shield(self._ended)
        await self._drop()
        return why, len(self._unconfirmed)

    async def close(self) -> None:
        """Say what the last will would have said, and go."""
        if self.is_open and self._client is not None:
            said = self._client.publish(self._will.topic, self._will.payload, AT_LEAST_ONCE, self._will.retain)
            await asyncio.to_thread(_wait_for, said)
            self._client.disconnect()
        await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.loop_stop)

    async def _expect_welcome(self, answered: "asyncio.Future[Any]", ended: "asyncio.Future[str]") -> None:
        await asyncio.wait([answered, ended], timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            if answered.result().is_failure:
                raise self._refused(str(answered.result()))
            return
        if ended.done():
            cure = "is it a broker, without TLS?" if self._login.tls_ca else "is it a broker? does it want --tls-ca?"
            raise UnavailableError(f"{self._login.shown}: closed the connection without an answer; {cure}")
        raise UnavailableError(f"{self._login.shown}: no answer in {ANSWER_S:.0f} s; is it a broker?")

    def _new_client(self) -> "paho.Client":
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.max_queued_messages_set(WAITING)
        client.will_set(self._will.topic, self._will.payload, AT_LEAST_ONCE, self._will.retain)
        if self._login.username is not None:
            client.username_pw_set(self._login.username, self._login.password)
        if self._login.tls_ca is not None:
            try:
                client.tls_set_context(ssl.create_default_context(cafile=self._login.tls_ca))
            except (OSError, ValueError) as error:
                what = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
                raise ConfigError(f"{self._login.tls_ca}: expected certificates, PEM: {what}") from None
        return client

    def _unreachable(self, error: OSError) -> UnavailableError:
        if isinstance(error, ssl.SSLCertVerificationError):
            what = f"its certificate is not to be trusted: {error.verify_message}; look at --tls-ca"
            return RefusedError(f"{self._login.shown}: {what}")
        if isinstance(error, ssl.SSLError):
            return UnavailableError(f"{self._login.shown}: no TLS: {error.reason}; is it the broker's TLS port?")
        why = error.strerror or str(error) or type(error).__name__
        return UnavailableError(f"{self._login.shown}: {why}; is a broker there?")

    def _refused(self, reason: str) -> RefusedError:
        as_whom = "nobody" if self._login.username is None else self._login.username
        return RefusedError(f"{self._login.shown}: refuses {as_whom}: {reason}; look at --username and --password-file")

    def _take(self, message: "paho.MQTTMessage") -> None:
        self._received(message.topic, message.payload.decode(errors="replace"), message.retain)


def _tell(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", value: object) -> None:
    _call(loop, lambda: None if future.done() else future.set_result(value))


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *values: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(partial(function, *values))


def _wait_for(said: "paho.MQTTMessageInfo") -> None:
    try:
        said.wait_for_publish(CLOSE_S)
    except (RuntimeError, ValueError):  # paho's own, where the connection went meanwhile
        return
