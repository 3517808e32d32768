"""What ships for other machines than this one: each file says what is true of the program."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_docs import commands, parse

from sadstream.base.boundary import OF_MODELS
from sadstream.cluster import serve
from sadstream.events.keys import ALLOWED_CREDENTIAL, SECRET_CREDENTIAL

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
ROOM = Path("deploy/room.txt")
# Distributions that bring what a room does without, under the names that they are imported by.
MODELS = {"openai-whisper": "whisper", "silero-vad": "silero_vad"}


COMPOSE: dict[str, Any] = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]
SERVICE, DOOR, POLICY = yaml.safe_load_all(Path("deploy/rayservice.yaml").read_text())
HEAD = SERVICE["spec"]["rayClusterConfig"]["headGroupSpec"]
WORKERS = SERVICE["spec"]["rayClusterConfig"]["workerGroupSpecs"]


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def test_a_room_needs_what_the_package_needs_less_the_models() -> None:
    needed = PROJECT["project"]["dependencies"]
    names = {line: line.split(">")[0] for line in needed}
    of_models = {line for line, name in names.items() if MODELS.get(name, name) in OF_MODELS}

    assert lines(ROOM) == [line for line in needed if line not in of_models]
    assert {MODELS.get(names[line], names[line]) for line in of_models} == OF_MODELS


def test_a_small_installation_has_all_that_whisper_needs_but_what_nobody_uses() -> None:
    """As `make demo` names it, and as uv is told; a new need of openai-whisper's is noticed here."""
    asked = {re.split(r"[^\w-]", line)[0] for line in requires("openai-whisper") or () if "extra ==" not in line}
    left_out = {line.split(";")[0] for line in lines(Path("deploy/small.txt"))}
    ours = {re.split(r"[^\w-]", line)[0] for line in PROJECT["project"]["dependencies"]}
    (made,) = re.findall(r"--requirement \.venv/needs\.txt (.+)", Path("Makefile").read_text())

    assert left_out == {"numba", "triton"}
    assert asked - ours == left_out | set(made.split())


def test_it_ships_with_every_unit() -> None:
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]

    assert shipped[str(ROOM)] == "share/sadstream/room.txt"
    assert shipped["systemd"] == "share/sadstream/systemd"
    assert shipped["docs/service.md"] == "share/sadstream/service.md"  # the units' Documentation=


def typed() -> Iterator[str]:
    """Every command of ours in these files: in comments, in pages, as a container's own."""
    for path in sorted(Path("deploy").iterdir()):
        yield from commands(path)
        for line in path.read_text().splitlines():
            said = line.removeprefix("#").strip()
            for part in said.split("&&"):
                if line.startswith("#") and part.strip().startswith("sadstream "):
                    yield part.split("#")[0].strip()
    for service in COMPOSE.values():
        if "command" in service:
            yield f"sadstream {service['command']}"
        if "healthcheck" in service:
            assert service["healthcheck"]["test"][0] == "CMD"
            yield shlex.join(service["healthcheck"]["test"][1:])


@pytest.mark.parametrize("command", sorted(set(typed())))
def test_every_command_is_one(command: str) -> None:
    parse(command)


def test_images_are_built_of_what_is_here() -> None:
    text = Path("deploy/Dockerfile").read_text()
    targets = {line.split()[-1] for line in text.splitlines() if line.startswith("FROM")}
    copied = [line.split()[1] for line in text.splitlines() if line.startswith("COPY")]

    assert all(Path(path).exists() for path in copied)
    for service in COMPOSE.values():
        if "build" in service:
            assert service["build"]["target"] in targets
            assert Path("deploy", service["build"]["context"], service["build"]["dockerfile"]).is_file()


def test_a_container_keeps_no_core_swaps_nothing_and_publishes_the_door_alone() -> None:
    for service in COMPOSE.values():
        if "extends" not in service:
            assert service["ulimits"]["core"] == 0
            assert service["memswap_limit"] == service["mem_limit"]
            assert service["cap_drop"] == ["ALL"]
    assert COMPOSE["serve"]["ports"] == ["5560:5560"]
    assert "ports" not in COMPOSE["kitchen"]


def test_kuberay_deploys_our_application_with_what_it_needs() -> None:
    said = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])
    (application,) = said["applications"]
    module, _, name = application["import_path"].partition(":")
    mounted = HEAD["template"]["spec"]["containers"][0]
    folder = {one["name"]: one["value"] for one in mounted["env"]}["CREDENTIALS_DIRECTORY"]

    assert (module, application["name"]) == (serve.__name__, serve.APPLICATION)
    assert callable(getattr(serve, name))
    assert {"listen", "replicas", "compute"} <= application["args"].keys()
    assert json.loads(shlex.split(HEAD["rayStartParams"]["resources"])[0]) == {"door": 1}
    assert folder in [volume["mountPath"] for volume in mounted["volumeMounts"]]
    for key in (SECRET_CREDENTIAL, ALLOWED_CREDENTIAL):
        assert f"--from-file={key}=" in Path("deploy/rayservice.yaml").read_text()
    assert SERVICE["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_nothing_but_the_door_is_let_in_from_elsewhere() -> None:
    labels = [group["template"]["metadata"]["labels"] for group in (HEAD, *WORKERS)]
    wanted = POLICY["spec"]["podSelector"]["matchLabels"]
    from_anywhere = [rule["ports"] for rule in POLICY["spec"]["ingress"] if "from" not in rule]

    assert all(wanted.items() <= found.items() for found in labels)
    assert from_anywhere == [[{"port": 5560}]]
    assert DOOR["spec"]["selector"].items() <= labels[0].items()
    assert [port["port"] for port in DOOR["spec"]["ports"]] == [5560]
