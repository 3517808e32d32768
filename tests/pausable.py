"""A daemon that can be paused and has nothing to say beside: `python pausable.py ENDPOINT`."""

import select
import sys
import time

from wire import say_status

from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.events import Reason, State
from sadstream.events.control import DaemonReport, StreamReport, Word, control_path


def main(endpoint: str) -> None:
    """Publish a status at each change and every second, until killed."""
    said: list[tuple[State, Reason]] = [("listening", "none")]

    def answer(word: Word) -> DaemonReport:
        if word != "status":
            said.append(("paused", "user") if word == "pause" else ("listening", "none"))
        state, reason = said[-1]
        stream = StreamReport(
            stream="mic", state=state, reason=reason, flows=state == "listening", dropped=0, gaps=0, segments=0, rtf=0.1
        )
        return DaemonReport(pid=1, endpoint=endpoint, words=False, streams=(stream,))

    with Publisher(endpoint) as publisher, ControlSocket(control_path(endpoint), answer) as control:
        known = 0
        due_s = 0.0
        while True:
            if known < len(said) or time.monotonic() > due_s:
                say_status(publisher, "mic", *said[-1])
                known, due_s = len(said), time.monotonic() + 1.0
            publisher.wait(20)
            if select.select([control], [], [], 0)[0]:
                control.serve()


if __name__ == "__main__":
    main(sys.argv[1])
