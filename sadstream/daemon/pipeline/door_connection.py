"""The thread that keeps a room connected to a door: hellos all the time, segments and their answers in between."""

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import zmq

from sadstream.daemon.publishing.sockets import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, monitored
from sadstream.daemon.remote.analyzer import TimedAnswer
from sadstream.daemon.remote.reachability import Reachability
from sadstream.daemon.remote.request import (
    ID_BYTES,
    Answer,
    HelloAnswer,
    RefusedAnswer,
    hello_frames,
    read_answer,
)
from sadstream.events.keys import Curve
from sadstream.events.validation import WireError

POLL_MS = 100
RECONNECT_MS = 200  # between two tries of ZeroMQ's own
RECONNECT_MAX_MS = 2000
SWITCH_S = 3.0  # without an answer, until the next door is tried, or the only one anew: libzmq gives up on some faults
LONGEST_ANSWER = 65_536  # bytes
HELLO = bytes(ID_BYTES)
LINGER_MS = 0
DENIED = 400  # by the allow-list (ZAP)


@dataclass(slots=True)
class _Waiting:
    """A request without an answer yet."""

    start_s: float
    answer: Answer | None = None
    end_s: float | None = None


class DoorConnection:
    """One DEALER socket at a time, to the first of several doors that answers; a thread of its own owns it.

    on_change: is told, by that thread, whenever the door begins or ceases to answer.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        curve: Curve | None,
        reachability: Reachability,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.hello: HelloAnswer | None = None
        self.is_denied = False  # a door knows no key of ours
        self._endpoints = itertools.cycle(endpoints)
        self._curve = curve
        self._reachability = reachability
        self._on_change = on_change
        self._told_up = False
        self._outgoing: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._waiting: dict[bytes, _Waiting] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)

    @property
    def is_up(self) -> bool:
        """The door answers, and somebody behind it can score."""
        return self._reachability.is_up

    def start(self, patience_s: float) -> bool:
        """Begin; True as soon as a door answers, False when that took too long or the door knows no key of ours."""
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self.hello is not None or self.is_denied, patience_s)
        return self.hello is not None

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join(2.0)

    def ask(self, requests: Sequence[list[bytes]], timeout_s: float) -> list[TimedAnswer]:
        """What the door says to each, all sent at once; None for what it did not say in time."""
        start_s = time.monotonic()
        numbers = [next(self._numbers).to_bytes(ID_BYTES, "big") for _ in requests]
        waiting = [_Waiting(start_s) for _ in requests]
        with self._changed:
            self._waiting.update(zip(numbers, waiting, strict=True))
        for number, frames in zip(numbers, requests, strict=True):
            self._outgoing.put([number, *frames])
        os.eventfd_write(self._wake_fd, 1)
        with self._changed:
            self._changed.wait_for(lambda: all(one.end_s is not None for one in waiting), timeout_s)
            for number in numbers:
                self._waiting.pop(number, None)
            if any(one.end_s is None for one in waiting):
                self._reachability.timed_out()
            elif any(one.answer is not None for one in waiting):
                self._reachability.answered(time.monotonic())
        now_s = time.monotonic()
        return [TimedAnswer(one.answer, 1000 * ((one.end_s or now_s) - start_s)) for one in waiting]

    def _run(self) -> None:
        with zmq.Context() as context:
            while not self._closed:
                with context.socket(zmq.DEALER) as socket, socket.get_monitor_socket() as monitor:
                    self._set_up(socket)
                    socket.connect(next(self._endpoints))
                    self._serve(socket, monitor)
                    socket.disable_monitor()
        os.close(self._wake_fd)

    def _set_up(self, socket: "zmq.Socket[bytes]") -> None:
        for option, value in (
            (zmq.LINGER, LINGER_MS), (zmq.IMMEDIATE, 1), (zmq.MAXMSGSIZE, LONGEST_ANSWER), (zmq.IPV6, 1),
            (zmq.RECONNECT_IVL, RECONNECT_MS), (zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS), (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
        ):  # fmt: skip
            socket.setsockopt(option, value)
        if self._curve is not None:
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = self._curve

    def _serve(self, socket: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]") -> None:
        """Until closed, or until another door is to be tried."""
        poller = zmq.Poller()
        for ready in (socket, monitor, self._wake_fd):
            poller.register(ready, zmq.POLLIN)
        hello_s = heard_s = time.monotonic() - SWITCH_S / 2
        while not self._closed:
            poller.poll(POLL_MS)
            now_s = time.monotonic()
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
            while monitor.poll(0):
                self._hear_of(*monitored(monitor))
            if self._take(socket, now_s):
                heard_s = now_s
            self._send_waiting(socket)
            with self._changed:
                self._reachability.elapse(now_s)
            if now_s - hello_s >= self._reachability.hello_due_s:
                hello_s = now_s
                self._send(socket, [HELLO, *hello_frames()])
            self._tell()
            if not self.is_up and now_s - heard_s > SWITCH_S:
                return

    def _tell(self) -> None:
        """Whoever made it change, such as the analyser's thread after a second silence."""
        is_up = self.is_up
        if self._told_up != is_up:
            self._told_up = is_up
            self._on_change(is_up)

    def _hear_of(self, event: int, value: int) -> None:
        """What becomes of the connection itself."""
        with self._changed:
            if event == zmq.EVENT_DISCONNECTED:
                self._reachability.lost()
                for one in self._waiting.values():  # nobody will answer these
                    one.end_s = one.end_s or time.monotonic()
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == DENIED:
                self.is_denied = True
            self._changed.notify_all()

    def _take(self, socket: "zmq.Socket[bytes]", now_s: float) -> bool:
        """True if the door said anything."""
        heard = False
        while socket.poll(0):
            frames = socket.recv_multipart()
            with suppress(WireError):
                if len(frames) == 2:
                    self._answer(frames[0], read_answer(frames[1]), now_s)
                    heard = True
        return heard

    def _answer(self, number: bytes, answer: Answer, now_s: float) -> None:
        with self._changed:
            if isinstance(answer, HelloAnswer):
                if answer.ready:
                    self.hello = answer
                    self._reachability.hello(now_s)
                elif self.is_up:
                    self._reachability.lost()
            elif number in self._waiting:
                one = self._waiting[number]
                one.answer, one.end_s = answer, now_s
            elif isinstance(answer, RefusedAnswer) and number == HELLO:
                self._reachability.lost()
            self._changed.notify_all()

    def _send_waiting(self, socket: "zmq.Socket[bytes]") -> None:
        while not self._outgoing.empty():
            frames = self._outgoing.get()
            one = self._waiting.get(frames[0])
            if one is not None and not self._send(socket, frames):
                with self._changed:  # not connected: known at once
                    one.end_s = time.monotonic()
                    self._reachability.lost()
                    self._changed.notify_all()

    def _send(self, socket: "zmq.Socket[bytes]", frames: list[bytes]) -> bool:
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
