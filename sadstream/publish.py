"""The publishing end of the wire: sequence numbers, last values for those who join, one owner of the socket."""

import fcntl
import os
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from sadstream.analyze import Analysis
from sadstream.errors import BusyError, ConfigError
from sadstream.events import Event, Latency, Reason, Score, State, Status, to_wire, topic
from sadstream.segment import Segment

LINGER_MS = 500  # measured: loses nothing to a healthy peer and bounds a stalled one
SUBSCRIBE = 1  # first byte of what XPUB reads when somebody subscribes


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the milliseconds before the models went, and when the segment's last sample was in hand."""

    queue_ms: float
    vad_ms: float
    arrived_s: float
    analyzed_s: float


@dataclass(slots=True)
class _Last:
    """What a stream said last, for whoever joins now."""

    sequence: dict[str, int] = field(default_factory=dict)
    frames: dict[str, bytes] = field(default_factory=dict)
    score_seq: int | None = None


class Publisher:
    """A bound XPUB socket; made, used and closed by one thread, because sockets are not thread-safe."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.session = secrets.token_hex(8)
        self._streams: dict[str, _Last] = {}
        self._lock: int | None = None
        self._topics: set[bytes] = set()

    @property
    def has_score_subscriber(self) -> bool:
        """Somebody listens to scores now."""
        return any(t.startswith(b"sad.score.") or b"sad.score.".startswith(t) for t in self._topics)

    def __enter__(self) -> "Publisher":
        import zmq

        self._zmq: Any = zmq
        if self.endpoint.startswith("ipc://"):
            self._lock = _exclusive(self.endpoint.removeprefix("ipc://"))
        self._context = zmq.Context()
        self._socket: Any = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # every join is seen, also the second of the same topic
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self.__exit__(None, None, None)
            if error.errno == zmq.EADDRINUSE:
                raise BusyError(f"{self.endpoint}: in use by another program; stop it or choose --publish") from None
            raise ConfigError(f"{self.endpoint}: cannot be bound: {error.strerror}; choose --publish") from None
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._socket.close()
        self._context.term()
        if self._lock is not None:
            os.close(self._lock)

    def wait(self, timeout_ms: int, wake_fd: int) -> None:
        """Sleep until the time is up or `wake_fd` is readable, answering whoever joins meanwhile."""
        poller = self._zmq.Poller()
        poller.register(self._socket, self._zmq.POLLIN)
        poller.register(wake_fd, self._zmq.POLLIN)
        poller.poll(timeout_ms)
        self.answer_joins()

    def answer_joins(self) -> None:
        """Send the current status and last score to every subscription that came in: nobody starts blind."""
        while self._socket.poll(0):
            message: bytes = self._socket.recv()
            prefix = message[1:]
            if message[:1] != bytes([SUBSCRIBE]):
                self._topics.discard(prefix)
                continue
            self._topics.add(prefix)
            for last in self._streams.values():
                for frame in last.frames.values():
                    if frame.startswith(prefix):
                        self._socket.send(frame)

    def send_status(self, stream: str, state: State, reason: Reason, dropped: int, rtf: float) -> Status:
        """Say what a stream is doing."""
        status = Status(
            **self._envelope(stream, "status"),
            state=state,
            reason=reason,
            last_score_seq=self._last(stream).score_seq,
            dropped=dropped,
            rtf=rtf,
        )
        self._send(status)
        return status

    def send_score(
        self, stream: str, segment: Segment, analysis: Analysis, timing: Timing, dropped: int, with_text: bool
    ) -> Score:
        """Say how sad a segment sounded; the words go along only if `with_text`."""
        score = make_score(self._envelope(stream, "score"), segment, analysis, timing, dropped, with_text)
        self._last(stream).score_seq = score.seq
        self._send(score)
        return score

    def _last(self, stream: str) -> _Last:
        return self._streams.setdefault(stream, _Last())

    def _envelope(self, stream: str, event_type: str) -> dict[str, Any]:
        sequence = self._last(stream).sequence
        seq = sequence[event_type] = sequence.get(event_type, -1) + 1
        return envelope(stream, self.session, seq)

    def _send(self, event: Event) -> None:
        frame = to_wire(event)
        self._last(event.stream).frames[topic(event.type, event.stream)] = frame
        self._socket.send(frame)


def envelope(stream: str, session: str, seq: int) -> dict[str, Any]:
    """The fields that every event opens with, at this moment."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"stream": stream, "session": session, "seq": seq, "time": now, "monotonic_s": time.monotonic()}


def make_score(
    opening: dict[str, Any], segment: Segment, analysis: Analysis, timing: Timing, dropped: int, with_text: bool
) -> Score:
    """The score event of an analysed segment."""
    now = time.monotonic()
    latency = Latency(
        queue=timing.queue_ms,
        vad=timing.vad_ms,
        whisper=analysis.whisper_ms,
        text=analysis.text_ms,
        fusion=analysis.fusion_ms,
        publish=1000 * (now - timing.analyzed_s),
        total=1000 * (now - timing.arrived_s),
    )
    return Score(
        **opening,
        segment=segment.number,
        t_start=segment.t_start,
        t_end=segment.t_end,
        p_sad=analysis.p_sad,
        threshold=analysis.threshold,
        sad=analysis.sad,
        bias_logit=analysis.bias_logit,
        audio_logit=analysis.audio_logit,
        text_logit=analysis.text_logit,
        offset_logit=0.0,
        text_used=analysis.transcript.kept,
        text_reason=analysis.transcript.reason,
        voiced=segment.voiced,
        latency_ms=latency,
        dropped=dropped,
        model=analysis.model,
        text=analysis.transcript.text if with_text else None,
    )


def _exclusive(path: str) -> int:
    """A lock beside an ipc socket: ZeroMQ itself lets a second program take the endpoint away without a word."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"ipc://{path}: cannot be bound: {error.strerror}; make its folder or choose --publish"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise BusyError(f"ipc://{path}: another sadstream publishes there; stop it or choose --publish") from None
    return lock
