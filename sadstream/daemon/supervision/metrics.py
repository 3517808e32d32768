"""Prometheus metrics, by the official client, on an endpoint of this machine; only when configured."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, get_args

from sadstream.base.errors import BusyError, UnavailableError
from sadstream.daemon.messages import AudioGap
from sadstream.events import Score, State, Status

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

STAGES = ("queue", "vad", "whisper", "text", "fusion", "publish", "total")
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """Counters over what a daemon says; `observe` takes every event and gap."""

    def __init__(self, registry: "CollectorRegistry") -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def make(kind: Any, name: str, text: str, *labels: str, **options: Any) -> Any:
            return kind(f"sadstream_{name}", text, ("stream", *labels), registry=registry, **options)

        self._latency = make(
            Histogram, "latency_seconds", "From a segment's last sample, by stage", "stage", buckets=BUCKETS_S
        )
        self._segments = make(Counter, "segments", "Segments scored")
        self._sad = make(Counter, "sad_segments", "Segments at or above the threshold")
        self._dropped = make(Gauge, "dropped_segments", "Segments lost so far in this session")
        self._gaps = make(Counter, "gaps", "Places where audio was lost")
        self._voiced = make(Histogram, "voiced_ratio", "Voiced share of a segment", buckets=[n / 10 for n in range(11)])
        self._rtf = make(Gauge, "real_time_factor", "Seconds of analysis a second of audio")
        self._remote_up = make(Gauge, "remote_up", "1 while those of [remote] score")
        self._state = make(Gauge, "state", "1 for the state that a stream is in", "state")

    def observe(self, event: Score | Status | AudioGap) -> None:
        """Count it."""
        stream = event.stream
        if isinstance(event, AudioGap):
            self._gaps.labels(stream).inc()
        elif isinstance(event, Score) and event.provisional:
            return  # the segment is counted with its final score
        elif isinstance(event, Score):
            if event.latency_ms.remote is not None:
                self._latency.labels(stream, "remote").observe(event.latency_ms.remote / 1000)
            for stage in STAGES:
                self._latency.labels(stream, stage).observe(getattr(event.latency_ms, stage) / 1000)
            self._segments.labels(stream).inc()
            self._sad.labels(stream).inc(event.sad)
            self._voiced.labels(stream).observe(event.voiced)
        else:
            self._dropped.labels(stream).set(event.dropped)
            self._rtf.labels(stream).set(event.rtf)
            if event.compute is not None:
                self._remote_up.labels(stream).set(
                    event.compute == "remote" and (event.state, event.reason) != ("degraded", "slow")
                )
            for state in get_args(State):
                self._state.labels(stream, state).set(state == event.state)


def require() -> None:
    """UnavailableError where the client library is missing."""
    if find_spec("prometheus_client") is None:
        raise UnavailableError("metrics.listen: the client library is missing; pip install 'sadstream[metrics]'")


def serve(listen: str) -> Callable[[Score | Status | AudioGap], None]:
    """An observer whose counts can be scraped at HOST:PORT; the client library brings its own thread for that."""
    require()
    from prometheus_client import CollectorRegistry, start_http_server

    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    try:
        start_http_server(int(port), host, registry)
    except OSError as error:
        raise BusyError(f"metrics.listen = {listen}: cannot be bound: {error.strerror}; choose another port") from None
    return metrics.observe
