"""A daemon's end of the wire without models or microphone: numbers, heartbeats, joins, memory, control."""

import math
import os
import select
import time
from dataclasses import replace
from types import TracebackType

from sadstream.base import logs
from sadstream.base.errors import BusyError
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.events import HEARTBEAT_S, Event, State, Status
from sadstream.events.control import DaemonReport, StreamReport, Word, control_path
from sadstream.testing.made_up import status

EARLY_S = 0.2  # a heartbeat may be, never late
NOTE = "a fake daemon: its events are made up, and no microphone is open"


class FakePublisher:
    """One session of it; every socket belongs to the thread that enters."""

    def __init__(self, endpoint: str, stream: str, state: State) -> None:
        self._publisher = Publisher(endpoint)
        self._control = ControlSocket(control_path(self._publisher.endpoint), self._answer)
        self._statuses = {stream: status(state, stream=stream)}  # what a heartbeat says again
        self._scored = dict.fromkeys(self._statuses, 0)
        self._control_fds: tuple[int, ...] = ()  # none where it could not be bound
        self._said_s = -math.inf
        self.paused = state == "paused"

    @property
    def endpoint(self) -> str:
        """Where it publishes."""
        return self._publisher.endpoint

    @property
    def session(self) -> str:
        """Its own."""
        return self._publisher.session

    @property
    def is_heard(self) -> bool:
        """Somebody listens to scores now."""
        self.rest(0.0)
        return self._publisher.has_score_subscriber

    def __enter__(self) -> "FakePublisher":
        self._publisher.__enter__()
        try:
            self._control.__enter__()
        except BusyError as error:
            logs.note(f"fake: no pause, resume and status: {error}")
            self._control_fds = ()
        else:
            self._control_fds = (self._control.fileno(),)
        self._said_s = time.monotonic()
        if self.paused:
            for stream in list(self._statuses):
                self.say(stream, "paused")
        return self

    def __exit__(self, *what: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._control_fds:
            self._control.__exit__(None, None, None)
        self._publisher.__exit__(None, None, None)

    def send(self, event: Event, lost: bool = False) -> Event:
        """The event as it was said: with this session, the next number of its topic, and the time.

        lost: it goes to nobody, and can be asked for again.
        """
        opened = replace(event, **self._publisher.opening(event.stream, event.type))
        if isinstance(opened, Status):
            self._statuses[event.stream] = opened
        elif opened.type == "score":
            self._scored[event.stream] = self._scored.get(event.stream, 0) + 1
        return self._publisher.send(opened, lost=lost)

    def say(self, stream: str, state: State) -> None:
        """Say a state, with a usual reason."""
        self.send(status(state, stream=stream))

    def rest(self, seconds: float, *fds: int) -> None:
        """Until the time is up or one of these can be read: answer whoever joins or asks, say that we are there."""
        until_s = time.monotonic() + seconds
        while True:
            left_s = max(0.0, min(until_s - time.monotonic(), self._said_s + HEARTBEAT_S - EARLY_S - time.monotonic()))
            self._publisher.wait(math.ceil(1000 * left_s), *self._control_fds, *fds)
            if self._control_fds:
                self._control.serve()
            now_s = time.monotonic()
            if now_s >= self._said_s + HEARTBEAT_S - EARLY_S:
                self._said_s = now_s
                for last in list(self._statuses.values()):
                    self.send(last)
            if now_s >= until_s or select.select(fds, [], [], 0)[0]:
                return

    def _answer(self, word: Word) -> DaemonReport:
        if word != "status" and self.paused != (word == "pause"):
            self.paused = word == "pause"
            for stream in list(self._statuses):
                self.say(stream, "paused" if self.paused else "listening")
        streams = tuple(
            StreamReport(
                stream=name, state=last.state, reason=last.reason, flows=last.state == "listening",
                dropped=last.dropped, gaps=0, segments=self._scored.get(name, 0), rtf=last.rtf,
            )
            for name, last in self._statuses.items()
        )  # fmt: skip
        return DaemonReport(pid=os.getpid(), endpoint=self.endpoint, words=False, streams=streams, notes=(NOTE,))
