"""Prints the events of a daemon as JSON, and what was lost, restarted or silent on standard error."""

import signal
import sys

from sadstream.client import subscribe
from sadstream.events import DEFAULT_ENDPOINT, to_json

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head`: whoever reads it may go first
endpoint = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_ENDPOINT
for item in subscribe(endpoint):
    match item.type:
        case "gap":
            print("gap", item.stream, item.event_type, item.first_seq, item.last_seq, file=sys.stderr, flush=True)
        case "restart" | "stale":
            print(item.type, item.stream, file=sys.stderr, flush=True)
        case _:
            print(to_json(item), flush=True)
