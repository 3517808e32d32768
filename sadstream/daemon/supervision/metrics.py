"""Prometheus metrics, by the official client, and `/healthz`, at an address of this machine; only when configured."""

import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, get_args

from sadstream.base.errors import BusyError, UnavailableError
from sadstream.daemon.messages import (
    AudioGap,
    DroppedSegment,
    ModelsReady,
    ModelsReleased,
    ModelsRestored,
    Observed,
    Observer,
    RejectedSegment,
)
from sadstream.events import STALE_S, Episode, Score, State, Status
from sadstream.events.types import is_heard

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

STAGES = ("queue", "vad", "whisper", "text", "fusion", "publish", "total")
LOST = ("overload", "too-old", "away")
LEFT_OUT = ("no-speech", "stranger")
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """Counters over what a daemon says and what it does not; `observe` takes all of it."""

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
        self._lost = make(Counter, "lost_segments", "Segments of speech that were never scored, by reason", "reason")
        self._left_out = make(Counter, "left_out_segments", "Segments that are nobody's speech to score", "reason")
        self._episodes = make(Counter, "episodes", "Stretches of sad talk that began")
        self._episode = make(Gauge, "episode", "1 while a stretch of sad talk is on")
        self._gaps = make(Counter, "gaps", "Places where audio was lost")
        self._voiced = make(Histogram, "voiced_ratio", "Voiced share of a segment", buckets=[n / 10 for n in range(11)])
        self._rtf = make(Gauge, "real_time_factor", "Seconds of analysis a second of audio")
        self._remote_up = make(Gauge, "remote_up", "1 while those of [remote] score")
        self._models = Gauge("sadstream_models_loaded", "1 while the models are in memory", registry=registry)
        self._state = make(Gauge, "state", "1 for the state that a stream is in", "state")

    def observe(self, what: Observed) -> None:
        """Count it."""
        match what:
            case Score(provisional=True):
                pass  # the segment is counted with its final score
            case Score():
                self._score(what)
            case Status():
                self._status(what)
            case Episode():
                self._episodes.labels(what.stream).inc(what.phase == "start")
                self._episode.labels(what.stream).set(what.phase != "end")
            case AudioGap():
                self._gaps.labels(what.stream).inc()
            case RejectedSegment():
                self._left_out.labels(what.stream, "stranger" if what.stranger else "no-speech").inc()
            case DroppedSegment():
                self._lost.labels(what.stream, _why(what)).inc()
            case ModelsReady() | ModelsReleased() | ModelsRestored():
                self._models.set(not isinstance(what, ModelsReleased))

    def _score(self, score: Score) -> None:
        stream = score.stream
        if score.latency_ms.remote is not None:
            self._latency.labels(stream, "remote").observe(score.latency_ms.remote / 1000)
        for stage in STAGES:
            self._latency.labels(stream, stage).observe(getattr(score.latency_ms, stage) / 1000)
        self._segments.labels(stream).inc()
        self._sad.labels(stream).inc(score.sad)
        self._voiced.labels(stream).observe(score.voiced)

    def _status(self, status: Status) -> None:
        stream = status.stream
        for metric in (self._segments, self._sad, self._gaps, self._episodes, self._episode):
            metric.labels(stream)  # what is there from the start shows its first step too
        for reason in LOST:
            self._lost.labels(stream, reason)
        for reason in LEFT_OUT:
            self._left_out.labels(stream, reason)
        self._dropped.labels(stream).set(status.dropped)
        self._rtf.labels(stream).set(status.rtf)
        if status.compute is not None:
            self._remote_up.labels(stream).set(
                status.compute == "remote" and (status.state, status.reason) != ("degraded", "slow")
            )
        for state in get_args(State):
            self._state.labels(stream, state).set(state == status.state)


class HealthCheck:
    """Whether every stream is heard and scored, for whoever asks over HTTP: `service status --check` for programs."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Status, float]] = {}

    def observe(self, what: Observed) -> None:
        """Remember it, if it says how a stream is."""
        if isinstance(what, Status):
            self._said[what.stream] = (what, time.monotonic())

    def look(self) -> tuple[bool, str]:
        """Whether all is well, and a line about each stream."""
        said = dict(self._said)
        stuck = {name for name, (_, at_s) in said.items() if time.monotonic() - at_s > STALE_S}
        good = bool(said) and not stuck and all(is_heard(status.state, status.reason) for status, _ in said.values())
        lines = [
            f"{name}: {status.state} ({status.reason}){', and silent since' if name in stuck else ''}"
            for name, (status, _) in sorted(said.items())
        ]
        return good, "\n".join(lines) or "no stream yet"


def _why(dropped: DroppedSegment) -> str:
    if dropped.away:
        return "away"
    return "too-old" if dropped.stale else "overload"


def require() -> None:
    """UnavailableError where the client library is missing."""
    if find_spec("prometheus_client") is None:
        raise UnavailableError("metrics.listen: its library is missing; in the checkout: pip install '.[metrics]'")


def serve(listen: str) -> Observer:
    """An observer whose counts can be scraped at HOST:PORT, `/healthz` beside them; the client brings the thread."""
    require()
    from prometheus_client import CollectorRegistry, start_http_server

    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry()
    metrics, health = Metrics(registry), HealthCheck()
    try:
        server, _ = start_http_server(int(port), host, registry)
    except OSError as error:
        raise BusyError(f"metrics.listen = {listen}: cannot be bound: {error.strerror}; choose another port") from None
    inner = server.get_app()
    assert inner is not None
    server.set_app(_with_health(inner, health))

    def observe(what: Observed) -> None:
        metrics.observe(what)
        health.observe(what)

    return observe


def _with_health(inner: Callable[..., Iterable[bytes]], health: HealthCheck) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/healthz":
            return inner(environ, start_response)
        good, lines = health.look()
        kind = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
        start_response("200 OK" if good else "503 Service Unavailable", kind)
        return [f"{lines}\n".encode()]

    return application
