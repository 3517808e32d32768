"""Podman with a store of its own: images on a Debian tree, containers with the settings of a compose file's service."""

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from container import PATH, limited

BUILD_S = 1800.0
BASE = "localhost/debian:bookworm"
# Podman would raise these limits, which not every machine permits; a service's own come after them.
BOUNDS = ["--ulimit=nproc=4096:4096", "--ulimit=nofile=4096:4096"]
# What Debian's own images leave out of the same packages.
NOT_IN_SLIM = (
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
)


def filled(value: Any, given: Mapping[str, str]) -> Any:
    """A part of a compose file with `${NAME:-default}` in its texts replaced."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: given.get(match[1], match[2]), value)
    if isinstance(value, dict):
        return {key: filled(one, given) for key, one in value.items()}
    return [filled(one, given) for one in value] if isinstance(value, list) else value


def options(service: Mapping[str, Any]) -> list[str]:
    """What `podman run` is told so that a container is what the service says; what is not known here is an error."""
    said: list[str] = []
    for key, value in service.items():
        match key:
            case "profiles" | "build" | "image" | "command":
                pass
            case "read_only":
                said += ["--read-only", "--read-only-tmpfs=false"] if value else []
            case "user" | "restart" | "pids_limit":
                said.append(f"--{key.replace('_', '-')}={value}")
            case "network_mode" | "mem_limit" | "memswap_limit" | "stop_grace_period":
                name = {"network_mode": "network", "mem_limit": "memory", "memswap_limit": "memory-swap"}
                said.append(f"--{name.get(key, 'stop-timeout')}={str(value).removesuffix('s')}")
            case "tmpfs" | "cap_drop" | "volumes" | "devices" | "group_add":
                said += [
                    f"--{key.replace('_', '-').removesuffix('s') if key != 'tmpfs' else key}={one}" for one in value
                ]
            case "security_opt":
                said += [f"--security-opt={one.removesuffix(':true')}" for one in value]
            case "ulimits":
                said += [f"--ulimit={name}={limit}:{limit}" for name, limit in value.items()]
            case "environment":
                said += [f"--env={name}={text}" for name, text in value.items()]
            case "healthcheck" if value.get("disable"):
                said.append("--no-healthcheck")
            case "healthcheck":
                assert value["test"][0] == "CMD"
                said += [f"--health-cmd={' '.join(value['test'][1:])}", "--health-interval=disable"]
            case _:
                raise ValueError(f"{key}: unknown here")
    return said


class Podman:
    """All of it in one folder, away from what else the machine has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._command = [
            "podman", f"--root={folder}/store", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp",
            "--cgroup-manager=cgroupfs", "--runtime=runc", "--storage-driver=overlay",
        ]  # fmt: skip

    def run(self, *words: str, limit_s: float = 60.0, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """One command from start to end."""
        done = subprocess.run(
            [*limited(limit_s), *self._command, *words],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={"PATH": PATH, "HOME": str(self.folder), "BUILDAH_ISOLATION": "chroot"},
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(
                f"podman {' '.join(words)[:120]}: {done.returncode}: {(done.stdout + done.stderr)[-600:]}"
            )
        return done

    def said(self, *words: str) -> str:
        """What a command prints."""
        return self.run(*words).stdout.strip()

    def import_base(self, tree: Path) -> int:
        """The tree as an image, as slim as Debian's own; its bytes."""
        archive = self.folder / "base.tar"
        left_out = [f"--exclude={pattern}" for pattern in NOT_IN_SLIM]
        subprocess.run(["tar", "-C", str(tree), *left_out, "-cf", str(archive), "."], check=True)
        self.run("import", str(archive), BASE, limit_s=300)
        archive.unlink()
        return self.bytes_of(BASE)

    def build(self, source: Path, target: str, tag: str, *words: str) -> str:
        """An image of this target from a checkout; what was said while it was made."""
        recipe = f"--file={source}/deploy/Containerfile"
        given = ["--network=host", f"--build-arg=BASE={BASE}", f"--target={target}", f"--tag={tag}", *words]
        return self.run("build", recipe, *given, str(source), limit_s=BUILD_S).stdout

    def bytes_of(self, image: str) -> int:
        """All layers of an image, unpacked."""
        return int(self.said("image", "inspect", image, "--format", "{{.Size}}"))

    def start(self, name: str, service: Mapping[str, Any], image: str) -> None:
        """A container of that service, in the background."""
        words = str(service["command"]).split()
        self.run("run", "--detach", f"--name={name}", *BOUNDS, *options(service), image, *words)

    def exec(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command in a container that runs."""
        return self.run("exec", name, *words, check=False)

    def state(self, name: str) -> tuple[str, int]:
        """How a container is, and its last exit code."""
        status, code = self.said("inspect", name, "--format", "{{.State.Status}} {{.State.ExitCode}}").split()
        return status, int(code)

    def pid(self, name: str) -> int:
        """The daemon in a container, child of its first process, as this machine counts; 0 where there is none."""
        first = self.said("inspect", name, "--format", "{{.State.Pid}}")
        with suppress(OSError, ValueError):
            return int(Path(f"/proc/{first}/task/{first}/children").read_text().split()[0])
        return 0

    def once(self, image: str, *words: str, program: str | None = None) -> "subprocess.CompletedProcess[str]":
        """A command in a container of its own."""
        entry = [] if program is None else [f"--entrypoint={program}", "--user=0"]
        return self.run("run", "--rm", "--network=none", *BOUNDS, *entry, image, *words, check=False)

    def forget(self) -> None:
        """No container, image or mount of it."""
        for words in (
            ("rm", "--force", "--all", "--time=0"),
            ("volume", "rm", "--all", "--force"),
            ("rmi", "--all", "--force"),
        ):
            self.run(*words, limit_s=300, check=False)
        subprocess.run(["umount", "-l", f"{self.folder}/store/overlay"], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.folder)], check=False)
