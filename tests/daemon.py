"""The daemon and a subscriber as their users run them: two processes of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import warm

SADSTREAM = [sys.executable, "-m", "sadstream"]
END_S = 240
COLD = ("run", "demo", "doctor")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """One command from start to end; a process of its own where it is a daemon, or more than its folder is said."""
    if arguments[0] not in COLD and not options.keys() - {"cwd", "timeout"}:
        return warm.run(arguments, options.get("cwd"), options.get("timeout", END_S))
    options = {"capture_output": True, "text": True, "timeout": END_S} | options
    return subprocess.run([*SADSTREAM, *arguments], check=False, **options)


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A command that goes on."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([*SADSTREAM, *arguments], **options)


def heard(endpoint: str, *run_arguments: str, **options: Any) -> list[dict[str, Any]]:
    """Every event that a subscriber in another process gets from a daemon that runs to its end."""
    daemon = start("run", "--publish", endpoint, "--wait-subscriber", str(END_S), *run_arguments, **options)
    listener = start("listen", endpoint, "--json", "--timeout", str(END_S))
    assert listener.stdout is not None
    events = []
    try:
        for line in listener.stdout:
            events.append(json.loads(line))
            if events[-1]["type"] == "status" and events[-1]["state"] == "stopping":
                break
        _, errors = daemon.communicate(timeout=30)
        assert daemon.returncode == 0, errors
    finally:
        for process in (listener, daemon):
            process.kill()
            process.communicate()
    return events


def scores(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The score events alone."""
    return [event for event in events if event["type"] == "score"]


def config_file(folder: Path, text: str) -> Path:
    """A configuration of the test's own."""
    path = folder / "sadstream.toml"
    path.write_text(text)
    return path
