"""What ships for other machines than this one: each file says what is true of the program."""

import json
import re
import runpy
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
from sadstream.daemon.supervision.installation import install
from sadstream.events.keys import ALLOWED_CREDENTIAL, SECRET_CREDENTIAL
from sadstream.scoring.fusion.checkpoint import default_path, read_header

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
ROOM = Path("deploy/room.txt")
RELEASE = runpy.run_path("deploy/release.py")
# Distributions that bring what a room does without, under the names that they are imported by.
MODELS = {"openai-whisper": "whisper", "silero-vad": "silero_vad"}


HOUSE, FLEET = (yaml.safe_load(Path("deploy", name).read_text())["services"] for name in ("compose.yaml", "fleet.yaml"))
SERVICES: dict[str, dict[str, Any]] = {
    name: FLEET[one["extends"]["service"]] | one if "extends" in one else one for name, one in (HOUSE | FLEET).items()
}
RECIPE = Path("deploy/Containerfile").read_text().replace("\\\n", "")
STEPS = [line.split(maxsplit=1) for line in RECIPE.splitlines() if line and not line.startswith("#")]
ADMITTED = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
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


def test_a_small_installation_leaves_out_what_whisper_asks_for_and_nobody_uses() -> None:
    """As `make demo`, the service and a release do it, and as uv is told."""
    asked = {re.split(r"[^\w-]", line)[0] for line in requires("openai-whisper") or () if "extra ==" not in line}
    told = {line.split(";")[0] for line in lines(Path("deploy/small.txt"))}
    (made,) = re.findall(r"Requires-Dist: \(([\w|]+)\)", Path("Makefile").read_text())

    assert told == {"numba", "triton"} == set(made.split("|")) == set(install.UNUSED) == set(RELEASE["UNUSED"])
    assert asked - told


def test_it_ships_with_every_unit() -> None:
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]

    assert shipped[str(ROOM)] == "share/sadstream/room.txt"
    assert shipped["systemd"] == "share/sadstream/systemd"
    assert shipped["docs/service.md"] == "share/sadstream/service.md"  # the units' Documentation=


def typed() -> Iterator[str]:
    """Every command of ours in these files: in comments, in pages, as a container's own."""
    for path in sorted(filter(Path.is_file, Path("deploy").iterdir())):
        yield from commands(path)
        for line in path.read_text().splitlines():
            said = line.removeprefix("#").strip()
            for part in said.split("&&"):
                if line.startswith("#") and part.strip().startswith("sadstream "):
                    yield part.split("#")[0].strip()
    for service in SERVICES.values():
        yield f"sadstream {service['command']}"
        if "test" in service["healthcheck"]:
            assert service["healthcheck"]["test"][0] == "CMD"
            yield shlex.join(service["healthcheck"]["test"][1:])
    for step, words in STEPS:
        if step == "CMD":
            yield shlex.join(["sadstream", *json.loads(words)])
        elif step == "HEALTHCHECK" and "CMD" in words:
            yield shlex.join(json.loads(words.partition("CMD")[2]))
        elif step == "RUN":
            yield from re.findall(r"(?:^|&& )(sadstream [^&$]+)", words)


@pytest.mark.parametrize("command", sorted(set(typed())))
def test_every_command_is_one(command: str) -> None:
    parse(command)


def stages() -> dict[str, str]:
    """What each stage of the images begins with."""
    return {words.split(" AS ")[1]: words.split(" AS ")[0] for step, words in STEPS if step == "FROM"}


def test_images_are_built_of_what_is_here() -> None:
    """Of one base and of stages above; of paths that are in the repository and that a build is given."""
    made: set[str] = set()
    for stage, begins_with in stages().items():
        assert begins_with in {"${BASE}", *made}, stage
        made.add(stage)
    for step, words in STEPS:
        if step == "COPY" and words.startswith("--from="):
            assert words.removeprefix("--from=").split()[0] in made
        elif step == "COPY":
            for path in words.split()[:-1]:
                assert Path(path).exists(), path
                assert path == "." or any(path == one or path.startswith(f"{one}/") for one in ADMITTED), path
    assert all(Path(path).exists() for path in ADMITTED)
    assert not {".venv", "build", "data", "tests", "deploy", "docs", ".git"} & set(ADMITTED)


