"""Prometheus metrics of a running daemon (sadstream/daemon/supervision/metrics.py)."""

import socket
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_service import process, wait_for

from sadstream.base.errors import BusyError, ConfigError
from sadstream.config import parse
from sadstream.daemon.supervision.metrics import STAGES, serve


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
        wait_for(endpoint, lambda event: event["type"] == "score" and event["seq"] == 1)
        time.sleep(0.2)
        found = scraped(port)

    assert found["sadstream_segments_total mic"] >= 2
    assert found["sadstream_state listening mic"] == 1
    assert found["sadstream_state mic no-device"] == 0
    assert found["sadstream_dropped_segments mic"] == 0
    assert 0 < found["sadstream_real_time_factor mic"] < 1
    assert found["sadstream_voiced_ratio_count mic"] >= 2
    for stage in STAGES:
        assert found[" ".join(["sadstream_latency_seconds_count", *sorted([stage, "mic"])])] >= 2


def test_only_this_machine_can_be_told_to_listen() -> None:
    with pytest.raises(ConfigError, match=r"metrics\.listen"):
        parse({"metrics": {"listen": "0.0.0.0:9464"}}, "test")


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BusyError, match="cannot be bound"):
            serve(f"127.0.0.1:{taken.getsockname()[1]}")
