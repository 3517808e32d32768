"""What others may build on: every public name, both commands, and what the pages import."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import sadstream

PUBLIC = {
    "client": {
        "ALL_TYPES",
        "DEFAULT_ENDPOINT",
        "EVENT_TYPES",
        "HEARTBEAT_MS",
        "RECONNECT_MS",
        "REPLAY_TIMEOUT_MS",
        "STREAM_NAME",
        "Curve",
        "Event",
        "Gap",
        "Item",
        "Line",
        "Query",
        "Reader",
        "Restart",
        "Stale",
        "Subscription",
        "UsageError",
        "WireError",
        "client_curve",
        "from_wire",
        "past",
        "subscribe",
        "topic",
    },
    "events": {
        "DEFAULT_ENDPOINT",
        "EVENT_KINDS",
        "EVENT_TYPES",
        "HEARTBEAT_S",
        "PARTS_TOLERANCE",
        "SHARES_TOLERANCE",
        "STALE_S",
        "STREAM_NAME",
        "VERSION",
        "Count",
        "E",
        "Emotions",
        "Envelope",
        "Episode",
        "Event",
        "EventName",
        "EventType",
        "Latency",
        "Name",
        "NotNegative",
        "Phase",
        "Polar",
        "Probability",
        "Range",
        "Reason",
        "Score",
        "Size",
        "State",
        "Status",
        "TextReason",
        "Utc",
        "WireError",
        "from_json",
        "from_wire",
        "parts_agree",
        "record",
        "to_json",
        "to_wire",
        "topic",
    },
}
PAGES = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]
IMPORT = re.compile(r"^\s*from sadstream\.(client|events) import ([\w, ]+)", re.MULTILINE)


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    module = import_module(f"sadstream.{package}")

    assert set(module.__all__) == PUBLIC[package]
    assert all(hasattr(module, name) for name in module.__all__)


def test_what_the_pages_import_is_public() -> None:
    found = [(package, names) for page in PAGES for package, names in IMPORT.findall(page.read_text())]

    assert found
    for package, names in found:
        assert {name.split(" as ")[0].strip() for name in names.split(",")} <= PUBLIC[package]


def test_both_commands_and_a_version_are_there() -> None:
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]

    assert set(scripts) == {"sadstream", "sadstream-train"}
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", sadstream.__version__)


@pytest.mark.parametrize("module", ["sadstream", "train"])
def test_both_packages_run_as_modules(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "Usage:" in done.stdout