def test_a_build_is_given_all_that_a_package_is_made_of() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = PROJECT["project"]
    needed = [*wheel["only-include"], *wheel["shared-data"], project["readme"], *project["license-files"]]

    assert [path for path in needed if not any(path == one or path.startswith(f"{one}/") for one in ADMITTED)] == []


def test_an_image_without_a_version_has_the_one_of_a_package_without_history() -> None:
    (version,) = re.findall(r"\nARG SETUPTOOLS_SCM_PRETEND_VERSION=(.+)\n", RECIPE)

    assert version == PROJECT["tool"]["hatch"]["version"]["fallback-version"]


def test_an_image_runs_as_nobody_special_with_what_it_needs_to_be_ended_and_watched() -> None:
    """Set once, in the stage that every target begins with."""
    targets = {one["build"]["target"] for one in SERVICES.values()}
    common = RECIPE.partition("AS runtime\n")[2].partition("\nFROM")[0]

    assert targets == {"daemon", "room", "serve"}
    assert {stages()[target] for target in targets} == {"runtime"}
    assert "\nUSER 1000:1000\n" in common
    assert RECIPE.count("\nUSER ") == 1
    assert '\nENTRYPOINT ["tini", "--", "sadstream"]\n' in common
    assert "\nSTOPSIGNAL SIGTERM\n" in common
    assert '["sadstream", "service", "status", "--check"]' in common


def test_an_image_says_the_licence_of_its_weights() -> None:
    header = read_header(default_path())
    (label,) = re.findall(r'org.opencontainers.image.licenses="([^"]+)"', RECIPE)
    (weights,) = re.findall(r'sadstream.weights="([^"]+)"', RECIPE)

    assert label == f"{PROJECT['project']['license']} AND {header.licence.replace(' ', '-', 1).replace(' ', '-')}"
    assert header.licence in weights
    assert ("no commercial use" in weights) == (not header.commercial_use)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_locked(name: str) -> None:
    service = SERVICES[name]

    assert service["user"] == "${OWNER:-1000:1000}"
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"]["core"] == 0
    assert service["memswap_limit"] == service["mem_limit"]
    assert service["pids_limit"] > 0
    assert service["restart"] in ("always", "unless-stopped")
    assert int(service["stop_grace_period"].removesuffix("s")) >= 10
    assert not {"privileged", "cap_add", "pid", "ipc", "userns_mode"} & service.keys()
    assert service["healthcheck"].keys() >= {"test", "interval", "start_period"} or name == "dashboard"


def test_a_daemon_has_no_network_and_nothing_but_the_door_is_published() -> None:
    hearing = [name for name in HOUSE if name != "dashboard"]

    assert hearing == ["alsa", "alsa-cuda", "pulse", "pulse-cuda"]
    assert {HOUSE[name]["network_mode"] for name in hearing} == {"${NETWORK:-none}"}
    assert {name: one["ports"] for name, one in SERVICES.items() if "ports" in one} == {
        "serve": ["5560:5560"],
        "serve-gpu": ["5560:5560"],
    }


def test_what_is_mounted_is_there_or_is_explained() -> None:
    """Each variable of a compose file has a default, and the page on containers, or the file, says what it is."""
    page = Path("docs/containers.md").read_text()
    for name in ("compose.yaml", "fleet.yaml"):
        text = Path("deploy", name).read_text()
        for variable in re.findall(r"\$\{(\w+)", text):
            assert f"${{{variable}:-" in text
            assert f"`{variable}`" in page or f"{variable}=" in text, variable
    for service in SERVICES.values():
        for volume in service["volumes"]:
            outside = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", volume).split(":")[0]
            assert outside == "state" or outside.startswith(("./", "/")) or Path("deploy", outside).is_file(), volume


def test_gpus_are_asked_for_by_what_needs_them_alone() -> None:
    with_gpu = {name for name, one in SERVICES.items() if "deploy" in one}

    assert with_gpu == {"alsa-cuda", "pulse-cuda", "serve-gpu"}
    for name, service in SERVICES.items():
        assert (service["build"].get("args") == {"TORCH": "cuda"}) == (name in with_gpu)
        assert service["image"].endswith(":cuda") == (name in with_gpu)


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
