"""Carries the events of a sadstream daemon to an MQTT broker, for home automation.

sadstream/STREAM/score, /status, /episode   events as JSON; the last status and episode are retained
sadstream/STREAM/lost                       {"type": "score", "missed": 3, ...} when events were lost on the way
sadstream/STREAM/availability               online, or offline when the daemon ended or fell silent; retained
sadstream/bridge                            online, or offline when this program dies (its last will); retained
"""

import argparse
import json
import signal
import sys

import paho.mqtt.client as mqtt

from sadstream.client import subscribe
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.events import DEFAULT_ENDPOINT, Event, Status, to_json

AT_LEAST_ONCE = 1


def publish(broker: mqtt.Client, name: str, payload: str, retain: bool = False) -> None:
    """Hand a message over; paho keeps it while the broker is away."""
    broker.publish(f"sadstream/{name}", payload, qos=AT_LEAST_ONCE, retain=retain)


def carry(broker: mqtt.Client, item: Event | Gap | Restart | Stale) -> None:
    """One event or finding."""
    match item:
        case Gap():
            lost = {"type": item.event_type, "missed": item.missed, "first": item.first_seq, "last": item.last_seq}
            publish(broker, f"{item.stream}/lost", json.dumps(lost))
        case Restart():
            publish(broker, f"{item.stream}/availability", "online", retain=True)
        case Stale(stream=None):
            print("nothing heard yet; is a daemon publishing there?", file=sys.stderr)
        case Stale():
            publish(broker, f"{item.stream}/availability", "offline", retain=True)
        case _:
            publish(broker, f"{item.stream}/{item.type}", to_json(item), retain=item.type != "score")
            if isinstance(item, Status):
                ended = item.state == "stopping"
                publish(broker, f"{item.stream}/availability", "offline" if ended else "online", retain=True)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description="sadstream to MQTT")
    parser.add_argument("endpoint", nargs="?", default=DEFAULT_ENDPOINT)
    parser.add_argument("--broker", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    broker = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    broker.will_set("sadstream/bridge", "offline", qos=AT_LEAST_ONCE, retain=True)
    broker.on_connect = lambda *_: publish(broker, "bridge", "online", retain=True)
    broker.connect_async(arguments.broker, arguments.port)
    broker.loop_start()
    try:
        for item in subscribe(arguments.endpoint):
            carry(broker, item)
    finally:
        publish(broker, "bridge", "offline", retain=True)
        broker.disconnect()
        broker.loop_stop()


if __name__ == "__main__":
    main()
