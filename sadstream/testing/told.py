"""The fake daemon's process: it does what it reads, a JSON object a line, and answers each with one."""

import json
import os
import sys
import time
from typing import Any

from sadstream.events import State, from_json, to_json
from sadstream.testing.fake_publisher import FakePublisher

IDLE_S = 3600.0
LISTENING: State = "listening"


def obey(endpoint: str, stream: str) -> None:
    """Publish what standard input says until it ends."""
    stdin, rest = sys.stdin.fileno(), b""
    with FakePublisher(endpoint, stream, LISTENING) as publisher:
        publisher.say(stream, LISTENING)
        _say({"session": publisher.session})
        while True:
            publisher.rest(IDLE_S, stdin)
            read = os.read(stdin, 65_536)
            if not read:
                publisher.say(stream, "stopping")
                return
            *lines, rest = (rest + read).split(b"\n")
            for request in map(json.loads, lines):
                if request["do"] == "crash":
                    return
                _say(_done(publisher, request))


def _done(publisher: FakePublisher, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "wait":
        until_s = time.monotonic() + request["timeout_s"]
        while not (heard := publisher.is_heard) and time.monotonic() < until_s:
            publisher.rest(0.01)
        return {"heard": heard}
    event = from_json(request["event"])
    assert event is not None
    return {"event": to_json(publisher.send(event, request["lost"]))}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
