"""Where an installation lies: its folders and files, and the units by their names."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sadstream.base.errors import UsageError

Ask = Callable[[str], str]
CONFIG_NAME = "sadstream.toml"
MICROPHONE, SERVE, JOIN = "sadstream.service", "sadstream-serve.service", "sadstream-serve-join.service"
MQTT, DASHBOARD = "sadstream-mqtt.service", "sadstream-dashboard.service"
# The services and their instances, as patterns: of what systemd does not know, nothing is said.
ALL = (
    "sadstream[.]service",
    "sadstream@*.service",
    "sadstream-serve[.]service",
    "sadstream-serve-join[.]service",
    "sadstream-mqtt[.]service",
    "sadstream-dashboard[.]service",
)
TOKEN = "cluster.token"  # noqa: S105  beside the configuration
PASSWORD, LOOKS, DOOR_KEY, ROOMS = "mqtt.password", "dashboard.token", "serve.key", "rooms.keys"


@dataclass(frozen=True, slots=True)
class InstallLayout:
    """Where an installation lies."""

    user: bool
    environment: Path
    state: Path  # models and checkpoints
    configuration: Path
    units: Path
    endpoint: str
    runtime_units: Path  # of this boot alone: `systemctl edit --runtime`
    on_path: Path  # a link to the program, so that a shell finds it

    @property
    def program(self) -> Path:
        """What the units start."""
        return self.environment / "bin/sadstream"

    @property
    def models(self) -> Path:
        """The service's models."""
        return self.state / "models"

    @property
    def before(self) -> Path:
        """The environment of before, while a new one is made."""
        return self.environment.with_name(f"{self.environment.name}.before")

    @property
    def checkpoints(self) -> Path:
        """Its checkpoints."""
        return self.state / "checkpoints"

    @property
    def unit_files(self) -> dict[str, str]:
        """Unit names as installed, by the name that they ship under."""
        if self.user:
            return {"sadstream.user.service": "sadstream.service"}
        return {"sadstream.service": "sadstream.service", "sadstream@.service": "sadstream@.service"}


def layout(user: bool, root: Path = Path("/")) -> InstallLayout:
    """The system's layout, or a user's own; `root` is for images and tests."""
    if not user:
        return InstallLayout(
            False, root / "opt/sadstream", root / "var/lib/sadstream", root / "etc/sadstream",
            root / "etc/systemd/system", f"ipc://{root / 'run/sadstream/pub'}", root / "run/systemd/system",
            root / "usr/local/bin/sadstream",
        )  # fmt: skip
    home = root / str(Path.home()).lstrip("/")
    share = home / ".local/share/sadstream"
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return InstallLayout(
        True, share / "venv", share, home / ".config/sadstream", home / ".config/systemd/user",
        f"ipc://{root / runtime.lstrip('/')}/sadstream/pub", root / runtime.lstrip("/") / "systemd/user",
        home / ".local/bin/sadstream",
    )  # fmt: skip


def require_root(where: InstallLayout) -> None:
    """UsageError where the system's layout is to be changed by somebody else."""
    if not where.user and os.geteuid() != 0:
        raise UsageError("service: the system's service needs root: sudo sadstream service ..., or --user for your own")
