"""Prometheus metrics of a running daemon (sadstream/daemon/supervision/metrics.py)."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from test_service import process, wait_for
from wire import a_status, an_episode

from sadstream.base.errors import BusyError, ConfigError
from sadstream.config import parse
from sadstream.daemon.messages import DroppedSegment, ModelsReleased, ModelsRestored, RejectedSegment
from sadstream.daemon.supervision.metrics import LEFT_OUT, LOST, STAGES, Metrics, serve


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scraped(port: int) -> dict[str, float]:
    """Every sample of the endpoint by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sorted(sample.labels.values())]): sample.value for sample in samples}


def test_a_scrape_shows_what_the_daemon_does(endpoint: str, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "a.toml"
    path.write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    with process("capture=good,busy=0.1", "--publish", endpoint, "--config", str(path)):
        wait_for(endpoint, lambda event: event["type"] == "score" and event["seq"] >= 1)
        time.sleep(0.2)
        found = scraped(port)

    assert found["sadstream_models_loaded"] == 1
    assert found["sadstream_segments_total mic"] >= 2
    assert found["sadstream_state listening mic"] == 1
    assert found["sadstream_state mic no-device"] == 0
    assert found["sadstream_dropped_segments mic"] == 0
    assert 0 < found["sadstream_real_time_factor mic"] < 1
    assert found["sadstream_voiced_ratio_count mic"] >= 2
    for stage in STAGES:
        assert found[" ".join(["sadstream_latency_seconds_count", *sorted([stage, "mic"])])] >= 2


def test_what_is_lost_or_left_out_is_counted_by_its_reason(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    for lost in (DroppedSegment("mic", False), DroppedSegment("mic", True), DroppedSegment("mic", False, "no door")):
        metrics.observe(lost)
    for stranger in (False, True, True):
        metrics.observe(RejectedSegment("mic", 0, stranger))

    def count(name: str, reason: str) -> float | None:
        return registry.get_sample_value(f"sadstream_{name}_segments_total", {"stream": "mic", "reason": reason})

    assert [count("lost", reason) for reason in LOST] == [1, 1, 1]
    assert [count("left_out", reason) for reason in LEFT_OUT] == [1, 2]


def test_an_episode_is_counted_once_and_seen_while_it_is_on(registry: CollectorRegistry) -> None:
    metrics, seen = Metrics(registry), []
    for phase in ("start", "update", "end", "start"):
        metrics.observe(replace(an_episode(), phase=phase))
        seen.append(registry.get_sample_value("sadstream_episode", {"stream": "mic"}))

    assert seen == [1, 1, 0, 1]
    assert registry.get_sample_value("sadstream_episodes_total", {"stream": "mic"}) == 2


def health(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_its_health_is_good_while_every_stream_is_heard_and_says_which_is_not() -> None:
    port = free_port()
    observe = serve(f"127.0.0.1:{port}")
    assert health(port) == (503, "no stream yet\n")

    observe(a_status(stream="mic"))
    observe(a_status(stream="door"))
    assert health(port) == (200, "door: listening (none)\nmic: listening (none)\n")
    observe(replace(a_status(stream="door"), state="degraded", reason="muted"))
    assert health(port) == (503, "door: degraded (muted)\nmic: listening (none)\n")
    observe(replace(a_status(stream="door"), state="degraded", reason="slow"))
    assert health(port)[0] == 200


def shipped_expressions() -> list[str]:
    """Every query of the dashboard and of the alert rules under deploy/."""
    board = json.loads(Path("deploy/grafana.json").read_text())
    rules = yaml.safe_load(Path("deploy/alerts.yaml").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return targets + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_every_query_that_ships_asks_for_what_a_daemon_shows(endpoint: str, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "a.toml"
    path.write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    with process("capture=good,busy=0.1", "--publish", endpoint, "--config", str(path)):
        wait_for(endpoint, lambda event: event["type"] == "score" and event["seq"] >= 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    shown: dict[str, set[tuple[str, str]]] = {}
    for sample in (sample for family in families for sample in family.samples):
        shown.setdefault(sample.name, set()).update(sample.labels.items())
    expressions = shipped_expressions()

    assert len(expressions) >= 12
    for expression in expressions:
        asked = re.findall(r"(sadstream_\w+)(?:\{([^}]*)\})?", expression)
        assert asked or "up{" in expression, expression
        for name, labels in asked:
            assert name in shown, expression
            for label, sign, value in re.findall(r'(\w+)(=~?|!=)"([^"]*)"', labels):
                values = {text for key, text in shown[name] if key == label}
                assert values, expression
                assert sign != "=" or value.startswith("$") or value in values, expression


def test_only_this_machine_can_be_told_to_listen() -> None:
    with pytest.raises(ConfigError, match=r"metrics\.listen"):
        parse({"metrics": {"listen": "0.0.0.0:9464"}}, "test")


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BusyError, match="cannot be bound"):
            serve(f"127.0.0.1:{taken.getsockname()[1]}")


def test_models_that_were_let_go_are_not_loaded(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.observe(ModelsReleased())
    assert registry.get_sample_value("sadstream_models_loaded") == 0
    metrics.observe(ModelsRestored(took_s=1.0))
    assert registry.get_sample_value("sadstream_models_loaded") == 1
