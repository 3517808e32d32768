"""Who is heard for one stream, and what becomes of what they send. No clock, and nothing waits."""

import contextlib
import json
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sadstream.audio.sources.browser import AUDIO, CLOSED, OPENED
from sadstream.base import logs
from sadstream.base.samples import SAMPLE_RATE

log = logging.getLogger("sadstream")

WAITING = 50  # messages for one that does not read; then the oldest is lost
SAID_S = 1.0  # between two words of what has arrived
ODD, TAKEN = 1007, 4409  # close codes, of the WebSocket
ANOTHER = "another page or program is heard for this stream; stop it there first"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is closed, and the code that says so."""

    code: int
    why: str


@dataclass(slots=True, eq=False)
class Peer:
    """One connection: what it is still to be told, and what it has sent."""

    who: str
    wake: Callable[[], None]
    waiting: deque[str | Refusal] = field(default_factory=lambda: deque(maxlen=WAITING))
    received_bytes: int = 0
    lost_bytes: int = 0  # the daemon did not take them in time
    unheard_bytes: int = 0  # sent in a pause
    said_s: float = 0.0
    refused: bool = False

    def tell(self, message: str | Refusal) -> None:
        """It is told as soon as it reads."""
        self.waiting.append(message)
        self.wake()

    def tell_arrived(self) -> None:
        """What has arrived of it so far, in seconds of sound."""
        seconds = {
            "seconds": self.received_bytes / 2 / SAMPLE_RATE,
            "lost_seconds": self.lost_bytes / 2 / SAMPLE_RATE,
            "unheard_seconds": self.unheard_bytes / 2 / SAMPLE_RATE,
        }
        self.tell(json.dumps({"v": 1, "type": "received"} | seconds))


class StreamIntake:
    """At most one sender a stream; what it sends goes on at once, or is counted as lost."""

    def __init__(self, name: str, line: socket.socket, free_s: float) -> None:
        self.name = name
        self.line = line
        self.peers: set[Peer] = set()
        self._free_s = free_s  # a sender silent for so long makes room
        self._sender: Peer | None = None
        self._heard_s = 0.0
        self._said: dict[str, str] = {}  # the last event of each type
        self._paused = False
        self._refused = 0

    def join(self, peer: Peer) -> None:
        """It is told how the stream is, and all that is said of it."""
        self.peers.add(peer)
        for message in self._said.values():
            peer.tell(message)

    def leave(self, peer: Peer, why: str) -> None:
        """It sends no more, and the next one may."""
        if self._sender is peer:
            self._sender = None
            self._pass_on(CLOSED + f"{peer.who} {why}".encode())

    def take(self, peer: Peer, pcm: bytes, now_s: float) -> None:
        """A frame of it, of any whole number of samples."""
        if peer.refused:
            return  # it was on the way
        if not pcm or len(pcm) % 2:
            self.refuse(peer, Refusal(ODD, f"a frame of {len(pcm)} bytes: expected whole 16-bit samples"))
        elif self._paused:
            peer.unheard_bytes += len(pcm)
        elif self._sender is peer or self._claim(peer, now_s):
            self._heard_s = now_s
            if self._pass_on(AUDIO + pcm):
                peer.received_bytes += len(pcm)
            else:
                peer.lost_bytes += len(pcm)
                log.warning("%s: sound lost: the daemon does not take it", self.name, extra=logs.about(self.name))
        if now_s - peer.said_s >= SAID_S:
            peer.said_s = now_s
            peer.tell_arrived()

    def refuse(self, peer: Peer, refusal: Refusal) -> None:
        """Close it, and say why on both sides."""
        self._refused += 1
        log.warning(
            "%s: %s refused: %s (%d so far)",
            self.name, peer.who, refusal.why, self._refused, extra=logs.about(self.name, str(refusal.code)),
        )  # fmt: skip
        peer.refused = True
        peer.tell(refusal)

    def obey(self, order: bytes) -> None:
        """The daemon refuses what its sender sends: a code and a reason."""
        code, _, why = order.decode(errors="replace").partition(" ")
        sender, self._sender = self._sender, None
        if sender is not None:
            self.refuse(sender, Refusal(int(code), why))

    def hear(self, event: dict[str, Any], message: str) -> None:
        """Something is said of the stream."""
        self._said[event["type"]] = message
        if event["type"] == "status":
            self._paused = event["state"] == "paused"
            if self._paused:
                self._sender = None
        for peer in self.peers:
            peer.tell(message)

    def _claim(self, peer: Peer, now_s: float) -> bool:
        if self._sender is not None and now_s - self._heard_s < self._free_s:
            self.refuse(peer, Refusal(TAKEN, ANOTHER))
            return False
        if self._sender is not None:
            self.refuse(self._sender, Refusal(TAKEN, "it was silent, and another one is heard now"))
        self._sender = peer
        self._pass_on(OPENED + peer.who.encode())
        return True

    def _pass_on(self, message: bytes) -> bool:
        with contextlib.suppress(OSError):  # full, and nothing grows; or the daemon is gone, and so are we
            return self.line.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) > 0
        return False
