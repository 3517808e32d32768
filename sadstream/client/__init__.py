"""The listening end of the wire, for apps: `for event in subscribe(): ...`.

It needs pyzmq alone, and never knows the daemon's insides. What `__all__` lists is public.
"""

from sadstream.base.errors import UsageError
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item, Reader
from sadstream.client.reader import SubscriptionRequest as Line
from sadstream.client.subscription import (
    ALL_TYPES,
    HEARTBEAT_MS,
    RECONNECT_MS,
    REPLAY_TIMEOUT_MS,
    Subscription,
    past,
    subscribe,
)
from sadstream.events.codec import from_wire
from sadstream.events.keys import Curve, client_curve
from sadstream.events.query import Query
from sadstream.events.types import DEFAULT_ENDPOINT, EVENT_TYPES, STREAM_NAME, Event, topic
from sadstream.events.validation import WireError

__all__ = [
    "ALL_TYPES",
    "DEFAULT_ENDPOINT",
    "EVENT_TYPES",
    "HEARTBEAT_MS",
    "RECONNECT_MS",
    "REPLAY_TIMEOUT_MS",
    "STREAM_NAME",
    "Curve",
    "Event",
    "Gap",
    "Item",
    "Line",
    "Query",
    "Reader",
    "Restart",
    "Stale",
    "Subscription",
    "UsageError",
    "WireError",
    "client_curve",
    "from_wire",
    "past",
    "subscribe",
    "topic",
]
